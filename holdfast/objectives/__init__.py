"""The axis `objectives`: what do we minimise? One file per choice.

A choice defines `Options` and `loss(logits, labels, options, **needs) -> losses`: `logits` [rows, labels of the head],
`labels` int64 [rows], `losses` float32 [rows], one number per row, not yet averaged. A row is a text to be classified
or a token to be predicted; the labels are then classes or the vocabulary. What else a loss must be given stands in
`NEEDS`, each of it logits [rows, labels] without gradient, as a keyword:

- `teacher`: a frozen model's, by the option `teacher`, or the start model's where that is None or no option;
- `old`: the model's own, as it was at the last refresh; None while it is still warming up (options `refresh`,
  `warm_up`). The model then runs without dropout.

Optionally `figures(logits, labels, options, **needs) -> {name: float32 [rows]}` gives what is logged at every update
beside the loss. A loss that depends on nothing but the label's log-probability, float32 [rows], gives itself from that
too, `loss_of_label(of_label, options)`, and its figures, `figures_of_label(of_label, options)`: then the logits of a
vocabulary need never be there at once. `ROW` (`_qtarget.Row`) is the choice's line in `docs/objectives.md`.
"""
