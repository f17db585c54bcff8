"""Running a suite of rules over one table with Great Expectations, quietly and in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from holdfast.errors import HoldfastError
from holdfast.validation.expectations import Rule, Scope, Severity

if TYPE_CHECKING:
    import pandas as pd

_SEVERITIES: dict[Severity, str] = {"stop": "critical", "quarantine": "warning", "warn": "info"}
_OWN_WORDS: dict[str, Severity] = {theirs: ours for ours, theirs in _SEVERITIES.items()}


@dataclass(frozen=True)
class Outcome:
    """What Great Expectations found for one expectation.

    `rows` are the numbers (from 1) of the rows that break it, in order; `observed` is what was seen instead, for an
    expectation of the table or of a whole column.
    """

    rule: str
    severity: Severity
    expectation: str
    arguments: dict[str, Any]
    success: bool
    rows: tuple[int, ...]
    observed: Any


class Runner:
    """One ephemeral Great Expectations context, used for table after table; it keeps and sends nothing."""

    def __init__(self) -> None:
        import great_expectations as gx
        from great_expectations.data_context.types import base

        config = base.DataContextConfig(
            store_backend_defaults=base.InMemoryStoreBackendDefaults(),
            progress_bars=base.ProgressBarsConfig(globally=False),
            analytics_enabled=False,
        )
        context = gx.get_context(mode="ephemeral", project_config=config)
        asset = context.data_sources.add_pandas("rows").add_dataframe_asset("table")
        self._whole = asset.add_batch_definition_whole_dataframe("whole")

    def run(self, table: pd.DataFrame, rules: Sequence[Rule], scope: Scope) -> list[Outcome]:
        """Return the outcome of every expectation of `rules`, in their order.

        Raises `HoldfastError` where an expectation could not be computed: that is no verdict on the data.
        """
        import great_expectations as gx

        suite = gx.ExpectationSuite(name=scope.key, expectations=_build(rules, scope))
        batch = self._whole.get_batch(batch_parameters={"dataframe": table})
        found = batch.validate(suite, result_format={"result_format": "COMPLETE"})
        results = sorted(found.results, key=lambda result: result.expectation_config.meta["place"])
        return [_outcome(result, scope) for result in results]


def _build(rules: Sequence[Rule], scope: Scope) -> list[Any]:
    from great_expectations import expectations

    wanted = [(rule, kind, arguments) for rule in rules for kind, arguments in rule.checks(scope)]
    return [
        getattr(expectations, kind)(
            **arguments, severity=_SEVERITIES[rule.severity], meta={"rule": rule.name, "place": place}
        )
        for place, (rule, kind, arguments) in enumerate(wanted)
    ]


def _outcome(result: Any, scope: Scope) -> Outcome:
    config, values = result.expectation_config, result.result
    failure = _failure(result.exception_info)
    if failure:
        raise HoldfastError(f"{scope.key}: Great Expectations could not compute {config.type}: {failure}")
    return Outcome(
        rule=config.meta["rule"],
        severity=_OWN_WORDS[str(getattr(config.severity, "value", config.severity))],
        expectation=config.type,
        arguments={name: value for name, value in config.kwargs.items() if name != "batch_id"},
        success=bool(result.success),
        rows=tuple(int(row) for row in values.get("unexpected_index_list") or ()),
        observed=values.get("observed_value"),
    )


def _failure(info: dict[str, Any]) -> str | None:
    """Return the message of an exception inside Great Expectations: it has one record, or one for each metric."""
    records = [info, *(value for value in info.values() if isinstance(value, dict))]
    return next((str(one.get("exception_message")) for one in records if one.get("raised_exception")), None)
