"""The axis `parameters`: which parts may move? One file per choice.

Besides `Options`, a choice module defines `select(model, importance, options) -> Selection`, where `importance` is
None when nothing was assessed. Shared code: `_ranking` (order by importance), `_near` (near misses for messages).
"""
