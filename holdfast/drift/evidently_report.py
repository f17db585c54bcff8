"""One Evidently report per window: our checks as metrics with tests, what changed, and Evidently's own look at columns.

Importing this takes seconds, so it is imported where a report is written and nowhere else. Evidently 0.7's text
detector sets NumPy's global seed; `undisturbed` puts the global random state back, whatever ran inside.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Dict, List  # noqa: UP035 - Evidently's models read them at run time

import numpy as np
import pandas as pd
from evidently import DataDefinition, Dataset, Report
from evidently.core.metric_types import (
    MetricTest,
    MetricTestResult,
    SingleValue,
    SingleValueCalculation,
    SingleValueMetric,
    TestStatus,
)
from evidently.legacy.renderers.html_widgets import WidgetSize, table_data
from evidently.metrics import ValueDrift

from holdfast.drift import descriptors, explain
from holdfast.drift.explain import Change, Example, Explanation, Word
from holdfast.drift.finding import Finding

if TYPE_CHECKING:
    from holdfast.drift.sample import Sample

HTML, JSON = "report.html", "report.json"
_MOST_ROWS = 10_000


@contextmanager
def undisturbed() -> Iterator[None]:
    """Put NumPy's and Python's global random states back when the block is left."""
    numbers, plain = np.random.get_state(), random.getstate()
    try:
        yield
    finally:
        np.random.set_state(numbers)
        random.setstate(plain)


class Drifted(MetricTest):
    """An Evidently test that says what our check said: it fails where the check drifted."""

    drifted: bool
    said: str

    def to_test(self) -> Any:
        """Return the function that makes the result."""

        def result(context: Any, metric: Any, value: SingleValue) -> MetricTestResult:
            return MetricTestResult(
                id="holdfast",
                name=value.display_name,
                description=self.said,
                status=TestStatus.FAIL if self.drifted else TestStatus.SUCCESS,
                metric_config=metric.to_metric_config(),
                test_config={"drifted": self.drifted},
            )

        return result


class HoldfastCheck(SingleValueMetric):
    """One of our checks as an Evidently metric: its value is the effect size, a table holds the rest."""

    check: str
    effect: float
    numbers: Dict[str, str]  # noqa: UP006


class _CheckCalculation(SingleValueCalculation[HoldfastCheck]):
    def display_name(self) -> str:
        return f"Holdfast: {self.metric.check}"

    def calculate(self, context: Any, current_data: Any, reference_data: Any) -> SingleValue:
        result = self.result(self.metric.effect)
        rows = list(self.metric.numbers.items())
        title = self.display_name()
        result.widget = [table_data(column_names=["", ""], data=rows, title=title, size=WidgetSize.HALF)]
        return result


class HoldfastChanges(SingleValueMetric):
    """What changed, as tables; the value is the number of segments told of."""

    tables: List[Dict[str, Any]]  # noqa: UP006
    size: float
    shown: ClassVar[str] = "Holdfast: what changed"


class _ChangesCalculation(SingleValueCalculation[HoldfastChanges]):
    def display_name(self) -> str:
        return HoldfastChanges.shown

    def calculate(self, context: Any, current_data: Any, reference_data: Any) -> SingleValue:
        result = self.result(self.metric.size)
        result.widget = [
            table_data(column_names=table["columns"], data=table["rows"], title=table["title"])
            for table in self.metric.tables
        ]
        return result


def write(
    reference: Sample,
    window: Sample,
    findings: Sequence[Finding],
    explanation: Explanation,
    folder: Path,
    clean: Callable[[str], str] | None = None,
) -> dict[str, Any]:
    """Write `report.html`, readable offline, and `report.json` into `folder`; return the JSON.

    `report.json` holds `holdfast` (findings and explanation, whole) and `evidently` (metrics and tests).
    """
    folder.mkdir(parents=True, exist_ok=True)
    clean = clean or _inert
    metrics: list[Any] = [_check(finding) for finding in findings if not finding.skipped]
    drawn = _drawn(len(reference), len(window))
    metrics.append(HoldfastChanges(tables=_tables(findings, explanation, drawn, clean), size=len(explanation.changes)))
    frames = [_frame(side) for side in (reference, window)]
    metrics += _columns(*frames)
    with undisturbed():
        kinds = DataDefinition(
            numerical_columns=[*descriptors.NAMES],
            categorical_columns=[name for name in ("label", "prediction") if name in frames[0]],
        )
        old, new = (Dataset.from_pandas(frame, data_definition=kinds) for frame in frames)
        run = Report(metrics, include_tests=True).run(current_data=new, reference_data=old)
        run.save_html(str(folder / HTML))
        evidently = json.loads(run.json())
    found = {
        "holdfast": {
            "findings": [finding.model_dump(mode="json") for finding in findings],
            "explanation": explanation.model_dump(mode="json"),
        },
        "evidently": evidently,
    }
    text = json.dumps(found, ensure_ascii=False, indent=1, default=str)
    (folder / JSON).write_text(text + "\n", encoding="utf-8")
    return found


def _inert(text: str) -> str:
    """Return text that cannot end the script element in which Evidently's page holds its data."""
    return text.replace("<", "‹").replace(">", "›")


def _check(finding: Finding) -> HoldfastCheck:
    level = "" if finding.level is None else f" (level {finding.level:.4g})"
    numbers = {
        "verdict": "drifted" if finding.drifted else "no drift",
        finding.measure: f"{finding.effect:.4g} (at least {finding.floor:g} counts)",
        "p-value": f"{finding.p:.3g}{level}",
        "rows": f"{finding.n} against {finding.reference_n}",
        **{_inert(name): _inert(str(value)) for name, value in finding.detail.items()},
    }
    said = f"{finding.measure} {finding.effect:.4g}, p {finding.p:.3g}"
    test = Drifted(drifted=finding.drifted, said=said)
    return HoldfastCheck(check=finding.check, effect=finding.effect, numbers=numbers, tests=[test])


def _drawn(reference: int, window: int) -> list[tuple[str, str]]:
    """Return which parts of the report look at a sample of the rows, and its size; the checks say their own."""
    parts = (("words", explain.MOST_ROWS), ("Evidently's look at the columns", _MOST_ROWS))
    return [
        (part, f"{min(window, most):,} of {window:,} against {min(reference, most):,} of {reference:,}")
        for part, most in parts
        if max(reference, window) > most
    ]


def _tables(
    findings: Sequence[Finding], told: Explanation, drawn: Sequence[tuple[str, str]], clean: Callable[[str], str]
) -> list[dict[str, Any]]:
    left = [(finding.check, finding.skipped) for finding in findings if finding.skipped]
    tables = [
        _table(
            "Segments", ("segment", "share", "accuracy", "strangeness", "strangest row"), map(_segment, told.changes)
        ),
        _table("Words that came", ("word", "before", "after"), map(_word, told.came)),
        _table("Words that went", ("word", "before", "after"), map(_word, told.went)),
        _table("Rows least like the reference", ("id", "text", "label", "prediction"), map(_example, told.examples)),
        _table("Checks that could not be made", ("check", "why"), left),
        _table("Looked at in a sample, drawn at random", ("part", "rows"), drawn),
    ]
    return [
        {**table, "rows": [[clean(str(cell)) for cell in row] for row in table["rows"]]}
        for table in tables
        if table["rows"]
    ]


def _table(title: str, columns: tuple[str, ...], rows: Any) -> dict[str, Any]:
    return {"title": title, "columns": [*columns], "rows": [*rows]}


def _segment(change: Change) -> tuple[str, ...]:
    accuracy = [
        f"{value:.1%}" if value is not None else "?" for value in (change.accuracy_before, change.accuracy_after)
    ]
    strangeness = "?" if change.strangeness is None else f"{change.strangeness:.2f}"
    example = change.examples[0].text if change.examples else ""
    shares = f"{_percent(change.before)} -> {_percent(change.after)}"
    return f"{change.segment}: {change.value}", shares, " -> ".join(accuracy), strangeness, example


def _percent(value: float | None) -> str:
    return "?" if value is None else f"{value:.1%}"


def _word(word: Word) -> tuple[str, ...]:
    return word.word, f"{word.before:.1%}", f"{word.after:.1%}"


def _example(example: Example) -> tuple[str, ...]:
    return example.id, example.text, example.label or "", example.prediction or ""


def _frame(sample: Sample) -> pd.DataFrame:
    sample = sample.at_most(_MOST_ROWS, 0)
    frame = pd.DataFrame(sample.descriptors.astype(float), columns=[*descriptors.NAMES])
    for name, column in (("label", sample.labels), ("prediction", sample.predictions)):
        frame[name] = [_inert(value) if isinstance(value, str) else None for value in column]
    return frame


def _columns(old: pd.DataFrame, new: pd.DataFrame) -> list[Any]:
    """Return Evidently's own drift of the columns that both sides have."""
    found = [ValueDrift(column=name, method="ks") for name in descriptors.NAMES if _varied(old[name], new[name])]
    for name in ("label", "prediction"):
        if old[name].notna().any() and new[name].notna().any():
            found.append(ValueDrift(column=name, method="psi", threshold=0.25))
        else:
            old.drop(columns=name, inplace=True)
            new.drop(columns=name, inplace=True)
    return found


def _varied(old: pd.Series, new: pd.Series) -> bool:
    return len(set(old) | set(new)) > 1
