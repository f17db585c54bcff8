"""What a judge is given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

Ask = Callable[[Sequence[str]], list[str]]


@dataclass(frozen=True)
class Case:
    """An answer to be judged, and the row (`prompt`, the gold `answer`, and what else it has) that it answers.

    `number` is the row's (1-based), where it is known.
    """

    answer: str
    row: dict[str, Any]
    number: int | None = None

    @property
    def prompt(self) -> str:
        """The row's prompt."""
        return str(self.row["prompt"])

    @property
    def gold(self) -> str:
        """The row's own answer."""
        return str(self.row["answer"])
