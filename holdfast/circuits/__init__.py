"""Circuits of attention heads (CT-SFT, arXiv 2601.08146): which heads do a task, found by contextual decomposition.

`examples` (rows of the task), `reference` (what a head gives on average), `relevance` (how much each head gives to the
answer and to other heads), `ablation` (the network with some heads replaced by their mean), `discovery` (round by
round, after Algorithm 1 of CD-T), `faithfulness` (how much of the task a circuit carries, beside random ones),
`picture`, and `find` (all of it).
"""
