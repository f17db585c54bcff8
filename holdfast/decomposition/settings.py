"""Which variant of the rules: where the paper, its code and inference differ, each is a setting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Rules:
    """The rules in use.

    `attention`: `paper` lets the relevant part have attention of its own (eqs 9-14), `frozen` keeps the model's (the
    authors' BERT helpers). `product`, of a gated MLP, is inferred: `own` gives beta only what both betas caused,
    `inter` gives gamma only what both gammas caused. `sign_fix`: where the two have opposite signs the larger takes the
    sum (appendix B.1), after the MLP's linear maps and at a layer's output as in the authors' GPT path; where
    in a gated MLP is inferred.
    """

    attention: Literal["paper", "frozen"] = "paper"
    product: Literal["own", "inter"] = "own"
    sign_fix: bool = False
