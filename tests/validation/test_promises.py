"""Heads, labels, competence and margins: what cannot be measured is refused before anything is tuned."""

import json

import pytest
from scipy.stats import binomtest

from holdfast.errors import BadInput
from holdfast.records import HeadInfo, Start
from holdfast.spec import Remember
from holdfast.validation import competence


def task(**changes) -> Remember:
    return Remember(**{"name": "old", "valid": "v", "test": "t", "head": "old", "margin": 0.1, **changes})


def table(texts, labels):
    return [{"id": str(i), "text": t, "label": a} for i, (t, a) in enumerate(zip(texts, labels, strict=True))]


@pytest.fixture
def answers(able, predict, questions):
    """The questions as rows, labelled with what the start model answers: 40 of one label, then 40 of the other."""
    return sorted(table(questions, predict(able, questions)), key=lambda row: row["label"])


@pytest.fixture
def known(good, answers):
    """Good data, and a remembered task whose gold labels are what the start model answers."""
    return {**good, "remember.old.valid": answers[20:60], "remember.old.test": answers[:20] + answers[60:]}


def test_a_task_that_the_start_model_can_do_passes(validate, known, able, home):
    found = validate(known, [task()], start=able)
    (measured,) = found.competences
    assert (measured.name, measured.accuracy, measured.n) == ("old", 1.0, 40)
    share = sum(row["label"] == "positive" for row in known["remember.old.valid"]) / 40
    assert measured.chance == pytest.approx(max(share, 1 - share)) == pytest.approx(0.5, abs=0.05)
    assert measured.lower == pytest.approx(40 / (40 + 1.6448536**2))
    results = json.loads((home.store.open(found.artifact) / "results.json").read_text())
    assert results["competences"] == [measured.model_dump()]


def test_a_task_at_chance_is_refused(validate, known, able):
    for number, row in enumerate(known["remember.old.valid"]):
        row["label"] = ("negative", "positive")[number % 2]
    with pytest.raises(BadInput, match=r"remember\.old.*cannot do `old`: on 40 valid rows its accuracy is 0\.\d+ "):
        validate(known, [task()], start=able)


def test_always_the_same_answer_is_chance_however_often_it_is_right(validate, known, able, answers):
    positive = [row for row in answers if row["label"] == "positive"]
    assert len(positive) > 30
    odd = {**positive[0], "text": f"{positive[0]['text']} food", "label": "negative"}
    known["remember.old.valid"] = [*positive, odd]
    known["remember.old.test"] = [{**row, "text": f"a {row['text']}"} for row in answers]
    with pytest.raises(BadInput, match=r"chance is 0\.9"):
        validate(known, [task()], start=able)


def test_only_valid_is_looked_at(validate, known, able):
    for row in known["remember.old.test"]:
        row["label"] = "negative" if row["label"] == "positive" else "positive"
    assert validate(known, [task()], start=able).competences[0].accuracy == 1.0


def test_a_head_that_the_start_model_lacks_is_refused(validate, known, able, tiny_start):
    with pytest.raises(BadInput, match=r"no head named `ancient`.*`old` cannot be measured.*expected one of old"):
        validate(known, [task(head="ancient")], start=able)
    with pytest.raises(BadInput, match=r"no head named `label`.*expected a start model with heads"):
        validate(known, [task(head=None)], start=tiny_start)


def test_the_head_of_a_remembered_task_is_the_learned_one_by_default(validate, known, able):
    found = validate(known, [task(head=None)], start=able, head="old")
    assert found.competences[0].accuracy == 1.0


def test_a_margin_that_the_test_set_cannot_establish_is_refused(validate, known, able):
    with pytest.raises(BadInput, match=r"`old` has 40 good test rows: too few .*at least 52 test rows"):
        validate(known, [task(margin=0.05)], start=able)


def test_rows_set_aside_no_longer_count_for_the_margin(validate, known, able):
    assert validate(known, [task(margin=0.064)], start=able).quarantined == 0
    known["remember.old.test"][0]["text"] = " "
    with pytest.raises(BadInput, match="has 39 good test rows"):
        validate(known, [task(margin=0.064)], start=able)


def test_remembered_rows_set_aside_are_seen(validate, known, able, home):
    known["remember.old.test"][0]["label"] = "unheard-of"
    known["learn.train"].append(dict(known["remember.old.test"][1]))
    found = validate(known, [task()], start=able)
    lines = (home.store.open(found.artifact) / "quarantine.jsonl").read_text().splitlines()
    assert [(row["dataset"], row["row"]) for row in map(json.loads, lines)] == [
        ("learn.train", 81), ("remember.old.test", 1),
    ]  # fmt: skip
    assert "stands in remember.old.test, row 2" in lines[0] and "expected one of `negative`, `positive`" in lines[1]
    assert found.datasets["remember.old.test"].rows == 39


def test_labels_keep_the_order_of_the_head_that_is_reused(validate, good, able):
    backwards = able.model_copy(update={"heads": {"old": HeadInfo(labels=("positive", "negative"))}})
    assert validate(good, start=backwards, head="old").labels == ("positive", "negative")
    assert validate(good, start=backwards, head="new").labels == ("negative", "positive")


def test_labels_other_than_the_head_s_are_refused(validate, good, able):
    good["learn.train"][4]["label"] = "great"
    with pytest.raises(BadInput, match=r"row 5, key `learn.head`: .*head `old`: only the data has great;"):
        validate(good, start=able, head="old")
    wider = Start(model="m", base=able.base, heads={"old": HeadInfo(labels=("negative", "neutral", "positive"))})
    del good["learn.train"][4]
    with pytest.raises(BadInput, match="only the head has neutral"):
        validate(good, start=wider, head="old")


@pytest.mark.parametrize(("correct", "n"), [(0, 7), (3, 10), (50, 100), (99, 100), (1000, 1000)])
def test_the_lower_bound_is_wilson_s(correct, n):
    wanted = binomtest(correct, n).proportion_ci(confidence_level=0.9, method="wilson").low
    assert competence.lower_bound(correct, n) == pytest.approx(wanted, abs=1e-12)
