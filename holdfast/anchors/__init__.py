"""The axis `anchors`: what pulls towards the start model? One file per choice; several are added up.

A choice defines `Options` and `hold(origin, options) -> anchor`, called once before the first step with what is known
of the model as it then is (`_origin.Origin`). The anchor is called on every batch (`training.forward.Forward`), gives
the penalty to be added to the mean loss (a float32 scalar), and keeps in `state` the tensors that it holds on to, whose
digest goes into every checkpoint. A choice with `needs_remembered(options) -> bool` has the remembered `train` rows
put into the pool where it says so.
"""
