"""What happened in a window under a policy, kept one file each, so that a backtest goes on from the last of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from holdfast.comparison import units
from holdfast.decisions import book
from holdfast.records import Record
from holdfast.registry import ledger

if TYPE_CHECKING:
    from holdfast.home import Home


class Answered(Record):
    """Which version answered a window's rows, and how many of them rightly."""

    policy: str
    number: int
    until: str
    rows: int
    right: int
    version: str
    seconds: float


class Step(Record):
    """A window under a policy: the answers, the decision about it, and what was done.

    `retrained` is the adaptation's verdict, None without one; `champion` and `champion_digest` are who answers from
    here on, `seconds` of CPU went into watching, deciding and adapting.
    """

    policy: str
    number: int
    until: str
    rows: int
    right: int
    version: str
    drifted: tuple[str, ...]
    outcome: str
    rule: str
    reason: str
    retrained: Literal["promoted", "refused", "failed"] | None
    why: str | None
    rolled_back: str | None
    champion: str
    champion_digest: str
    seconds: float

    @property
    def accuracy(self) -> float:
        """The share of rows that were answered rightly, before anything was learned from them."""
        return self.right / self.rows


class Kept:
    """The files of a backtest below one folder: every one is there whole, or not at all."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def answered(self, policy: str, number: int) -> Answered | None:
        """Return who answered a window under a policy, where that is known."""
        found = self._read(policy, f"answered-{number:04}")
        return Answered(**found) if found else None

    def step(self, policy: str, number: int) -> Step | None:
        """Return a window's step under a policy, where it is finished."""
        found = self._read(policy, f"step-{number:04}")
        return Step(**found) if found else None

    def keep(self, one: Answered | Step) -> None:
        """Write a record."""
        kind = "step" if isinstance(one, Step) else "answered"
        self.write(one.policy, f"{kind}-{one.number:04}", one.model_dump(mode="json"))

    def score(self, digest: str) -> float | None:
        """Return the accuracy on earlier data of the version with an adapter's digest, where it was measured."""
        found = self._read("earlier", digest)
        return None if found is None else float(found["accuracy"])

    def keep_score(self, digest: str, accuracy: float) -> None:
        """Write a version's accuracy on earlier data."""
        self.write("earlier", digest, {"accuracy": accuracy})

    def write(self, group: str, name: str, value: Any) -> None:
        """Write a value as JSON."""
        place = self.folder / group
        place.mkdir(parents=True, exist_ok=True)
        units.whole(place / f"{name}.json", json.dumps(value, ensure_ascii=False, indent=1) + "\n")

    def _read(self, group: str, name: str) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = json.loads((self.folder / group / f"{name}.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        return found


def told(answered: Answered, name: str, failed: str | None, seconds: float, home: Home) -> Step:
    """Return the step that the book and the ledger tell of: what was written about `name` at the window's time.

    Read from there and not from what a round returned, so that a round that was killed and done again tells the same.
    """
    past, entries = book.at(home).past(name), ledger.at(home).history(name)
    decision = next(d for d in past.decisions if d.at == answered.until and d.window is not None)
    ended = [event for event in past.adaptations if event.at == answered.until and event.event == "end"]
    back = [entry.why for entry in entries if entry.at == answered.until and entry.action == "rollback"]
    result = ended[-1].result if ended else {}
    return Step(
        **answered.model_dump(include={"policy", "number", "until", "rows", "right", "version"}),
        drifted=decision.facts.drifted,
        outcome=decision.outcome,
        rule=decision.rule,
        reason=decision.reason,
        retrained="failed" if failed else result.get("verdict"),
        why=failed or result.get("reason"),
        rolled_back=back[-1] if back else None,
        champion=entries[-1].version,
        champion_digest=entries[-1].digest,
        seconds=round(seconds, 2),
    )
