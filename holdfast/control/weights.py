"""Candidates: where a tuning was at some update, drawn back towards the start model, in whole or in parts.

Between the start's weights w0 and the tuned ones w lies w0 + share * (w - w0) (WiSE-FT, Wortsman et al. 2022), for the
head too. LoRA's change is B A with B = 0 at the start, so only B is scaled: the change itself is then share * B A.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

_TUNED_ALONE = ".lora_A."


@dataclass(frozen=True)
class Candidate:
    """The weights after an update of an attempt; `share` of the way from the start, with the parts in `back` put back.

    `share` is above 0: the start model itself is no candidate.
    """

    attempt: int
    step: int
    share: float = 1.0
    back: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise ValueError(f"a candidate lies above 0 and up to 1 of the way from the start model, not {self.share}")

    @property
    def name(self) -> str:
        """What people call it, such as `update 84, 75% of the way, embeddings put back`."""
        parts = [f"update {self.step}"]
        if self.attempt > 1:
            parts[0] = f"attempt {self.attempt}, {parts[0]}"
        if self.share < 1:
            parts.append(f"{100 * self.share:.4g}% of the way")
        if self.back:
            parts.append(f"{', '.join(self.back)} put back")
        return ", ".join(parts)

    def document(self) -> dict[str, Any]:
        """Return it as JSON-able values."""
        return {**asdict(self), "back": list(self.back)}


def made(
    candidate: Candidate, start: Mapping[str, Tensor], tuned: Mapping[str, Tensor], part: Callable[[str], str]
) -> dict[str, Tensor]:
    """Return a candidate's weights, given the start's and the tuned ones by name; `part(name)` says what each is of."""
    return {name: _one(candidate, name, start[name], tuned[name], part(name)) for name in tuned}


def _one(candidate: Candidate, name: str, start: Tensor, tuned: Tensor, part: str) -> Tensor:
    if _TUNED_ALONE in name:
        return tuned
    if part in candidate.back:
        return start
    return tuned if candidate.share == 1 else start + candidate.share * (tuned - start)
