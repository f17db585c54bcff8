"""The axis `objectives`: what do we minimise? One file per choice.

A choice defines `Options` and `loss(logits, labels, options) -> losses`: `logits` float32 [rows, labels of the head],
`labels` int64 [rows], `losses` float32 [rows], one number per row, not yet averaged.
"""
