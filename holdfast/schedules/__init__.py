"""The axis `schedules`: how are steps taken? One file per choice; several compose.

A choice defines `Options` and at least one of five functions:

- `factor(step, total, options)`: the time shape. Every learning rate is multiplied by it at update `step` (0-based) of
  `total`. At most one choice may have one; where none has, `plain` gives it.
- `scale(depth, options)`: a learning rate per depth. Depth 0 is the head with the pooler, 1 the topmost layer, and so
  on down to the embeddings, one below the first layer.
- `share(look, options)`: how far of the way from the start model the tuned one lies in the end; `look(share)` says how
  the model does there on `valid` (`holdfast.forgetting.watch.Look`).
- `frozen(order, epoch, options)`: whether a group stays frozen in `epoch` (0-based). Order 0 is the topmost group
  that moves at all, 1 the next one below that moves, and so on.
- `adjust(task, general, options)`: what every group's rate is multiplied by at an update, given the group's running
  importance for the task and its general importance (`training.adjusting`). Its options have the `memory` of the first.
"""
