"""What is added to an encoder instead of changing its weights: PEFT's tuners, and ours registered beside them.

kinds         the table of kinds: what their parameters are called, and what can be done with them
injected      put into an encoder, taken out as tensors, merged, read back from a folder
start         first values of low-rank matrices that are taken from the weights themselves (PiSSA, CorDA)
bottleneck, prefix, prompt   PEFT methods of ours; `registered` teaches PEFT all of them, and `holdfast.delta`
"""
