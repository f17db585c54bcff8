"""One window, watched: read by the champion, checked against the reference, explained, reported, and kept."""

from __future__ import annotations

import math
from collections.abc import Container, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from holdfast import rows as dataset_rows
from holdfast import tables
from holdfast.decisions import labels
from holdfast.drift import checks, explain, log, reference, sample, times, windows
from holdfast.drift.champion import Champion, look
from holdfast.drift.explain import Explanation
from holdfast.drift.finding import Finding
from holdfast.records import DatasetVersion, Record
from holdfast.validation import columns

if TYPE_CHECKING:
    from holdfast.decisions.records import Decision
    from holdfast.drift.settings import Monitor
    from holdfast.home import Home

Row = dict[str, Any]
FEWEST = 20
TO_LABEL = "to-label.csv"


class Taken(Record):
    """A window as it was taken from production; `decided` says that it was decided about before."""

    digest: str
    rows: DatasetVersion
    late: int = 0
    until: float | None = None
    decided: bool = False


class Watched(Record):
    """What was seen of a window: its rows with the champion's answers, the findings, and what changed.

    `unlabelled` names the rows most worth labelling, `report` the folder of the report.
    """

    window: Taken
    rows: DatasetVersion
    findings: tuple[Finding, ...]
    explanation: Explanation
    unlabelled: tuple[str, ...]
    report: str

    @property
    def drifted(self) -> tuple[str, ...]:
        """The names of the checks that drifted."""
        return tuple(finding.check for finding in self.findings if finding.drifted)


def take(
    produced: Sequence[Row], monitor: Monitor, past: Sequence[Decision], home: Home, whole: bool, now: float
) -> list[Taken]:
    """Return the windows to watch, oldest first: every row in one, and none that an earlier window counted.

    With `whole` the rows are one window, as long as it has 20 rows that are new; a window that was decided about before
    is given back as such.
    """
    known = {decision.window for decision in past if decision.window}
    name = windows.named([row["id"] for row in produced])
    if whole and name in known:
        return [Taken(digest=name, rows=_keep(produced, home, "window"), decided=True)]
    counted = {row["id"] for decision in past if decision.window_rows for row in _of(decision, home)}
    new = windows.fresh(produced, counted)
    if whole:
        found = [windows.Window(tuple(new))] if len(new) >= FEWEST else []
    else:
        judged = max((d.window_until for d in past if d.window_until is not None), default=None)
        found = windows.complete(new, monitor.window, monitor.columns, judged, now)
    return [
        Taken(
            digest=window.digest,
            rows=_keep(window.rows, home, "window"),
            late=window.late,
            until=None if whole else windows.until(window, monitor.window, monitor.columns),
        )
        for window in found
    ]


def watch(
    window: Taken,
    kept: reference.Reference,
    champion: Champion,
    monitor: Monitor,
    past: Sequence[Decision],
    folder: Path,
    home: Home,
) -> Watched:
    """Watch a window and write its report into `folder`."""
    from holdfast.drift import evidently_report

    old = reference.load(kept, monitor.columns, home)
    seen = look(champion, dataset_rows.read(home, window.rows), home, monitor.checks.embedding is not None)
    new = sample.measure(seen.rows, monitor.columns, seen.embeddings)
    recent = sample.measure([*_recent(past, champion, monitor, home), *seen.rows], monitor.columns)
    found = checks.run(old, new, monitor, recent)
    told = explain.explain(old, new, found.strangeness, monitor.seed)
    evidently_report.write(old, new, found.findings, told, folder)
    unlabelled = _worth_labelling(seen.rows, seen.embeddings, monitor.retrain.ask_for)
    if unlabelled:
        tables.write(folder / TO_LABEL, ({"id": row["id"], "text": row["text"], "label": None} for row in unlabelled))
    return Watched(
        window=window,
        rows=_keep(seen.rows, home, "watched"),
        findings=found.findings,
        explanation=told,
        unlabelled=tuple(row["id"] for row in unlabelled),
        report=str(folder),
    )


def material(
    past: Sequence[Decision], now: Sequence[Row], count: int, name: str, home: Home, known: Container[str] = ()
) -> list[Row]:
    """Return the labelled rows of the last `count` windows, `now` being the last one's: what may be learned.

    Labels that came late are joined; of rows with the same text (`validation.columns.same`) the last is taken, and none
    with a text among the `known` ones: what the champion learned from or was judged on is its past, and a row of that
    in a new part would leak.
    """
    earlier = [d for d in past if d.window_rows][-(count - 1) :] if count > 1 else []
    rows = [row for decision in earlier for row in _of(decision, home)] + [*now]
    labelled = [row for row in log.with_labels(rows, log.late_labels(home, name)) if row["label"] is not None]
    by_text = {columns.same(row["text"]): row for row in labelled}
    return [row for text, row in by_text.items() if text not in known]


def _recent(past: Sequence[Decision], champion: Champion, monitor: Monitor, home: Home) -> list[Row]:
    """Return the dated rows of this version's earlier windows: performance is measured on late labels too."""
    own = [d for d in past if d.window_rows and d.version == champion.version]
    rows = [row for decision in own[-monitor.alarm.out_of * 2 :] for row in _of(decision, home)]
    dated = [row for row in rows if not math.isnan(times.seconds(row.get(monitor.columns.time)))]
    return log.with_labels(dated, log.late_labels(home, champion.name))


def _of(decision: Decision, home: Home) -> list[Row]:
    return dataset_rows.stored(home, decision.window_rows or "")


def _keep(rows: Sequence[Row], home: Home, ref: str) -> DatasetVersion:
    return dataset_rows.version(home, list(rows), ref=ref)


def _worth_labelling(rows: Sequence[Row], embeddings: np.ndarray | None, count: int) -> list[Row]:
    open_rows = [i for i, row in enumerate(rows) if row.get("label") is None and row.get("probabilities")]
    if not open_rows:
        return []
    names = sorted({label for i in open_rows for label in rows[i]["probabilities"]})
    chances = np.array([[rows[i]["probabilities"].get(name, 0.0) or 0.0 for name in names] for i in open_rows])
    chosen = labels.worth_labelling(chances, None if embeddings is None else embeddings[open_rows], count)
    return [rows[open_rows[i]] for i in chosen]
