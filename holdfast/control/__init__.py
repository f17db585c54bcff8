"""The controller: keeps the forgetting contract while a model is tuned, by what `valid` says alone.

plan      what it may spend, when it looks, and at how many rows: counted in work, so that a rerun does the same
weights   candidates: points along the way, drawn back towards the start model
search    the order in which candidates are tried
journal   what was seen so far, on disk, so that a killed tuning does not look twice
watcher   the controller itself: looks during training, searches after it
attempts  a second tuning with a stronger anchor, where the first left nothing that keeps the contract
trajectory, picture   what is left to read
"""
