"""The four policies are settings of the real loop: what its rule decides under each, window after window."""

import datetime as dt
from types import SimpleNamespace

import pytest

from holdfast.backtest import policies
from holdfast.decisions import rule
from holdfast.decisions.records import Facts
from holdfast.errors import BadInput

DAY = dt.timedelta(days=1)
START = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)


def decided(pipeline, policy: str, alarms: str, labelled: int = 500) -> str:
    """Return which of the windows, a day apart, are retrained in; `alarms` has an x for each that drifted."""
    changes = policies.overrides(policy, "toy", 72.0)
    monitor = pipeline(changes, retrain={"cooldown": "12h", "labelled": 200}).monitor
    looks = any(getattr(monitor.checks, name) for name in type(monitor.checks).model_fields)
    past = rule.Past()
    for day, mark in enumerate(alarms):
        facts = Facts(
            name="toy", version="1", at=(START + day * DAY).isoformat(), window=f"w{day}", rows=500,
            alarmed=looks and mark == "x", drifted=("content",) if looks and mark == "x" else (), labelled=labelled,
            promoted_at=(START - DAY).isoformat(), manual=policies.asks(policy),
        )  # fmt: skip
        past = rule.Past([*past.decisions, rule.decide(facts, monitor, past)])
    return "".join("r" if decision.outcome == "retrain" else "." for decision in past.decisions)


@pytest.mark.parametrize(
    ("policy", "expected"),
    [("never", "........."), ("always", "rrrrrrrrr"), ("calendar", "..r..r..r"), ("holdfast", "....r....")],
)
def test_when_each_policy_retrains(pipeline, policy, expected) -> None:
    assert decided(pipeline, policy, "...xxxx..") == expected


def test_a_spike_is_none_of_holdfasts_business(pipeline) -> None:
    assert decided(pipeline, "holdfast", "...x.....") == "........."


def test_no_policy_retrains_on_too_few_labels(pipeline) -> None:
    assert {decided(pipeline, policy, "xxxxxx", labelled=199) for policy in policies.POLICIES} == {"......"}


def test_the_file_s_own_calendar_is_not_never_s_nor_always_s(pipeline) -> None:
    for policy, hours in (("never", None), ("always", None), ("calendar", 72.0), ("holdfast", 24.0)):
        own = pipeline(policies.overrides(policy, f"toy-{policy}", 72.0), retrain={"every": "1d"})
        assert own.monitor.retrain.every == hours
        assert own.registered_name == f"toy-{policy}"


def test_the_calendar_is_the_given_one_else_the_file_s_else_a_quarter_of_the_time(pipeline) -> None:
    stops = [SimpleNamespace(now=START), SimpleNamespace(now=START + 8 * DAY)]
    with_own = pipeline(retrain={"every": "3d"})
    assert policies.every(with_own, stops, 10.0) == 10
    assert policies.every(with_own, stops, None) == 72
    assert policies.every(pipeline(), stops, None) == 48


def test_policies_are_read_in_our_order_and_unknown_ones_refused() -> None:
    assert policies.parse("holdfast, never") == ("never", "holdfast")
    with pytest.raises(BadInput, match="unknown policy `sometimes`"):
        policies.parse("never,sometimes")
    with pytest.raises(BadInput, match="no policy"):
        policies.parse(",")
