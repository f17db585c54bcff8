"""What is done about a decision, in small: rows held out, the shadow's window, a champion on trial, an audit."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from holdfast import digests, models, rows
from holdfast.decisions import audit, book, retrain, rule, shadow, trial
from holdfast.decisions.records import Facts, Trial
from holdfast.drift import log
from holdfast.drift.champion import Champion
from holdfast.drift.settings import Monitor, Rollback
from holdfast.errors import Conflict
from holdfast.forgetting import intervals
from holdfast.registry import ledger, versions
from tests.registry.conftest import LABELS, adapter

NOW = "2026-01-01T00:00:00+00:00"
WORSE = Trial(predecessor="1", windows=2, before=0.9, after=0.8, drop=0.1, lower=0.02, confidence=0.975, n=200)


def decided(home, name, version, generation, found, number=0):
    """Write a decision about a window of rows into the book, as a round does."""
    window = rows.version(home, found, ref="watched")
    facts = Facts(name=name, version=version, at=NOW, window=f"w{number}", generation=generation)
    decision = rule.decide(facts, Monitor(), rule.Past()).model_copy(update={"window_rows": window.digest})
    return book.at(home).record(decision)


# What is held out


def test_of_each_label_a_share_of_the_newest_window_is_held_out():
    found = [{"id": f"{w}{i}", "label": "ab"[i % 2]} for w in "xyz" for i in range(40)]
    windows = [{f"{w}{i}" for i in range(40)} for w in "zyx"]
    chosen = retrain.held_out(found, windows, 0.4, 16, seed=7)
    assert len(chosen) == 16 and all(name.startswith("z") for name in chosen)
    assert sum(int(name[1:]) % 2 for name in chosen) == 8
    assert chosen == retrain.held_out(list(reversed(found)), windows, 0.4, 16, seed=7)
    more = retrain.held_out(found, windows, 0.4, 17, seed=7)
    assert more > chosen and {name[0] for name in more} == {"y", "z"} and len(more) == 32


def test_what_a_decision_knew_goes_by_the_book_and_not_by_the_clock(home):
    """A round by the schedule takes the window, while one by hand that began before it is still being decided."""

    def record(window, at, manual=None):
        facts = Facts(name="toy", version="1", at=at, window=window, manual=manual, labelled=500)
        return book.at(home).record(rule.decide(facts, Monitor(), rule.Past()))

    taken = record("w0", "2026-01-01T00:00:09+00:00")
    by_hand = record(None, "2026-01-01T00:00:05+00:00", manual="because")
    record("w1", "2026-01-01T00:00:12+00:00")
    assert by_hand.outcome == "retrain" and retrain.known_to(by_hand, home) == [taken, by_hand]


# The shadow


def test_the_newest_window_with_enough_labels_that_nobody_learned_is_the_shadows(home):
    def window(number, labels):
        return [{"id": f"{number}-{i}", "text": f"Text {number} {i}", "label": label} for i, label in enumerate(labels)]

    for number, labels in enumerate((["a"] * 30, ["a"] * 25, ["a"] * 19 + [None] * 11)):
        decided(home, "toy", "1", 1, window(number, labels), number)
    past = book.at(home).past("toy").decisions
    digest, found = shadow.newest(past, set(), "toy", home)
    assert (digest, len(found)) == ("w1", 25)  # the last has 19 labels
    learned = {f"text 1 {i}" for i in range(6)}
    digest, found = shadow.newest(past, learned, "toy", home)
    assert (digest, len(found)) == ("w0", 30)  # of the second, 19 were not learned
    place = log.place(home, "toy") / "labels"
    place.mkdir(parents=True)
    from holdfast import tables

    tables.write(place / "late.parquet", [{"id": "2-19", "label": "b"}])
    digest, found = shadow.newest(past, learned, "toy", home)
    assert (digest, len(found), found[-1]["label"]) == ("w2", 20, "b")  # a label that came late counts
    assert shadow.newest(past[:1], {f"text 0 {i}" for i in range(30)}, "toy", home) == (None, [])


# On trial


@pytest.fixture
def promoted(home, tiny_start, toy_rows, monkeypatch):
    """Two versions promoted one after the other, and rows with the first one's answers for labels, but for three."""
    starts = []
    for seed in (1, 2):
        made = adapter(home, tiny_start, seed)
        heads = {"sentiment": {"labels": LABELS}}
        starts.append(tiny_start.model_copy(update={"adapter": made}).model_validate(
            {**tiny_start.model_dump(), "adapter": made.model_dump(), "heads": heads, "version": str(seed)}
        ))  # fmt: skip
        ledger.at(home).promote("toy", str(seed), made.digest, seed - 1, "gained", "the gate, for me")
    monkeypatch.setattr(versions, "fetch", lambda name, which, home: starts[int(which) - 1])
    model = models.load(starts[0], home)
    model.use_head("sentiment")
    from holdfast import inference

    answers = inference.logits(model, rows.texts(toy_rows), max_length=32, precision="fp32").argmax(-1)
    found = [{**row, "label": LABELS[int(i)]} for row, i in zip(toy_rows, answers, strict=True)]
    turn = dict(zip(LABELS, reversed(LABELS), strict=True))
    found = [{**row, "label": turn[row["label"]]} if i < 3 else row for i, row in enumerate(found)]
    champion = Champion(
        name="toy", version="2", start=starts[1], promoted_at=NOW, head="sentiment", max_length=32, precision="fp32",
        data={}, generation=2,
    )  # fmt: skip
    return champion, starts, found


def right(start, found, home):
    from holdfast import inference

    model = models.load(start, home)
    model.use_head("sentiment")
    answers = inference.logits(model, rows.texts(found), max_length=32, precision="fp32").argmax(-1)
    return np.array([LABELS[int(i)] == row["label"] for row, i in zip(found, answers, strict=True)])


def test_a_new_champion_is_compared_with_its_predecessor_on_its_first_windows(home, promoted):
    champion, starts, found = promoted
    past = [decided(home, "toy", "1", 1, [{**row, "id": f"old{row['id']}"} for row in found], 0)]
    past.append(decided(home, "toy", "2", 2, found[:24], 1))
    seen = trial.observe(champion, past, found[24:], Rollback(), home)
    old, new = (right(start, found, home) for start in starts)
    assert seen.before == pytest.approx(45 / 48) and seen.after == pytest.approx(new.mean())
    lost, won = int(np.sum(old & ~new)), int(np.sum(~old & new))
    assert seen.lower == pytest.approx(intervals.drop_lower(lost, won, 48, 0.975)) and seen.n == 48
    assert seen.drop == pytest.approx((lost - won) / 48) and seen.lower > 0, "these two differ, or nothing is tried"
    third = trial.observe(champion, [*past, decided(home, "toy", "2", 2, found[24:], 2)], found[:3], Rollback(), home)
    assert third.n == 48, "only the first two windows are its trial"
    learned = champion.model_copy(update={"data": {"learn.train": rows.version(home, found[:8]).digest}})
    assert trial.observe(learned, past, found[24:], Rollback(), home).n == 40


def test_who_is_not_on_trial(home, promoted):
    champion, _, found = promoted
    assert trial.observe(champion, [], found, None, home) is None  # switched off
    assert trial.observe(champion, [], found[:19], Rollback(), home) is None  # too few labels
    assert trial.before("toy", 1, home) is None  # the first of its name
    assert trial.before("toy", 2, home).version == "1"
    ledger.at(home).rollback("toy", "worse", "me")
    assert trial.before("toy", 3, home) is None  # whom a rollback brought back
    ledger.at(home).promote("toy", "2", "digest", 3, "by hand: I know better", "me")
    assert trial.before("toy", 4, home) is None  # whom a person promoted


def facts(**changes):
    return Facts(**{"name": "toy", "version": "2", "at": NOW, "window": "w", "generation": 2, **changes})


def test_worse_by_enough_and_surely_is_rolled_back_whatever_else_there_is_to_do():
    found = rule.decide(facts(trial=WORSE, alarmed=True), Monitor(), rule.Past())
    assert (found.outcome, found.rule) == ("rollback", "worse than before")
    assert "version 2 has 0.8000 where version 1 has 0.9000" in found.reason and found.numbers["drop"] == 0.1
    for changes in ({"drop": 0.049}, {"lower": 0.0}, {"drop": -0.1, "lower": -0.2}):
        other = rule.decide(facts(trial=WORSE.model_copy(update=changes)), Monitor(), rule.Past())
        assert other.outcome == "nothing"
    assert rule.decide(facts(trial=WORSE), Monitor(rollback=False), rule.Past()).outcome == "nothing"


def test_after_a_rollback_nothing_is_adapted_within_the_cooldown_nor_again_in_its_episode():
    alarm = [rule.decide(facts(version="1", window=f"a{i}", alarmed=True, labelled=999), Monitor(), rule.Past())
             for i in range(1)]  # fmt: skip
    wanted = rule.decide(facts(version="1", window="b", alarmed=True, labelled=999), Monitor(), rule.Past(alarm))
    back = rule.decide(facts(trial=WORSE, at="2026-01-03T00:00:00+00:00", window="c"), Monitor(), rule.Past())
    assert (wanted.outcome, back.outcome) == ("retrain", "rollback")
    past = rule.Past((*alarm, wanted, back))
    again = facts(version="1", window="d", alarmed=True, labelled=999, generation=3, at="2026-01-03T12:00:00+00:00")
    assert rule.decide(again, Monitor(), past).rule == "once per episode"
    other = rule.Past((back, *(d.model_copy(update={"version": "1", "window": d.window + "x"}) for d in alarm)))
    fresh = rule.decide(again, Monitor(), other)
    assert (fresh.outcome, fresh.rule) == ("wait", "cooldown") and "since the last rollback" in fresh.reason


def test_a_rollback_of_another_generation_is_not_due(home, promoted):
    decision = rule.decide(facts(trial=WORSE), Monitor(), rule.Past())
    assert trial.due(decision, home)
    ledger.at(home).rollback("toy", "by a person", "me", 2)
    assert not trial.due(decision, home)
    with pytest.raises(Conflict, match="expected generation 2, met 4"):
        ledger.at(home).promote("toy", "3", "d", 3, "gained", "the gate")
        ledger.at(home).rollback("toy", "late", "me", 2)


# The audit


def test_an_audit_asks_anew_and_sees_what_is_not_kept(home, promoted, monkeypatch):
    champion, starts, found = promoted
    kept = rows.version(home, found, ref="old")
    old = right(starts[0], found, home)
    champion = champion.model_copy(update={"data": {"remember.old.test": kept.digest}})

    def evaluated(right_before):
        items = [{"id": row["id"], "before_correct": bool(was)} for row, was in zip(found, right_before, strict=True)]
        with home.store.scratch() as scratch:
            lines = "".join(digests.canonical_json(item) + "\n" for item in items)
            (scratch / "remember.old.items.jsonl").write_text(lines)
            (scratch / "summary.json").write_text(json.dumps({"remembered": [{"name": "old", "head": "sentiment"}]}))
            return home.store.put(scratch, "evaluation").digest

    def found_by(right_before):
        promise = {"name": "old", "metric": "accuracy", "margin": 0.1, "confidence": 0.95, "before": 1, "after": 1}
        promise |= {"drop": 0, "bound": 0, "kept": True, "positive_flips": 0, "negative_flips": 0, "n": 48}
        evaluation = {"digest": evaluated(right_before), "remembered": [promise]}
        monkeypatch.setattr(versions, "show", lambda *_: {"lineage": {"evaluation": evaluation}})
        return audit.audit(champion, home)

    worse = found_by(old)
    new = right(champion.start, found, home)
    assert worse.broken == ("old",) and worse.tasks[0].after == pytest.approx(new.mean())
    assert worse.tasks[0].drop == pytest.approx(old.mean() - new.mean()) and "NOT KEPT: old" in audit.told(worse)
    same = found_by(new)
    assert same.broken == () and same.tasks[0].drop == 0 and audit.told(same).startswith("kept; `old`")
    home.store.discard(champion.start.adapter)
    gone = found_by(new)
    assert gone.tasks == () and "missing" in gone.failed and "could not be measured" in audit.told(gone)


def test_an_audit_that_is_due_is_done_and_told(home, monkeypatch):
    from holdfast.decisions import rounds

    champion = SimpleNamespace(name="toy", version="1", promoted_at=NOW, generation=1, data={})
    monkeypatch.setattr(audit, "audit", lambda *_: audit.Audit(failed="the disk is gone"))
    monitor = Monitor(retrain={"audit_every": "1d"}, rollback=False)
    decision = rounds.decide(champion, None, monitor, "2026-01-03T00:00:00+00:00", None, home)
    assert decision.outcome == "audit" and decision.audit.failed and "could not be measured" in decision.reason
    assert book.at(home).past("toy").decisions == [decision]


# Another retrain of the same episode


def test_after_a_refused_retrain_the_rounds_ask_for_another_on_new_windows(home):
    from holdfast.decisions import rounds

    champion = SimpleNamespace(name="toy", version="1", promoted_at=NOW, generation=1, data={})
    monitor = Monitor(retrain={"labelled": 20, "windows": 2, "cooldown": "1m"}, rollback=False)
    written, outcomes = book.at(home), []
    for number in range(8):
        at = f"2026-01-0{number + 1}T00:00:00+00:00"
        found = [{"id": f"{number}-{i}", "text": f"text {number} {i}", "label": "ab"[i % 2]} for i in range(20)]
        watched = SimpleNamespace(
            window=SimpleNamespace(digest=f"w{number}", until=float(number)),
            rows=rows.version(home, found, ref="watched"),
            drifted=("content",),
            findings=(),
            unlabelled=(),
            report=None,
        )
        decision = rounds.decide(champion, watched, monitor, at, None, home)
        outcomes.append(decision.outcome)
        if decision.outcome == "retrain":
            assert written.pending("toy", "1", decision.episode) == decision
            written.end(written.begin(decision, 1, at), {"verdict": "refused"}, at)
            assert written.pending("toy", "1", decision.episode) is None
    assert [i for i, outcome in enumerate(outcomes) if outcome == "retrain"] == [1, 3, 7]
    assert set(outcomes) == {"watch", "retrain", "nothing"}
