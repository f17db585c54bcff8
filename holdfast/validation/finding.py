"""What was found in one dataset: the outcome of every expectation, and the rows to set aside with their reasons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from holdfast.records import DatasetVersion
from holdfast.validation import columns, expectations
from holdfast.validation.columns import Row
from holdfast.validation.expectations import Rule, Scope
from holdfast.validation.suite import Outcome, Runner

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class Finding:
    """A dataset version, its rows, and what the suite said; `reasons` maps numbers of bad rows to complaints.

    `examples` maps the name of a broken rule to the first row against it, with the complaint.
    """

    scope: Scope
    version: DatasetVersion
    rows: tuple[Row, ...]
    outcomes: tuple[Outcome, ...]
    reasons: dict[int, tuple[str, ...]]
    examples: dict[str, str]

    @property
    def kept(self) -> list[Row]:
        """The rows that are not set aside, in order."""
        return [row for number, row in enumerate(self.rows, 1) if number not in self.reasons]

    @property
    def share(self) -> float:
        """The share of rows that are set aside, from 0 to 1."""
        return len(self.reasons) / len(self.rows) if self.rows else 0.0

    @property
    def stop(self) -> Outcome | None:
        """The first broken expectation that ends the run."""
        return next((o for o in self.outcomes if not o.success and o.severity == "stop"), None)

    def quarantine(self) -> list[dict[str, Any]]:
        """Return the rows that are set aside, as the quarantine file has them."""
        return [
            {
                "dataset": self.scope.key,
                "row": number,
                **{name: self.rows[number - 1].get(name) for name in ("id", *self.scope.names)},
                "reasons": list(reasons),
            }
            for number, reasons in self.reasons.items()
        ]


def inspect(
    version: DatasetVersion,
    rows: Sequence[Row],
    rules: Sequence[Rule],
    scope: Scope,
    tests: Mapping[str, str],
    tokens: Callable[..., list[int]],
    runner: Runner,
) -> Finding:
    """Return what the schema and `rules` find in the rows of `version`; where columns are missing, only that."""
    table = columns.plain(rows, scope.names)
    if not set(table.columns) >= {"id", *scope.names}:
        return Finding(scope, version, tuple(rows), tuple(runner.run(table, expectations.SCHEMA, scope)), {}, {})
    labels = scope.labels or sorted({str(label) for label in table[scope.names[1]]})
    table = columns.add(table, tests, labels, tokens, scope.names)
    table = table.assign(unanswerable=columns.unanswerable(rows) if scope.metric == "choice" else "")
    outcomes = runner.run(table, (*expectations.SCHEMA, *rules), scope)
    said = {rule.name: _complaints(table, outcomes, rule, scope) for rule in rules}
    reasons: dict[int, list[str]] = {}
    for rule in rules:
        for number, why in said[rule.name].items() if rule.severity == "quarantine" else ():
            reasons.setdefault(number, []).append(f"{rule.name}: {why}")
    ordered = {number: tuple(why) for number, why in sorted(reasons.items())}
    firsts = {name: next(iter(of_rows.items())) for name, of_rows in said.items() if of_rows}
    examples = {name: f"row {number}: {why}" for name, (number, why) in firsts.items()}
    return Finding(scope, version, tuple(rows), tuple(outcomes), ordered, examples)


def _complaints(table: Any, outcomes: Sequence[Outcome], rule: Rule, scope: Scope) -> dict[int, str]:
    """Return {number: why} of every row that breaks a rule, in order of rows; of a warning, only the first."""
    broken = sorted({row for outcome in outcomes if outcome.rule == rule.name for row in outcome.rows})
    told = broken if rule.severity == "quarantine" else broken[:1]
    return {number: rule.reason(table.loc[number].to_dict(), scope) for number in told}
