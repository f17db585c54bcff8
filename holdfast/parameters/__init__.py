"""The axis `parameters`: which parts may move? One file per choice.

Besides `Options`, a choice module defines `select(model, importance, options) -> Selection`, where `importance` is
None when nothing was assessed; what adds something to the encoder says in `ADDS` what, and every choice in `BELOW`
which layers lie below all that it moves (`holdfast.prefix`), beginning with "nothing:" where no options leave any. A
choice that must see data first also has
`learns(options) -> bool` and `learn(given, model, importance, options) -> Selection`, which is called instead with what
the tuning will be given (`training.job.Given`). Shared code: `_ranking` (order by importance),
`_targets` (linear modules by name), `_near` (near misses for messages).
"""
