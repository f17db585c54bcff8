"""The rule over simulated streams, and each of its conditions seen to decide."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from holdfast.decisions import episodes, labels, value
from holdfast.decisions.records import Adaptation, Facts
from holdfast.decisions.rule import Past, decide
from holdfast.drift.settings import Alarm, Monitor, Value

START = datetime(2026, 1, 1, tzinfo=UTC)
DAILY = Monitor(retrain={"cooldown": "1d"})


def day(number):
    return (START + timedelta(days=number)).isoformat()


def facts(number=0, alarmed=True, version="1", **changes):
    drifted = ("content",) if alarmed else ()
    given = {"window": f"w{number}", "alarmed": alarmed, "drifted": drifted, "labelled": 500, "points_lost": 0.1}
    given |= {"points_from": "measured", "at": day(number)}
    return Facts(name="toy", version=version, **{**given, **changes})


def live(days, alarms, monitor=DAILY, better=True):
    """Return the decisions of a stream with a window a day; `alarms(day, days since the model changed)` says whether
    a window alarms. A retrain makes a new version at once, if it is `better`."""
    past, version, changed = [], 1, None
    for number in range(days):
        seen = facts(number, alarms(number, changed), str(version))
        past.append(decide(seen, monitor, Past(tuple(past))))
        if past[-1].outcome == "retrain" and better:
            version, changed = version + 1, number
    return past


def retrains(decisions):
    return [d for d in decisions if d.outcome == "retrain"]


def test_a_month_without_drift_retrains_never_and_says_so_daily():
    month = live(30, lambda number, changed: False)
    assert {d.outcome for d in month} == {"nothing"} and len({d.key for d in month}) == 30
    assert all(d.rule == "no drift" for d in month)


def test_false_alarms_now_and_then_retrain_never():
    month = live(30, lambda number, changed: number % 4 == 0)
    assert {d.outcome for d in month} == {"nothing", "watch"}


def test_a_spike_of_one_window_retrains_never():
    month = live(30, lambda number, changed: number == 10)
    assert [d.outcome for d in month].count("watch") == 1 and not retrains(month)


def test_a_gradual_change_shorter_than_the_cooldown_retrains_once():
    """Ten windows from 0 to 100%: a model adapted on the way alarms again, while the change goes on."""
    slow = Monitor(retrain={"cooldown": "12d"})
    seen = live(40, lambda number, changed: 10 <= number < 20 if changed is None else changed < number < 20, slow)
    assert len(retrains(seen)) == 1 and retrains(seen)[0].facts.at == day(11)
    assert "wait" in {d.outcome for d in seen}
    hasty = live(40, lambda number, changed: 10 <= number < 20 if changed is None else changed < number < 20)
    assert len(retrains(hasty)) > 1  # what the cooldown is there for


def test_a_change_that_returns_retrains_once_per_episode():
    def alarms(number, changed):
        return 5 <= number < 10 or 20 <= number < 25

    seen = retrains(live(40, alarms, better=False))
    assert [d.at for d in seen] == [day(6), day(21)]
    assert [d.episode for d in seen] == ["1:w5", "1:w20"]


def drift_for_ever(days, verdict, monitor):
    """Return the days of the retrains of a model that alarms daily, each of which comes to the `verdict`."""
    past, made = [], []
    for number in range(days):
        past.append(decide(facts(number), monitor, Past(tuple(past), tuple(made))))
        if past[-1].outcome == "retrain":
            token, key = len(made) + 1, {"decision": past[-1].key}
            ended = event("fail" if verdict == "failed" else "end", token, number)
            made += [event("begin", token, number).model_copy(update=key)]
            made += [ended.model_copy(update=key | {"result": {"verdict": verdict}})]
    return [number for number, found in enumerate(past) if found.outcome == "retrain"], past


@pytest.mark.parametrize("verdict", ["refused", "failed"])
def test_after_a_retrain_in_vain_an_episode_waits_for_new_windows_and_ever_longer(verdict):
    four = Monitor(retrain={"cooldown": "1d", "windows": 4})
    when, past = drift_for_ever(40, verdict, four)
    assert when == [1, 5, 13, 29]  # new windows: 4, then 8, then 16
    assert past[4].reason.endswith("which came to nothing; another waits for 4 new windows, 3 have come")
    again = decide(facts(4), four, Past(tuple(past[:5])))
    assert again.outcome == "nothing", "nobody has acted upon the decision, or not to the end"


def test_after_a_retrain_that_was_promoted_an_episode_has_no_other():
    assert drift_for_ever(40, "promoted", DAILY)[0] == [1]  # say because the new version was taken back


def test_the_same_windows_again_are_no_new_ones():
    four = Monitor(retrain={"cooldown": "1d", "windows": 4})
    past = list(drift_for_ever(4, "refused", four)[1])
    key = {"decision": past[1].key}
    ended = event("end", 1, 1).model_copy(update=key | {"result": {"verdict": "refused"}})
    made = (event("begin", 1, 1).model_copy(update=key), ended)
    for hour in range(8):
        at = (START + timedelta(days=20, hours=hour)).isoformat()
        past.append(decide(facts(hour % 4, at=at), four, Past(tuple(past), made)))
        assert past[-1].outcome == "nothing", hour


def test_an_episode_begins_with_its_first_alarmed_window_and_ends_after_calm_ones():
    alarm = Alarm(at_least=2, out_of=3, clear=2)

    def run(flags):
        marks = [(f"w{i}", flag == "x") for i, flag in enumerate(flags)]
        return [episodes.current("3", marks[: i + 1], alarm) for i in range(len(marks))]

    assert run(".x.x") == [None, None, None, "3:w1"]
    assert run("x..x.x")[-1] == "3:w3"
    assert run("xx.x.")[-1] == "3:w0"  # one calm window does not end it
    assert run("xx..x") == [None, "3:w0", "3:w0", None, None]  # and those before its end count no more
    assert run("xx..xx")[-1] == "3:w4"


def test_fewer_labelled_rows_than_wanted_ask_for_labels():
    first = decide(facts(0), DAILY, Past())
    found = decide(facts(1, labelled=199), DAILY, Past((first,)))
    assert (first.outcome, found.outcome, found.rule) == ("watch", "ask-for-labels", "labelled rows")
    assert found.numbers["labelled"] == 199 and found.numbers["wanted"] == 200
    assert decide(facts(1, labelled=200), DAILY, Past((first,))).outcome == "retrain"


def test_the_expected_value_by_hand():
    priced = Value(per_point_per_day=40, horizon_days=30, cost_per_run=1000)
    assert value.net(0.05, priced) == pytest.approx(5 * 40 * 30 - 1000)
    first = decide(facts(0), DAILY, Past())
    cheap = Monitor(value={"per_point_per_day": 0.01, "cost_per_run": 4, "currency": "IDR"})
    found = decide(facts(1), cheap, Past((first,)))
    assert found.outcome == "not-worth-it" and found.numbers["expected value"] == pytest.approx(10 * 0.01 * 30 - 4)
    assert "IDR" in found.reason and found.numbers["currency"] == "IDR"
    unknown = decide(facts(1, points_lost=None, points_from=None), cheap, Past((first,)))
    assert (unknown.outcome, unknown.rule) == ("ask-for-labels", "value")


def event(kind, token, number):
    lease = {"holder": "me@here, process 1", "until": day(number + 1), "result": {}, "at": day(number)}
    return Adaptation(name="toy", token=token, event=kind, decision="d", **lease)


def test_one_adaptation_at_a_time_even_by_hand():
    running = Past(adaptations=(event("begin", 1, 0),))
    assert decide(facts(0, manual="now"), DAILY, running).outcome == "busy"
    assert decide(facts(2, manual="now"), DAILY, running).outcome == "retrain"  # the lease has run out
    ended = Past(adaptations=(event("begin", 1, 0), event("end", 1, 0)))
    assert decide(facts(0, manual="now"), DAILY, ended).outcome == "retrain"


def test_by_hand_neither_drift_nor_cooldown_are_asked_but_labels_are():
    before = decide(facts(0, manual="because"), DAILY, Past())
    again = decide(facts(0, False, manual="because"), DAILY, Past((before,)))
    assert (again.outcome, again.rule, again.reason) == ("retrain", "manual", "because")
    assert decide(facts(1, manual="because", labelled=3), DAILY, Past()).outcome == "ask-for-labels"


def test_the_calendar_retrains_and_audits():
    monthly = Monitor(retrain={"every": "30d", "audit_every": "7d"})
    quiet = {"alarmed": False, "promoted_at": day(0)}
    past = []
    for number in range(1, 32):
        past.append(decide(facts(number, **quiet), monthly, Past(tuple(past))))
    outcomes = {i: d.outcome for i, d in enumerate(past, 1) if d.outcome != "nothing"}
    assert outcomes == {7: "audit", 14: "audit", 21: "audit", 28: "audit", 30: "retrain"}
    assert past[29].rule == "calendar" and past[29].numbers["every"] == 720


def test_a_round_without_a_window_is_a_decision_too():
    found = decide(facts(3, False, window=None), DAILY, Past())
    assert (found.outcome, found.rule) == ("nothing", "no window")
    assert found.key != decide(facts(4, False, window=None), DAILY, Past()).key


def test_rows_worth_labelling_are_unsure_and_unlike_each_other():
    sure, unsure = [0.95, 0.05], [0.51, 0.49]
    chances = np.array([sure, unsure, unsure, sure, [0.5, 0.5], [0.55, 0.45]])
    points = np.array([[1, 0], [1, 0.01], [1, 0], [0, 1], [1, 0], [0, 1]], dtype=float)
    assert labels.worth_labelling(chances, None, 3) == [4, 1, 2]
    assert labels.worth_labelling(chances, points, 2) == [4, 5]  # the least sure, then the farthest from it
    assert labels.worth_labelling(chances[:2], points[:2], 9) == [1, 0]
    assert labels.worth_labelling(chances[:0], None, 3) == []
