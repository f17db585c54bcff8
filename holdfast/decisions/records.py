"""What a decision rests on, and what it says."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from holdfast import digests
from holdfast.records import Record, RememberedScore

Outcome = Literal["nothing", "watch", "wait", "busy", "not-worth-it", "ask-for-labels", "audit", "retrain", "rollback"]
Event = Literal["begin", "fail", "end"]


class Trial(Record):
    """A new champion beside its predecessor on the labelled rows of its first `windows` windows, both asked now.

    `before` is the predecessor's accuracy and `after` the champion's, on the `n` rows that neither learned; `lower` is
    the one-sided lower bound of the drop at `confidence`.
    """

    predecessor: str
    windows: int
    before: float
    after: float
    drop: float
    lower: float
    confidence: float
    n: int


class Audit(Record):
    """The champion's contract, measured again on its remembered tasks; `broken` are those it does not keep any more.

    `tasks` are the scores; `failed` says why nothing could be measured, if so.
    """

    tasks: tuple[RememberedScore, ...] = ()
    broken: tuple[str, ...] = ()
    failed: str | None = None


class Facts(Record):
    """What one round of watching saw.

    `version` is the champion's number, `promoted_at` when it became that and `generation` the ledger's number of it;
    `trial` how it does beside its predecessor while it is new. `window` the digest of the window's rows,
    None where none was complete; `alarmed` whether a check drifted (`drifted` says which). `points_lost` of accuracy
    (0.05 is 5 points) were `measured` or `estimated`, None where neither could be done. `labelled` rows are there to
    learn from. `manual` is the reason of someone who asks for a retrain. Times are ISO 8601, UTC.
    """

    name: str
    version: str
    at: str
    window: str | None = None
    rows: int = 0
    alarmed: bool = False
    drifted: tuple[str, ...] = ()
    points_lost: float | None = None
    points_from: Literal["measured", "estimated"] | None = None
    labelled: int = 0
    promoted_at: str | None = None
    generation: int = 0
    trial: Trial | None = None
    manual: str | None = None

    @property
    def key(self) -> str:
        """What there is one decision about: a window, however often it is reported, or else this very round."""
        return digests.of_json(["manual", self.manual, self.at] if self.manual else ["window", self.window or self.at])


class Decision(Record):
    """What was decided, by which rule and why; `numbers` are those that the rule compared.

    `episode` is the model version and the first alarmed window of the drift that the round belongs to, if any.
    `settings` are the parts of the pipeline file that the rule read. `window_rows` is the artifact of the window's
    rows, `report` the folder of its report, `audit` what one that was due found.
    """

    name: str
    key: str
    version: str
    window: str | None
    outcome: Outcome
    rule: str
    reason: str
    episode: str | None
    numbers: dict[str, float | str | None]
    facts: Facts
    settings: dict[str, Any]
    at: str
    window_rows: str | None = None
    window_until: float | None = None
    report: str | None = None
    wanted_labels: tuple[str, ...] = Field(default=())
    audit: Audit | None = None


class Adaptation(Record):
    """One event in the life of an adaptation: begun by `holder` under a `token` until when, failed, or ended."""

    name: str
    token: int
    event: Event
    decision: str
    holder: str
    until: str
    result: dict[str, Any]
    at: str
