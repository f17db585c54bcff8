"""From results to the document, the table and the picture."""

import pytest

from holdfast.comparison import intervals, picture, summary, table, units
from holdfast.comparison.units import Judged, Looked, Outcome

pytestmark = pytest.mark.pictures


def seen(name, before, after, flips, margin=None):
    fixed = {"loss_before": 1.0, "loss": 0.5, "n": 100, "margin": margin, "flips": flips}
    return {"name": name, "before": before, "after": after, **fixed}


def looked(factor, gain, flips, diverged=False):
    """A look at valid: the target's gain, and (negative, positive) flips of the remembered task's 100 rows."""
    drop = (flips[0] - flips[1]) / 100
    target, old = seen("target", 0.5, 0.5 + gain, (0, 0)), seen("old", 0.9, 0.9 - drop, flips, margin=0.1)
    look = None if diverged else {"target": target, "remembered": [old]}
    return Looked(arm="a", factor=factor, rate=factor * 1e-3, seed=7, seconds=1.0, look=look, tuned=None)


def test_the_rate_that_gains_most_among_those_that_keep_the_contract():
    tried = [looked(0.3, 0.1, (0, 0)), looked(1, 0.2, (2, 1)), looked(3, 0.4, (30, 0))]
    assert units.best(tried).factor == 1
    assert units.best(list(reversed(tried))).factor == 1


def test_where_no_rate_keeps_it_the_one_that_loses_least():
    tried = [looked(0.3, 0.1, (20, 0)), looked(1, 0.2, (15, 0)), looked(3, 0.4, (30, 0))]
    assert units.best(tried).factor == 1


def test_what_diverged_is_chosen_last_and_of_equals_the_smaller_rate():
    assert units.best([looked(3, 0, (0, 0), diverged=True), looked(1, -0.3, (30, 0))]).factor == 1
    assert units.best([looked(3, 0.2, (0, 0)), looked(1, 0.2, (0, 0))]).factor == 1


def judged(arm, seed, target, old, diverged=False):
    start = (1, 0, 0, 0)
    what = {"arm": arm, "factor": 1, "rate": 1e-3, "seed": seed, "steps": 6, "seconds": 2.0, "prepared": 1.0}
    size = {"moved": 10, "total": 100, "share": 0.1, "kl": {"target": 0.1}}
    if diverged:
        return Judged(**what, **size, target=None)
    remembered = Outcome(name="old", metric="accuracy", before=(1, 1, 1, 0), after=old, margin=0.1, kept=sum(old) > 2)
    return Judged(
        **what,
        **size,
        target=Outcome(name="target", metric="accuracy", before=start, after=target),
        remembered=(remembered,),
    )


def test_an_arm_whose_start_model_scored_otherwise_is_noted():
    here, there = judged("sft", 7, (1, 1, 1, 0), (1, 0, 0, 0)), judged("soft", 7, (1, 1, 0, 0), (1, 0, 1, 0))
    other = there.model_copy(update={"target": there.target.model_copy(update={"before": (0, 0, 0, 0)})})
    found = [summary.Found("sft", (), (here,)), summary.Found("soft:a=1", (), (there,))]
    assert summary.document("demo", found, (1,), ())["notes"] == []
    (note,) = summary.document("demo", [found[0], summary.Found("soft:a=1", (), (other,))], (1,), ())["notes"]
    assert note.startswith("before `soft` the start model scored 0.0000, 0.7500 instead of 0.2500, 0.7500")


@pytest.fixture
def document():
    sft = (judged("sft", 7, (1, 1, 1, 0), (1, 0, 0, 0)), judged("sft", 8, (1, 1, 0, 0), (1, 0, 1, 0)))
    soft = (judged("soft", 8, (1, 1, 0, 0), (1, 1, 1, 0)), judged("soft", 7, (1, 0, 1, 0), (1, 1, 1, 0)))
    wild = (judged("wild", 7, (), (), diverged=True),)
    arms = [summary.Found("sft", (looked(1, 0.2, (0, 0)),), sft), summary.Found("soft", (), soft)]
    return summary.document("demo", [*arms, summary.Found("wild", (), wild)], (0.3, 1, 3), ["a note"])


def test_differences_are_paired_over_seeds_and_items(document):
    start, sft, soft, wild = document["arms"]
    assert start["name"] == "start" and start["target"]["after"] == 0.25 and start["remembered"][0]["after"] == 0.75
    wanted = intervals.crossed([[0, 1, 1, 0], [0, 1, 0, 0]]).document()
    assert sft["target"]["gain"] == wanted and sft["target"]["after"] == 0.625 and sft["target"]["against"] is None
    against = intervals.crossed([[0, -1, 0, 0], [0, 0, 0, 0]]).document()
    assert soft["target"]["against"] == against and against["mean"] == -0.125
    assert sft["remembered"][0]["drop"] == intervals.crossed([[0, 1, 1, 0], [0, 1, 0, 0]]).document()
    against = intervals.crossed([[0, 1, 1, 0], [0, 1, 0, 0]]).document()
    assert soft["remembered"][0]["against"] == against and sft["remembered"][0]["against"] is None
    assert (sft["remembered"][0]["kept"], soft["remembered"][0]["kept"]) == ([0, 2], [2, 2])
    assert wild["target"] is None and wild["diverged"] == [7] and not wild["frontier"]


def test_the_frontier_is_what_nothing_beats(document):
    assert [arm["name"] for arm in document["arms"] if arm["frontier"]] == ["sft", "soft"]
    points = {"a": (0.0, 0.0), "b": (0.1, 0.3), "c": (0.2, 0.3), "d": (0.05, -0.1), "e": (0.1, 0.3)}
    assert summary.frontier(points) == {"a", "b", "e"}


def test_the_table_says_it_in_points(document):
    lines = table.markdown(document).splitlines()
    assert lines[0] == "| arm | rate | target after | gain | against sft | old lost | kept | moved | seconds |"
    assert lines[2] == "| start | - | 25.0 | 0 | - | 0 | - | 0% | - |"
    assert lines[3].startswith("| sft * | 1x | 62.5 | +37.5 (") and lines[3].endswith("| 0/2 | 10% | 2 |")
    assert lines[5].startswith("| wild | - | failed | - |")
    assert {line.count("|") for line in lines[:6]} == {10}
    assert "`wild` diverged at seed 7." in lines and "A note." in lines


def test_settings_that_tell_no_arms_apart_are_named_below_the_table(document):
    names = {"sft": "sft", "soft": "soft:a.b=1", "wild": "wild:a.b=1"}
    for arm in document["arms"][1:]:
        arm["name"] = names[arm["name"]]
    page = table.markdown(document)
    assert "| soft * |" in page and "`soft`, `wild` with `a.b=1`." in page and "`wild` diverged" in page
    document["arms"][1]["name"] = "soft"
    page = table.markdown(document)
    assert "| soft * |" in page and "| soft:a.b=1 * |" in page and "`wild` with `a.b=1`." in page


def test_what_is_lost_in_nats_has_no_bounds_and_is_said_in_hundredths():
    def told(name, seed, lost):
        before = (-2.0, -2.5, -3.0, -2.2)
        after = tuple(value - lost - 0.01 * place for place, value in enumerate(before))
        stories = Outcome(name="stories", metric=units.NATS, before=before, after=after, margin=0.05, kept=False)
        return judged(name, seed, (1, 1, 1, 0), (1, 1, 1, 0)).model_copy(update={"remembered": (stories,)})

    arms = [summary.Found("sft", (), (told("sft", 7, 1.5), told("sft", 8, 1.48)))]
    arms += [summary.Found("soft", (), (told("soft", 7, 0.1), told("soft", 8, 0.11)))]
    document = summary.document("demo", arms, (1,), [])
    drop, against = (document["arms"][place]["remembered"][0][what] for place, what in ((1, "drop"), (2, "against")))
    assert drop["mean"] == pytest.approx(1.505) and 1.2 < drop["low"] < 1.505 < drop["high"] < 1.8
    assert against["mean"] == pytest.approx(1.385) and 1.3 < against["mean"] < against["high"]
    page = table.markdown(document)
    assert "| +150.5 (" in page and "Of stories a point is a hundredth of a nat per token." in page


def test_arms_that_came_to_the_same_tuning_are_named():
    def found(name, *adapters):
        made = [judged(name, seed, (1, 1, 0, 0), (1, 1, 1, 0)) for seed in (7, 8)]
        made = [one.model_copy(update={"adapter": adapter}) for one, adapter in zip(made, adapters, strict=True)]
        return summary.Found(name, (), tuple(made))

    same = [found("sft", "a", "b"), found("full", "a", "b"), found("file", "a", "b")]
    others = [found("sdft", "a", "c"), found("s3ft", "c", "a"), found("old", None, None), found("older", None, None)]
    failed = [summary.Found(name, (), (judged(name, 7, (), (), diverged=True),)) for name in ("wild", "wilder")]
    document = summary.document("demo", [*same, *others, *failed], (1,), ["first"])
    said = "`sft`, `full` and `file` made the same adapters at every seed: they are one tuning"
    assert document["notes"] == ["first", said] and f"\n{said}.\n" in table.markdown(document)


def test_equal_documents_give_equal_pictures(document, tmp_path):
    for name in ("one.png", "other.png"):
        picture.draw(document, tmp_path / name)
    data = (tmp_path / "one.png").read_bytes()
    assert data.startswith(b"\x89PNG") and data == (tmp_path / "other.png").read_bytes()
