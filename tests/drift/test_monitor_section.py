"""The section `monitor`: strict, with the nearest key; it makes no version and reruns nothing."""

from pathlib import Path

import pytest

from holdfast import spec
from holdfast.drift.settings import Monitor
from holdfast.errors import BadInput
from holdfast.registry.work import Work

FILE = Path("/somewhere/toy.yaml")
SMALL = {"name": "toy", "start": {"model": "base"}, "learn": {"train": "a.csv"}}


def parsed(**monitor):
    return spec.parse({**SMALL, "monitor": monitor}, FILE)


@pytest.mark.parametrize(
    ("monitor", "says"),
    [
        ({"windw": {}}, "key `monitor.windw`: unknown key. Did you mean `window`?"),
        ({"window": {"row": 9}}, "key `monitor.window.row`: unknown key. Did you mean `rows`?"),
        ({"checks": {"content": {"acu": 0.6}}}, "key `monitor.checks.content.acu`: unknown key. Did you mean `auc`?"),
        ({"checks": {"lable": False}}, "key `monitor.checks.lable`: unknown key. Did you mean `label`?"),
        ({"retrain": {"cooldown": "a day"}}, "such as 90m, 24h or 3d. Got 'a day'"),
        ({"alarm": {"at_least": 4}}, "4 drifted windows out of 3 can never be"),
        ({"value": {"currency": "EUR"}}, "key `monitor.value.per_point_per_day`: is missing"),
        ({"family_wise": 0}, "key `monitor.family_wise`"),
    ],
)
def test_what_is_wrong_is_named(monitor, says):
    with pytest.raises(BadInput) as caught:
        parsed(**monitor)
    assert says in str(caught.value)


def test_spans_switches_and_paths():
    found = parsed(
        window={"span": "90m"}, checks={"content": False, "label": True}, retrain={"cooldown": "3d", "every": 12},
        source="incoming",
    ).monitor  # fmt: skip
    assert found.window.span == 1.5 and found.retrain.cooldown == 72 and found.retrain.every == 12
    assert found.checks.content is None and found.checks.label == Monitor().checks.label
    assert found.source == "/somewhere/incoming"


def test_the_section_comes_back_from_the_resolved_file():
    found = parsed(checks={"embedding": False}, value={"per_point_per_day": 3}, window={"span": "1d"})
    assert spec.parse(found.resolved(), Path("/elsewhere/x.yaml")) == found


def test_the_monitor_is_in_no_stage_and_makes_no_version():
    """The sections that stages are given, and so their cache keys, are the same whatever is watched."""
    plain, other = spec.parse(SMALL, FILE), parsed(window={"rows": 50}, family_wise=0.1)
    assert plain.monitor == Monitor() != other.monitor
    for section in ("start", "learn", "remember", "recipe", "assess", "training", "control", "gate", "parameters"):
        assert getattr(plain, section) == getattr(other, section)
    registered = [Work(pipeline, *[None] * 6).settings for pipeline in (plain, other)]
    assert registered[0] == registered[1] and "training" in registered[0]
