"""Which rows a round takes, which of them may be learned, and whose answers count."""

from holdfast import models, rows
from holdfast.decisions.records import Facts
from holdfast.decisions.rule import Past, decide
from holdfast.drift import champion, log, watch
from holdfast.drift.settings import Monitor
from holdfast.records import HeadInfo

MONITOR = Monitor(window={"rows": 20})


def made(*numbers, **more):
    return [{"id": str(i), "text": f"text {i}", "label": None, **more} for i in numbers]


def decided(home, produced, taken, **more):
    """The decision about a window, as the book would hold it."""
    facts = Facts(name="toy", version="1", at="2026-01-01T00:00:00+00:00", window=taken.digest)
    kept = rows.version(home, produced)
    return decide(facts, MONITOR, Past()).model_copy(update={"window_rows": kept.digest, **more})


def test_complete_windows_are_taken_and_none_of_their_rows_again(home):
    produced = made(*range(50))
    first, second = watch.take(produced, MONITOR, [], home, whole=False, now=0)
    assert [row["id"] for row in rows.read(home, second.rows)] == [str(i) for i in range(20, 40)]
    past = [decided(home, produced[:20], first), decided(home, produced[20:40], second)]
    assert watch.take(produced, MONITOR, past, home, whole=False, now=0) == []
    (third,) = watch.take([*made(*range(60)), *produced], MONITOR, past, home, whole=False, now=0)
    assert [row["id"] for row in rows.read(home, third.rows)] == [str(i) for i in range(40, 60)]


def test_data_given_by_hand_is_one_window_once(home):
    produced = made(*range(25))
    (window,) = watch.take(produced, MONITOR, [], home, whole=True, now=0)
    past = [decided(home, produced, window)]
    (again,) = watch.take(produced[::-1], MONITOR, past, home, whole=True, now=0)
    assert not window.decided and again.decided and again.digest == window.digest
    assert watch.take(made(*range(10, 44)), MONITOR, past, home, whole=True, now=0) == []  # 19 new rows are too few
    (more,) = watch.take(made(*range(10, 45)), MONITOR, past, home, whole=True, now=0)
    assert more.rows.rows == 20


def test_what_may_be_learned_is_labelled_and_of_the_last_windows(home, tmp_path):
    windows = [made(*range(i, i + 3), prediction="good") for i in (0, 10, 20)]
    windows[2][0] |= {"label": "bad", "text": " TEXT 11"}
    taken = watch.take(made(*range(20)), MONITOR, [], home, whole=True, now=0)[0]
    past = [decided(home, window, taken) for window in windows[:2]]
    log.append(home, "toy", "1", [{"id": "11", "text": "text 11", "prediction": "good"}])
    late = tmp_path / "late.csv"
    late.write_text("id,label\n11,good\n1,good\n20,bad\n10,bad\n")
    log.label(home, "toy", late)
    found = watch.material(past, windows[2], 2, "toy", home)
    assert {row["id"]: row["label"] for row in found} == {"10": "bad", "20": "bad"}  # 20 has the text of 11, later
    assert {row["id"] for row in watch.material(past, windows[2], 3, "toy", home)} == {"1", "10", "20"}
    assert {row["id"] for row in watch.material(past, windows[2], 1, "toy", home)} == {"20"}
    assert watch.material(past, windows[2], 2, "toy", home, known={"text 11"}) == [
        row for row in found if row["id"] == "10"
    ]


def test_the_champions_own_answers_are_kept_and_another_versions_are_not(home, tiny_start, monkeypatch):
    model = models.load_with_head(tiny_start, home, "mood", ("bad", "good"), seed=1)
    monkeypatch.setattr(models, "load", lambda start, home: model)
    start = tiny_start.model_copy(update={"heads": {"mood": HeadInfo(labels=("bad", "good"))}})
    settings = {"head": "mood", "max_length": 32, "precision": "fp32", "data": {}, "promoted_at": "2026-01-01"}
    known = champion.Champion(name="toy", version="2", start=start, **settings)
    given = made(0, version="1", prediction="other") + made(1, version="2", prediction="said") + made(2)
    seen = champion.look(known, given, home)
    assert seen.rows[1]["prediction"] == "said" and "probabilities" not in seen.rows[1]
    for row in (seen.rows[0], seen.rows[2]):
        assert row["prediction"] == max(row["probabilities"], key=row["probabilities"].get)
        assert abs(sum(row["probabilities"].values()) - 1) < 1e-5
    assert seen.embeddings.shape == (3, 32) and champion.look(known, given, home, embed=False).embeddings is None
