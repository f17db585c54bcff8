"""Candidates: where a tuning was at some update, drawn back towards the start model.

Between the start's weights w0 and the tuned ones w lies w0 + share * (w - w0) (WiSE-FT, Wortsman et al. 2022), for the
head too. LoRA's change is B A with B = 0 at the start, so only B is scaled: the change itself is then share * B A.
Where B does not start at 0 (PiSSA, CorDA), both are drawn back: share 0 is the start model all the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

_A, _B = ".lora_A.", ".lora_B."


@dataclass(frozen=True)
class Candidate:
    """The weights after an update of an attempt, `share` of the way from the start.

    `share` is above 0: the start model itself is no candidate.
    """

    attempt: int
    step: int
    share: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise ValueError(f"a candidate lies above 0 and up to 1 of the way from the start model, not {self.share}")

    @property
    def name(self) -> str:
        """What people call it, such as `update 84, 75% of the way`."""
        parts = [f"update {self.step}"]
        if self.attempt > 1:
            parts[0] = f"attempt {self.attempt}, {parts[0]}"
        if self.share < 1:
            parts.append(f"{100 * self.share:.4g}% of the way")
        return ", ".join(parts)

    def document(self) -> dict[str, Any]:
        """Return it as JSON-able values."""
        return asdict(self)


def made(candidate: Candidate, start: Mapping[str, Tensor], tuned: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a candidate's weights by name, given the start's and the tuned ones."""
    if candidate.share == 1:
        return dict(tuned)
    return {
        name: value if _tuned_alone(name, start) else start[name] + candidate.share * (value - start[name])
        for name, value in tuned.items()
    }


def _tuned_alone(name: str, start: Mapping[str, Tensor]) -> bool:
    """Say whether a tensor is one of LoRA's A whose B starts at 0."""
    return _A in name and not bool(start[name.replace(_A, _B)].any())
