"""Every kind of bad data is seen, with its reason; good data passes untouched."""

import json
from pathlib import Path
from typing import Any

import pytest

from holdfast import rows
from holdfast.errors import BadInput
from holdfast.validation import expectations


def quarantine(home: Any, found: Any) -> list[dict[str, Any]]:
    lines = (home.store.open(found.artifact) / "quarantine.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def row(text: Any, label: Any = "positive", name: str = "x") -> dict[str, Any]:
    return {"id": name, "text": text, "label": label}


def broken(found: Any) -> set[tuple[str, str]]:
    return {(e.dataset, e.expectation) for e in found.expectations if not e.success}


def test_good_data_passes_as_it_is(validate, good, home):
    found = validate(good)
    assert not broken(found) and found.quarantined == 0 and found.labels == ("negative", "positive")
    assert {key: version.rows for key, version in found.datasets.items()} == {k: len(r) for k, r in good.items()}
    assert [rows.read(home, found.datasets[key]) for key in good] == list(good.values())
    assert quarantine(home, found) == []
    names = {e.expectation for e in found.expectations}
    assert names == {rule.name for rule in (*expectations.SCHEMA, *expectations.ALWAYS, *expectations.NAMED.values())}


def test_empty_text_is_set_aside(validate, good, home):
    empty = ["", "  \t\n", "\u200b\ufeff ", "\u3000"]
    good["learn.train"][3:3] = [row(text) for text in empty]
    found = validate(good, expect=("no-empty-text",))
    bad = quarantine(home, found)
    assert [(one["dataset"], one["row"], one["text"]) for one in bad] == [
        ("learn.train", number, text) for number, text in enumerate(empty, 4)
    ]
    assert {reason for one in bad for reason in one["reasons"]} == {"no-empty-text: the text is empty"}
    assert found.datasets["learn.train"].rows == 80 and found.quarantined == 4


def test_short_text_in_any_script_is_not_empty(validate, good):
    good["learn.train"] += [row(text) for text in ("😀", "न", "!", "0")]
    assert validate(good).quarantined == 0


def test_of_duplicates_the_first_stays(validate, good, home):
    again = ["the movie was good", "The  MOVIE\twas good ", "ｔｈｅ movie was good", "\ufeffthe movie was good"]
    good["learn.train"] += [row(text) for text in again]
    found = validate(good)
    bad = quarantine(home, found)
    assert [(one["row"], one["text"]) for one in bad] == list(enumerate(again, 81))
    assert all(one["reasons"] == ["no-duplicates: the same text and label as row 1"] for one in bad)
    assert rows.read(home, found.datasets["learn.train"]) == good["learn.train"][:80]


def test_a_text_with_two_labels_is_set_aside_altogether(validate, good, home):
    good["learn.train"].append(row("the movie was good", "negative"))
    found = validate(good)
    bad = quarantine(home, found)
    assert [one["row"] for one in bad] == [1, 81]
    assert "labelled `positive` here and `negative` in row 81" in bad[0]["reasons"][0]
    assert "labelled `negative` here and `positive` in row 1" in bad[1]["reasons"][0]


def test_a_leak_is_taken_out_of_train_not_out_of_test(validate, good, home):
    good["learn.train"].append(row("THE and was good"))
    good["learn.valid"].append(row("the was was bad", "negative"))
    found = validate(good, reject_at_most=0.1)
    bad = quarantine(home, found)
    assert [(one["dataset"], one["row"]) for one in bad] == [("learn.train", 81), ("learn.valid", 17)]
    assert "stands in learn.test, row 1" in bad[0]["reasons"][0]
    assert "stands in learn.test, row 10" in bad[1]["reasons"][0]
    assert found.datasets["learn.test"].digest == rows.version(home, good["learn.test"]).digest


def test_a_label_unknown_to_train_is_set_aside_even_if_not_asked_for(validate, good, home):
    good["learn.test"].append(row("the nasty movie", "postive"))
    found = validate(good, expect=("no-duplicates",), reject_at_most=0.1)
    (bad,) = quarantine(home, found)
    assert bad["dataset"] == "learn.test" and bad["reasons"] == [
        "known-labels: the label `postive` is not known here: expected `positive` or `negative`"
    ]


def test_labels_known_only_from_bad_rows_are_not_known(validate, good, home):
    good["learn.train"].append(row(" ", "odd"))
    good["learn.valid"].append(row("the nasty movie", "odd"))
    found = validate(good, reject_at_most=0.1)
    assert found.labels == ("negative", "positive")
    assert [one["dataset"] for one in quarantine(home, found)] == ["learn.train", "learn.valid"]


def test_endless_text_is_set_aside_and_long_text_only_noted(validate, good, home):
    good["learn.train"] += [row("good " * 20_000, name="endless"), row("very " * 30 + "good", name="long")]
    found = validate(good)
    (bad,) = quarantine(home, found)
    assert bad["id"] == "endless" and "100000 characters, more than 50000" in bad["reasons"][0]
    (long,) = [e for e in found.expectations if e.expectation == "fits-the-model" and e.dataset == "learn.train"]
    assert long.severity == "warn" and long.unexpected == 2 and not long.success


def test_length_outliers_and_rare_labels_are_only_noted(validate, good):
    good["learn.train"] += [row("very " * 200), row("a nasty one", "mixed")]
    found = validate(good)
    assert found.quarantined == 0 and "mixed" in found.labels
    assert broken(found) >= {
        ("learn.train", "no-length-outliers"),
        ("learn.train", "balanced-labels"),
        ("learn.valid", "balanced-labels"),  # which has no row of that label
    }


def test_only_the_expectations_asked_for_set_rows_aside(validate, good):
    good["learn.train"].append(row("the movie was good"))
    assert validate(good, expect=("no-empty-text",)).quarantined == 0
    assert validate(good, expect=("no-duplicates",)).quarantined == 1


def test_a_missing_text_is_set_aside(validate, good, home):
    good["learn.train"].append(row(None))
    assert quarantine(home, validate(good))[0]["reasons"] == ["no-missing-values: the text is missing"]


def test_too_many_bad_rows_stop_the_run_and_are_kept(validate, good, home):
    good["learn.train"] += [row("the movie was good")] * 9 + [row("")]
    with pytest.raises(BadInput) as caught:
        validate(good)
    message = str(caught.value)
    assert message.startswith("learn.train.csv, row 81: 10 of 90 rows are bad, 11.1% where `learn.reject_at_most`")
    assert "the first is row 81 of learn.train: no-duplicates: the same text and label as row 1" in message
    kept = Path(message.partition("reasons are in ")[2].partition(": correct")[0])
    assert kept.is_relative_to(home.reports / "quarantine")
    assert [json.loads(line)["row"] for line in kept.read_text().splitlines()] == list(range(81, 91))
    assert (kept.parent / "docs" / "index.html").is_file() and (kept.parent / "results.json").is_file()
    assert validate(good, reject_at_most=0.12).quarantined == 10


def test_stopping_twice_keeps_one_copy(validate, good, home):
    good["learn.train"] += [row("")] * 10
    for _ in range(2):
        with pytest.raises(BadInput):
            validate(good)
    assert len(list((home.reports / "quarantine").iterdir())) == 1
    assert not list((home.store.root / "scratch").iterdir())


def test_of_parts_split_off_one_file_the_id_is_named(validate, good):
    good["learn.valid"] += [row("", name="4711")] * 3
    with pytest.raises(BadInput, match=r"^learn.valid.csv: 3 of 19 .* row 17 of learn.valid \(id 4711\)"):
        validate(good, valid=None, test=None)


def test_a_bad_test_set_stops_the_run_too(validate, good):
    good["learn.test"] += [row("", "negative")] * 2
    with pytest.raises(BadInput, match=r"learn.test.csv, row 17: 2 of 18 rows are bad"):
        validate(good)


def test_a_missing_column_stops_the_run(validate, good, home):
    for one in good["learn.valid"]:
        del one["label"]
    with pytest.raises(BadInput, match=r"learn.valid.csv, key `label`: learn.valid has no column `label`"):
        validate(good)


def test_a_wrong_type_stops_the_run(validate, good):
    good["learn.train"][6]["text"] = 5
    with pytest.raises(BadInput, match=r"learn.train.csv, row 7, key `text`: the text is not a string in 1 of 80 rows"):
        validate(good)


def test_an_empty_dataset_stops_the_run(validate, good):
    good["learn.test"] = []
    with pytest.raises(BadInput, match=r"learn.test holds no rows"):
        validate(good)


def test_one_label_only_stops_the_run(validate, good):
    good["learn.train"] = [one for one in good["learn.train"] if one["label"] == "positive"]
    with pytest.raises(BadInput, match=r"every row of learn.train has the same label"):
        validate(good)


def test_one_good_label_only_stops_the_run(validate, good):
    good["learn.train"] = [one for one in good["learn.train"] if one["label"] == "positive"] + [row(" ", "negative")]
    with pytest.raises(BadInput, match=r"the good rows of learn.train have one label only, `positive`"):
        validate(good)


def test_nothing_left_stops_the_run(validate, good):
    good["learn.valid"] = [row("", "negative")]
    with pytest.raises(BadInput, match=r"learn.valid has no good row left"):
        validate(good, reject_at_most=1.0)


def test_an_unknown_expectation_names_the_nearest():
    with pytest.raises(BadInput, match=r"learn.expect.*no expectation named `no-duplicate`.*`no-duplicates`"):
        expectations.chosen(["no-empty-text", "no-duplicate"])


def test_texts_without_labels_are_set_aside_where_empty_repeated_or_in_a_test_set(validate, good, home):
    leak = good["learn.test"][2]["text"].upper()
    texts = [{"id": str(i), "text": text} for i, text in enumerate(["new words", " ", "New  words", leak, "others"])]
    with pytest.raises(BadInput, match="3 of 5 rows are bad"):
        validate({**good, "learn.unlabelled": texts})
    found = validate({**good, "learn.unlabelled": texts}, reject_at_most=0.7)
    kept = found.datasets["learn.unlabelled"]
    assert [row["text"] for row in rows.read(home, kept)] == ["new words", "others"]
    assert found.quarantined == 3
    told = {e.expectation: e.example for e in found.expectations if e.dataset == "learn.unlabelled" and not e.success}
    assert told == {
        "no-empty-text": "row 2: the text is empty",
        "no-duplicates": "row 3: the same text is in row 1",
        "no-leak-into-test": "row 4: the same text is in learn.test, row 3",
    }
