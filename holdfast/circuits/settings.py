"""How a circuit is found: the section `assess.circuit` of a pipeline file."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from holdfast import choices
from holdfast.decomposition.settings import Rules


class Circuit(choices.Options):
    """How heads are scored, circuits found and judged; read only where `parameters` chooses `circuit`.

    `on`: the first `remembered` task that has training rows, where there is one, else the one to be learned; or always
    the `learned` one. `examples` rows find the circuit, `held_out` other rows judge it; with `correct` only rows that
    the start model answers right. `attention`, `product`, `sign_fix`: see `decomposition.settings.Rules`; `reference`:
    see `circuits.reference`; `margin`: what counts as the answer (`circuits.examples.margins`). Discovery adds the
    `top` share of heads in each of at most `rounds` (how many heads CT-SFT takes was not found: the default is
    inferred, and so is that of `examples`, of which others' notes say about 50), until the circuit's faithfulness on
    the examples is within `close` of 1; rounds aim at the `answer`, or (CD-T's Algorithm 1) all but the first at the
    `heads` of the last one, scores towards these divided by their layer's mean size with `normalise`. `random` circuits
    of equal size are judged beside it. `precision`: of matrix products (`auto`: bf16 where the machine has it).
    """

    on: Literal["remembered", "learned"] = "remembered"
    examples: int = Field(48, ge=4)
    held_out: int = Field(48, ge=4)
    correct: bool = True
    attention: Literal["paper", "frozen"] = "paper"
    product: Literal["own", "inter"] = "own"
    sign_fix: bool = False
    reference: Literal["mean", "each", "read"] = "mean"
    margin: Literal["mean", "strongest"] = "mean"
    aim: Literal["answer", "heads"] = "answer"
    normalise: bool = True
    top: float = Field(0.05, gt=0, le=0.5)
    rounds: int = Field(8, ge=1)
    close: float = Field(0.05, ge=0, lt=1)
    random: int = Field(10, ge=10)
    precision: Literal["auto", "fp32", "bf16"] = "fp32"

    @property
    def rules(self) -> Rules:
        """The decomposition's rules."""
        return Rules(self.attention, self.product, self.sign_fix)
