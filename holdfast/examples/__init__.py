"""The axis `examples`: what do we learn from? One file per choice; several are united.

A choice defines `Options` and `draw(tasks, epoch, seed, options) -> positions`. `tasks` has one entry per row of the
pool: "" for a row of `learn.train`, else the name of the remembered task whose `train` dataset it comes from. The
answer says which rows the epoch (0-based) learns from; a row may come more than once, and the number of rows must be
the same in every epoch. It must depend on the arguments alone, so that a resumed tuning draws the same rows. A choice
with `USES_REMEMBERED = True` has the remembered rows put into the pool.

A choice that learns from `learn.unlabelled` says `USES_UNLABELLED = True` and defines `auxiliary(origin, options)`,
called once before the first step (`anchors._origin.Origin`). It gives a loss of its own over batches of its own, called
like an anchor and added to the mean loss. `state` are the tensors that it holds on to, and `running`, where it has
that, those that change on the way: they are kept in every checkpoint and put back.
"""
