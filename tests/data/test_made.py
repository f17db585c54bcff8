"""The bundled data: the same bytes every time, no text twice, and a feed that drifts when its docstring says so."""

import csv
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
MADE = ROOT / "data" / "made"
LANGUAGES, SPLITS = ("english", "lirian"), {"train": 600, "valid": 400, "test": 500}
FALSE_FRIENDS = {
    "positive": {"grim", "dire", "foul", "rotten", "late", "rude", "useless", "broken"},
    "negative": {"super", "fine", "neat", "kind", "swell", "handy", "fresh", "proud"},
}


def rows(name: str, folder: Path = MADE) -> list[dict[str, str]]:
    with (folder / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def script(name: str, *arguments: object) -> subprocess.CompletedProcess:
    command = [sys.executable, str(ROOT / "data" / name), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def again(tmp_path_factory) -> Path:
    """The data made once more, elsewhere, and prepared."""
    folder = tmp_path_factory.mktemp("made")
    assert script("make.py", "--out", folder).returncode == 0
    assert script("make_exercises.py", "--out", folder / "exercises").returncode == 0
    assert script("prepare.py", "--folder", folder).returncode == 0
    return folder


def test_making_again_gives_the_same_bytes(again):
    there = {path.relative_to(MADE): path.read_bytes() for path in MADE.rglob("*") if path.is_file()}
    assert there == {path.relative_to(again): path.read_bytes() for path in again.rglob("*") if path.is_file()}
    assert len(there) == 27
    assert sum(map(len, there.values())) < 1_000_000


def test_no_text_occurs_twice_however_it_is_cased_and_punctuated():
    texts = [row["text"] for path in MADE.rglob("*.csv") for row in rows(str(path.relative_to(MADE)))]
    plain = ["".join(c for c in text.casefold() if c.isalpha()) for text in texts]
    assert len(plain) > 3000
    assert [text for text, times in Counter(plain).items() if times > 1] == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_sizes_and_labels(language):
    for split, size in SPLITS.items():
        found = rows(f"{language}/{split}.csv")
        assert len(found) == size
        assert len({row["id"] for row in found}) == size
        labels = Counter(row["label"] for row in found)
        assert set(labels) == {"positive", "neutral", "negative"}
        assert max(labels.values()) - min(labels.values()) <= 1


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_fair_part_of_the_test_words_is_new(language):
    known = {word for row in rows(f"{language}/train.csv") for word in row["text"].lower().split()}
    new = [not set(row["text"].lower().split()) <= known for row in rows(f"{language}/test.csv")]
    assert sum(new) / len(new) > 0.3


def test_half_of_the_second_language_s_opinions_are_false_friends():
    opinions = yaml.safe_load((ROOT / "data" / "words.yaml").read_text(encoding="utf-8"))["opinions"]
    text = " ".join(row["text"].lower() for row in rows("lirian/train.csv"))
    for label, english_of_the_other in FALSE_FRIENDS.items():
        spelt = set(opinions[label].values())
        assert len(spelt) == 16
        assert spelt & set().union(*FALSE_FRIENDS.values()) == english_of_the_other
        assert not spelt & set(opinions[label])
        assert all(word in text for word in spelt)


def test_the_feed_drifts_after_its_thirtieth_day():
    feed = rows("stream.csv")
    days = sorted({row["timestamp"][:10] for row in feed})
    assert len(days) == 60
    assert [row["timestamp"] for row in feed] == sorted(row["timestamp"] for row in feed)
    early = [row for row in feed if row["timestamp"][:10] <= days[29]]
    late = [row for row in feed if row["timestamp"][:10] >= days[45]]
    assert {row["language"] for row in early} == {"english"}
    assert "app" not in {row["source"] for row in early}
    assert 0.5 < sum(row["language"] == "lirian" for row in late) / len(late) < 0.7
    assert Counter(row["label"] for row in late)["negative"] > Counter(row["label"] for row in late)["positive"]
    assert Counter(row["label"] for row in early)["negative"] < Counter(row["label"] for row in early)["positive"]


def damage(folder: Path, name: str, line: int, change: dict[str, str]) -> None:
    found = rows(name, folder)
    found[line - 2].update(change)
    with (folder / name).open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(found[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(found)


def test_preparing_stops_at_a_leak_with_file_and_line(tmp_path):
    script("make.py", "--out", tmp_path)
    leak = rows("lirian/train.csv", tmp_path)[6]["text"].upper() + "!"
    damage(tmp_path, "lirian/test.csv", 5, {"text": leak})
    result = script("prepare.py", "--folder", tmp_path)
    assert result.returncode != 0
    assert "lirian/train.csv, line 8" in result.stderr
    assert "lirian/test.csv, line 5" in result.stderr
    assert not (tmp_path / "statistics.json").exists()


def test_preparing_stops_at_an_unknown_label(tmp_path):
    script("make.py", "--out", tmp_path)
    damage(tmp_path, "english/valid.csv", 9, {"label": "postive"})
    result = script("prepare.py", "--folder", tmp_path)
    assert result.returncode != 0
    assert "english/valid.csv, line 9: unknown label 'postive'" in result.stderr


def test_dvc_knows_the_files_that_git_keeps():
    """The lock's md5 sums are those of the files in the tree, so `dvc repro` has nothing to do in a fresh clone."""
    import hashlib

    stages = yaml.safe_load((ROOT / "dvc.lock").read_text())["stages"]
    files = {entry["path"]: entry for stage in stages.values() for part in ("deps", "outs") for entry in stage[part]}
    for path, entry in files.items():
        if (ROOT / path).is_dir():
            listed = [
                {"md5": hashlib.md5(file.read_bytes()).hexdigest(), "relpath": file.name}
                for file in sorted((ROOT / path).iterdir())
            ]
            assert entry["md5"] == hashlib.md5(json.dumps(listed).encode()).hexdigest() + ".dir", path
        else:
            assert entry["md5"] == hashlib.md5((ROOT / path).read_bytes()).hexdigest(), path
