"""The prepare stage: versions that change exactly when a row does, provenance, splits, and what is refused."""

import hashlib
import json
import subprocess
from pathlib import Path

import pytest

from holdfast import digests, rows, tables
from holdfast.errors import BadInput, Corrupt
from holdfast.spec import Learn, Remember
from holdfast.versioning import prepare as stage
from holdfast.versioning import registry
from holdfast.versioning.prepare import prepare

PARTS = ("train", "valid", "test")


@pytest.fixture
def files(tmp_path, toy_rows):
    """Three files of the toy rows: train, valid and test, as CSV."""
    folder = tmp_path / "data"
    folder.mkdir()
    for name, part in zip(PARTS, (toy_rows[::2], toy_rows[1::4], toy_rows[3::4]), strict=True):
        tables.write(folder / f"{name}.csv", part)
    return {name: str(folder / f"{name}.csv") for name in PARTS}


def tree(folder: Path, leave_out: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file() and leave_out not in path.parents]
    return {str(path): digests.of_file(path) for path in files}


def test_every_role_gets_a_version_of_its_rows(files, home, toy_rows):
    task = Remember(name="old", valid=files["valid"], test=files["test"])
    whole = Remember(name="whole", **files)
    found = prepare(Learn(**files), [task, whole], 7, home)
    assert list(found) == [
        "learn.train", "learn.valid", "learn.test", "remember.old.valid", "remember.old.test",
        "remember.whole.train", "remember.whole.valid", "remember.whole.test",
    ]  # fmt: skip
    version = found["learn.train"]
    assert rows.read(home, version) == toy_rows[::2]
    assert (version.rows, version.labels) == (24, {"negative": 12, "positive": 12})
    assert (version.ref, version.source) == (files["train"], files["train"])
    assert version.dvc_md5 == hashlib.md5(Path(files["train"]).read_bytes()).hexdigest()
    assert version.git_revision is None
    assert found["remember.old.test"] == found["remember.whole.test"] == found["learn.test"]
    lines = "".join(json.dumps(row, sort_keys=True, separators=(",", ":")) + "\n" for row in toy_rows[::2])
    assert version.digest == hashlib.sha256(lines.encode()).hexdigest()


def test_texts_without_labels_are_read_as_texts_alone_and_never_split(files, home, tmp_path):
    tables.write(tmp_path / "texts.csv", [{"text": f"words {n}", "label": "left out", "id": f"t{n}"} for n in range(9)])
    found = prepare(Learn(train=files["train"], unlabelled=str(tmp_path / "texts.csv")), [], 7, home)
    assert list(found) == ["learn.train", "learn.valid", "learn.test", "learn.unlabelled"]
    assert rows.read(home, found["learn.unlabelled"]) == [{"id": f"t{n}", "text": f"words {n}"} for n in range(9)]
    assert found["learn.unlabelled"].labels == {}
    tables.write(tmp_path / "texts.csv", [{"words": "no such column"}])
    with pytest.raises(BadInput, match="`text`"):
        prepare(Learn(train=files["train"], unlabelled=str(tmp_path / "texts.csv")), [], 7, home)


def test_the_digest_changes_if_and_only_if_a_row_does(files, home):
    learn = Learn(**files)
    first = prepare(learn, [], 7, home)
    assert prepare(learn, [], 7, home) == first
    train = Path(files["train"])
    before = tables.read(train)
    train.write_bytes(b"\xef\xbb\xbf" + train.read_bytes().replace(b"\n", b"\r\n"))  # other bytes, the same rows
    second = prepare(learn, [], 7, home)
    assert second["learn.train"].digest == first["learn.train"].digest
    assert second["learn.train"].dvc_md5 != first["learn.train"].dvc_md5
    for column in ("text", "label", "id"):
        changed = [dict(row) for row in before]
        changed[5][column] += "x"
        tables.write(train, changed)
        third = prepare(learn, [], 7, home)
        assert third["learn.train"].digest != first["learn.train"].digest
        assert third["learn.valid"] == first["learn.valid"]


@pytest.mark.parametrize("suffix", tables.SUFFIXES)
def test_every_format_gives_the_same_rows(home, tmp_path, toy_rows, suffix):
    path = tmp_path / f"all{suffix.upper()}"
    tables.write(path, toy_rows)
    learn = Learn(train=str(path), valid=str(path), test=str(path))
    assert rows.read(home, prepare(learn, [], 7, home)["learn.train"]) == toy_rows


def test_columns_are_named_by_the_section(home, tmp_path):
    path = tmp_path / "x.jsonl"
    tables.write(path, [{"tweet": "a\u2028b", "stars": number % 2, "lang": "en"} for number in range(6)])
    learn = Learn(train=str(path), valid=str(path), test=str(path), text="tweet", label="stars")
    version = prepare(learn, [], 7, home)["learn.train"]
    assert rows.read(home, version)[1] == {"id": "2", "text": "a\u2028b", "label": "1", "lang": "en"}
    assert version.labels == {"0": 3, "1": 3}


def test_missing_parts_are_split_off_train(home, files, tmp_path, toy_rows):
    path = tmp_path / "all.csv"
    tables.write(path, toy_rows)
    found = prepare(Learn(train=str(path)), [], 7, home)
    assert {key: version.rows for key, version in found.items()} == {
        "learn.train": 34, "learn.valid": 4, "learn.test": 10
    }  # fmt: skip
    parts = [rows.read(home, version) for version in found.values()]
    assert sorted((row["id"] for part in parts for row in part), key=int) == [row["id"] for row in toy_rows]
    assert {version.dvc_md5 for version in found.values()} == {hashlib.md5(path.read_bytes()).hexdigest()}
    assert prepare(Learn(train=str(path)), [], 7, home) == found
    assert prepare(Learn(train=str(path)), [], 8, home)["learn.test"].digest != found["learn.test"].digest
    one = prepare(Learn(train=str(path), test=files["test"]), [], 7, home)
    assert [one[f"learn.{part}"].rows for part in PARTS] == [44, 4, 12]


def test_a_file_in_git_has_its_commit(home, files, tmp_path):
    folder = str(Path(files["train"]).parent)
    for command in (["init", "-q"], ["add", "train.csv"], ["commit", "-q", "-m", "x"]):
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", "-C", folder, *identity, *command], check=True)
    head = subprocess.run(["git", "-C", folder, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout
    found = prepare(Learn(**files), [], 7, home)
    assert found["learn.train"].git_revision == head.strip()
    assert found["learn.valid"].git_revision == f"{head.strip()}-dirty"
    status = ["git", "-C", folder, "status", "--porcelain"]
    assert subprocess.run(status, capture_output=True, text=True, check=True).stdout == "?? test.csv\n?? valid.csv\n"


def test_nothing_is_written_outside_the_home(home, files, tmp_path, monkeypatch, capfd):
    here = tmp_path / "third folder"
    here.mkdir()
    monkeypatch.chdir(here)
    before = tree(tmp_path, home.path)
    prepare(Learn(**files), [], 7, home)
    assert tree(tmp_path, home.path) == before
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("txt,label\na,b\n", r"train\.csv, key `text`: no such column; expected `txt`"),
        ("text,lable\na,b\n", r"train\.csv, key `label`: no such column; expected `lable`"),
        ("text,label\na,b\nc,\n", r"train\.csv, row 2, key `label`: the label is missing"),
        ("text,label\na,b\nc\n", r"train\.csv, row 2: the row has 1 fields"),
        ("", r"train\.csv: is empty"),
    ],
)
def test_bad_data_is_refused_by_file_row_and_column(home, files, content, message):
    Path(files["train"]).write_text(content)
    with pytest.raises(BadInput, match=message):
        prepare(Learn(**files), [], 7, home)


def test_a_missing_file_an_unknown_name_and_an_unknown_suffix_are_refused(home, files, tmp_path):
    with pytest.raises(BadInput, match=r"trian\.csv: no such file\. Did you mean train\.csv\?"):
        prepare(Learn(train=files["train"].replace("train", "trian")), [], 7, home)
    with pytest.raises(BadInput, match="expected `nusax/javanese/train`"):
        prepare(Learn(train="nusax/javanese/trian"), [], 7, home)
    (tmp_path / "x.xlsx").write_text("x")
    with pytest.raises(BadInput, match=r"x\.xlsx: cannot tell the format"):
        prepare(Learn(train=str(tmp_path / "x.xlsx")), [], 7, home)
    with pytest.raises(BadInput, match=r"the label 'negative' has too few rows \(1, 1 distinct texts\)"):
        Path(files["train"]).write_text("text,label\na,negative\nb,positive\nc,positive\nd,positive\n")
        prepare(Learn(train=files["train"]), [], 7, home)


@pytest.fixture
def registered(monkeypatch, tmp_path, files):
    """The toy files as registered datasets `toy/train|valid|test` with a column of another name."""
    monkeypatch.setenv("HOLDFAST_DATA", str(tmp_path / "data"))
    known = {}
    for part in PARTS:
        file = registry.File(f"{part}.csv", digests.of_file(Path(files[part])), f"https://example.org/{part}.csv")
        kind = {"kind": "csv", "rename": {"label": "label"}}
        known[f"toy/{part}"] = registry.Dataset(f"toy/{part}", "", 1, "", "", {}, (), "c0ffee", (file,), kind)
    monkeypatch.setattr(registry, "load", lambda: known)
    return {part: f"toy/{part}" for part in PARTS}


def test_a_registered_dataset_is_versioned_by_its_origin(home, registered, files):
    version = prepare(Learn(**registered), [], 7, home)["learn.train"]
    assert (version.ref, version.source, version.git_revision) == (
        "toy/train", "https://example.org/train.csv", "c0ffee"
    )  # fmt: skip
    assert version.dvc_md5 == hashlib.md5(Path(files["train"]).read_bytes()).hexdigest()
    assert version.digest == prepare(Learn(**files), [], 7, home)["learn.train"].digest


def test_a_registered_dataset_that_was_tampered_with_is_refused(home, registered, files):
    Path(files["valid"]).write_text("text,label\na,b\n")
    with pytest.raises(Corrupt, match=r"valid\.csv: the file is not the registered one"):
        prepare(Learn(**registered), [], 7, home)


@pytest.mark.real
def test_the_real_datasets_are_prepared_and_again_in_no_time(home, real_data, monkeypatch):
    import time

    monkeypatch.setenv("HOLDFAST_DATA", str(real_data))
    learn = Learn(**{part: f"nusax/javanese/{part}" for part in PARTS})
    remember = [
        Remember(name=name, **{part: f"nusax/{name}/{part}" for part in PARTS}) for name in ("english", "indonesian")
    ]
    found = prepare(learn, remember, 7, home)
    assert {key.split(".")[-1]: version.rows for key, version in found.items()} == {
        "train": 500, "valid": 100, "test": 400
    }  # fmt: skip
    start = time.perf_counter()
    assert prepare(learn, remember, 7, home) == found
    assert time.perf_counter() - start < len(found) * 0.3


def test_shares_are_the_documented_ones():
    assert stage.SHARES == {"valid": 0.1, "test": 0.2}
