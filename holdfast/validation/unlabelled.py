"""Texts without labels: which are set aside, and why. There is too little to say of them for a suite of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from holdfast import rows as dataset_rows
from holdfast.validation import columns
from holdfast.validation.columns import Row
from holdfast.validation.expectations import Scope
from holdfast.validation.finding import Finding
from holdfast.validation.suite import Outcome

if TYPE_CHECKING:
    from holdfast.home import Home
    from holdfast.records import DatasetVersion

KEY = "learn.unlabelled"
_LONGEST = 1 << 30
_EMPTY, _TWICE, _LEAK = "no-empty-text", "no-duplicates", "no-leak-into-test"


def inspect(version: DatasetVersion, tests: Mapping[str, str], home: Home) -> Finding:
    """Return what is found in the texts: empty ones, repeated ones and those of a test set are set aside.

    `tests` says where each text of a test set stands, by `columns.same`. Long texts are read as far as the model reads.
    """
    rows, seen = dataset_rows.read(home, version), dict[str, int]()
    reasons: dict[int, tuple[str, ...]] = {}
    for number, row in enumerate(rows, 1):
        why = _complaint(row, tests, seen)
        seen.setdefault(columns.same(row["text"]), number)
        if why:
            reasons[number] = (why,)
    examples: dict[str, str] = {}
    for number, (why,) in reasons.items():
        rule, _, complaint = why.partition(": ")
        examples.setdefault(rule, f"row {number}: {complaint}")
    outcomes = tuple(_outcome(rule, reasons) for rule in (_EMPTY, _TWICE, _LEAK))
    return Finding(Scope(KEY, (), _LONGEST, ("text", "text")), version, tuple(rows), outcomes, reasons, examples)


def _complaint(row: Row, tests: Mapping[str, str], seen: Mapping[str, int]) -> str | None:
    text = columns.same(row["text"])
    if not text:
        return f"{_EMPTY}: the text is empty"
    if text in tests:
        return f"{_LEAK}: the same text is in {tests[text]}"
    return f"{_TWICE}: the same text is in row {seen[text]}" if text in seen else None


def _outcome(rule: str, reasons: Mapping[int, tuple[str, ...]]) -> Outcome:
    broken = tuple(number for number, (why,) in reasons.items() if why.startswith(f"{rule}:"))
    return Outcome(
        rule=rule, severity="quarantine", expectation="", arguments={}, success=not broken, rows=broken, observed=None
    )
