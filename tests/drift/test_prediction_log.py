"""The prediction log: by day, counted once, labels joined later by id; production data from files and folders."""

import shutil

import pytest

from holdfast import spec, tables
from holdfast.drift import log, production
from holdfast.errors import BadInput


def predicted(*names, **more):
    chances = {"probability_good": 0.75, "probability_bad": 0.25}
    return [{"id": name, "text": f"text {name}", "prediction": "good", **chances, **more} for name in names]


def test_answers_are_logged_by_day_with_their_version_and_probabilities(home):
    rows = predicted("a", time="2026-01-01T23:30:00-02:00") + predicted("b", time="2026-01-01T05:00:00Z", source="app")
    files = log.append(home, "toy", "3", rows)
    assert [file.parent.name for file in files] == ["day=2026-01-01", "day=2026-01-02"]  # days in UTC
    first, second = log.read(home, "toy")
    assert (first["id"], second["id"]) == ("b", "a") and first["source"] == "app"
    assert first["probabilities"] == {"good": 0.75, "bad": 0.25} and first["version"] == "3"
    assert second["time"] == "2026-01-02T01:30:00+00:00" and second["label"] is None
    assert "probability_good" not in first


def test_what_is_predicted_twice_is_counted_once(home):
    bare = [{"text": "same", "prediction": "good", "probability_good": 1.0}] * 2
    log.append(home, "toy", "1", bare, now="2026-01-01T00:00:00+00:00")
    log.append(home, "toy", "1", bare, now="2026-01-02T00:00:00+00:00")
    assert len(log.read(home, "toy")) == 2  # two rows, not four
    assert log.read(home, "other") == []


def test_another_column_of_texts_is_logged_as_text(home):
    log.append(home, "toy", "1", [{"review": "nice", "prediction": "good", "probability_good": 1.0}], text="review")
    assert log.read(home, "toy")[0]["text"] == "nice"


def labels(path, *rows):
    tables.write(path, [{"id": name, "label": value} for name, value in rows])
    return path


def test_labels_join_by_id_whenever_they_come_and_the_last_one_counts(home, tmp_path):
    log.append(home, "toy", "1", predicted("a", "b", "c"))
    first = log.label(home, "toy", labels(tmp_path / "one.csv", ("a", "good"), ("x", "bad")))
    assert (first.rows, first.known, first.unknown, first.first_unknown) == (2, 1, 1, "x")
    again = log.label(home, "toy", labels(tmp_path / "two.csv", ("x", "bad"), ("a", "good")))
    assert again.repeated and len(log.late_labels(home, "toy")) == 2
    corrected = log.label(home, "toy", labels(tmp_path / "three.jsonl", ("a", "bad"), ("b", "good")))
    assert corrected.corrected == 1
    assert {row["id"]: row["label"] for row in log.read(home, "toy")} == {"a": "bad", "b": "good", "c": None}


def test_bad_labels_are_named(home, tmp_path):
    with pytest.raises(BadInput, match="there is no prediction log of `toy`"):
        log.label(home, "toy", labels(tmp_path / "one.csv", ("a", "good")))
    log.append(home, "toy", "1", predicted("a"))
    with pytest.raises(BadInput, match=r"two\.csv, row 2: the id 'a' has two labels, good and bad"):
        log.label(home, "toy", labels(tmp_path / "two.csv", ("a", "good"), ("a", "bad")))
    with pytest.raises(BadInput, match="key `lable`: no such column; expected `label`"):
        log.label(home, "toy", tmp_path / "two.csv", label_="lable")


@pytest.fixture
def pipeline(tmp_path):
    learn = {"train": "train.csv", "text": "review", "label": "stars"}
    raw = {"name": "toy", "start": {"model": "base"}, "learn": learn, "monitor": {"source": "incoming"}}
    return spec.parse(raw, tmp_path / "toy.yaml")


def test_a_folder_is_read_in_order_and_a_copy_of_a_file_is_counted_once(home, tmp_path, pipeline):
    folder = tmp_path / "incoming"
    folder.mkdir()
    tables.write(folder / "b.csv", [{"review": "second", "stars": ""}, {"review": "second", "stars": ""}])
    tables.write(folder / "a.jsonl", [{"review": "first", "stars": 5, "source": "app"}])
    shutil.copy(folder / "b.csv", folder / "c.csv")
    (folder / ".hidden.csv").write_text("not a table")
    (folder / "notes.txt").write_text("not a table either")
    rows = production.read(pipeline, home)
    assert [(row["text"], row["label"]) for row in rows] == [("first", "5"), ("second", None), ("second", None)]
    assert rows[0]["source"] == "app" and "review" not in rows[0]
    assert len(production.read(pipeline, home, folder / "a.jsonl")) == 1


def test_what_predict_wrote_is_read_with_its_probabilities(home, tmp_path, pipeline):
    answers = {"review": "nice", "prediction": "good", "probability_good": 0.75, "probability_bad": 0.25}
    tables.write(tmp_path / "answers.csv", [answers])
    (row,) = production.read(pipeline, home, tmp_path / "answers.csv")
    assert row["probabilities"] == {"good": 0.75, "bad": 0.25} and row["prediction"] == "good"
    tables.write(tmp_path / "odd.csv", [answers, {**answers, "probability_bad": "low"}])
    with pytest.raises(BadInput, match=r"odd\.csv, row 2, key `probability_bad`: 'low' is no probability"):
        production.read(pipeline, home, tmp_path / "odd.csv")


def test_without_a_source_the_log_is_read_and_late_labels_reach_files_too(home, tmp_path, pipeline):
    log.append(home, "toy", "1", predicted("a"))
    log.label(home, "toy", labels(tmp_path / "late.csv", ("a", "bad"), ("f", "good")))
    bare = pipeline.model_copy(update={"monitor": pipeline.monitor.model_copy(update={"source": None})})
    assert [(row["id"], row["label"]) for row in production.read(bare, home)] == [("a", "bad")]
    tables.write(tmp_path / "f.csv", [{"id": "f", "review": "x"}])
    assert production.read(pipeline, home, tmp_path / "f.csv")[0]["label"] == "good"
    tables.write(tmp_path / "empty.csv", [{"id": "f", "review": "x"}, {"id": "g", "review": " "}])
    with pytest.raises(BadInput, match=r"empty\.csv, row 2, key `review`: the text is empty"):
        production.read(pipeline, home, tmp_path / "empty.csv")
