"""Judges: is what the model said itself as right as the gold answer? One file per judge, found by its name.

A judge defines `Options` and `judge(cases, options, ask) -> verdicts`, one bool per case, in order, depending on the
arguments alone. `ask(prompts) -> answers` has the start model answer greedily; most judges do not need it. A false
accept puts a wrong target into training, so a judge in doubt says no. It may have `SHORTHAND`, the option that a bare
value sets, and `check(rows, options)`, which raises `BadInput` for gold answers that it cannot judge by.

A name with a colon, `module:function`, is a judge of the user's own: `function(prompt, answer, row) -> bool`.
"""
