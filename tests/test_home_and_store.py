"""Where state lives, and artifacts that are whole, verified and named by their content."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from holdfast import digests
from holdfast import home as homes
from holdfast.errors import BadInput, Corrupt
from holdfast.records import Artifact
from holdfast.store import Store

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def clean(monkeypatch):
    for name in ("HOLDFAST_HOME", "MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "HOLDFAST_LEDGER"):
        monkeypatch.delenv(name, raising=False)


def test_the_home_is_the_named_one_then_the_environment_s_then_the_nearest_then_a_new_one(tmp_path, monkeypatch):
    deep = tmp_path / "project" / "a" / "b"
    deep.mkdir(parents=True)
    assert homes.locate(start=deep) == deep / ".holdfast"
    nearest = homes.make(tmp_path / "project" / ".holdfast").path
    assert homes.locate(start=deep) == nearest == homes.find(start=deep).path
    monkeypatch.setenv("HOLDFAST_HOME", str(tmp_path / "environment"))
    assert homes.locate(start=deep) == tmp_path / "environment"
    assert homes.locate(tmp_path / "named", start=deep) == tmp_path / "named"
    monkeypatch.setenv("HOLDFAST_HOME", "")
    assert homes.locate(start=deep) == nearest


def test_a_folder_of_that_name_without_the_mark_is_passed_over(tmp_path):
    inner = tmp_path / "inner"
    (inner / ".holdfast").mkdir(parents=True)
    outer = homes.make(tmp_path / ".holdfast").path
    assert homes.locate(start=inner) == outer


def test_named_homes_may_be_relative_or_in_the_user_s_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    assert homes.locate(Path("here")) == tmp_path / "here"
    monkeypatch.setenv("HOLDFAST_HOME", "~/state")
    assert homes.locate() == tmp_path / "user" / "state"


def test_locating_creates_nothing_and_finding_marks_the_home(tmp_path):
    path = homes.locate(tmp_path / "new")
    assert not path.exists() and not homes.is_home(path)
    home = homes.find(path)
    assert homes.is_home(path) and home.path == path
    assert (path / ".gitignore").read_text() == "*\n"
    (path / ".gitignore").write_text("mine\n")
    assert homes.find(path) == home and (path / ".gitignore").read_text() == "mine\n"


def test_a_home_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "home"):
        with pytest.raises(BadInput, match=r"cannot be written to .* Choose another with --home"):
            homes.make(path)


def test_a_home_that_cannot_be_written_to_is_refused(tmp_path, monkeypatch):
    if os.geteuid() == 0:  # the superuser may write everywhere, so the refusal has to be played

        def refuse(**_):
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(homes.tempfile, "TemporaryFile", refuse)
    (tmp_path / "home").mkdir(mode=0o555)
    with pytest.raises(BadInput, match=r"home: the home folder cannot be written to \(Permission denied\)"):
        homes.make(tmp_path / "home")
    assert not homes.is_home(tmp_path / "home")


def test_a_folder_that_holds_something_else_does_not_become_a_home(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(BadInput, match="holds something and is not a Holdfast home"):
        homes.make(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_folder_of_other_homes_alone_becomes_one_and_leaves_them_be(tmp_path):
    inner = homes.make(tmp_path / ".holdfast" / "benchmarks" / "demo")  # as `make demo` leaves the checkout's
    (inner.path / "kept").write_text("a result")
    homes.make(tmp_path / ".holdfast")
    assert homes.is_home(tmp_path / ".holdfast") and (inner.path / "kept").read_text() == "a result"
    (tmp_path / "other" / "homes").mkdir(parents=True)
    (tmp_path / "other" / "link").symlink_to(inner.path)
    with pytest.raises(BadInput, match="holds something and is not a Holdfast home"):
        homes.make(tmp_path / "other")


def test_everything_is_inside_the_home_unless_the_user_says_otherwise(home, monkeypatch):
    folders = (home.store.root, home.data, home.cache, home.reports, home.checkpoints)
    assert all(folder.is_relative_to(home.path) for folder in folders)
    environment = homes.environment(home)
    places = [value for name, value in environment.items() if value.startswith(("/", "sqlite:"))]
    assert len(places) >= 8 and all(str(home.path) in place for place in places)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow:5000")
    monkeypatch.setenv("HOLDFAST_LEDGER", "postgresql://ledger")
    assert homes.environment(home)["MLFLOW_TRACKING_URI"] == "http://mlflow:5000" == home.tracking_uri
    assert homes.environment(home)["MLFLOW_REGISTRY_URI"] == "http://mlflow:5000"
    assert home.ledger_url == "postgresql://ledger"


def fill(folder: Path, **files: str) -> Path:
    (folder / "deep").mkdir(parents=True)
    for name, text in files.items():
        (folder / "deep" / name).write_text(text)
    return folder


def put(store: Store, kind: str = "thing", **files: str) -> Artifact:
    with store.scratch() as scratch:
        return store.put(fill(scratch / "a", **files), kind)


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path / "artifacts")


def test_an_artifact_is_named_by_its_files(store):
    artifact = put(store, one="1", two="2")
    files = {f"deep/{name}": hashlib.sha256(text.encode()).hexdigest() for name, text in (("one", "1"), ("two", "2"))}
    canonical = json.dumps(files, sort_keys=True, separators=(",", ":"))
    assert artifact.digest == hashlib.sha256(canonical.encode()).hexdigest()
    folder = store.open(artifact)
    assert (folder / "deep" / "two").read_text() == "2" and store.holds(artifact)
    assert folder == store.path(artifact) == store.root / artifact.digest[:2] / artifact.digest
    assert not list((store.root / "scratch").iterdir())


def test_the_same_content_is_kept_once_and_other_names_or_bytes_are_others(store):
    first = put(store, one="1")
    assert put(store, one="1") == first
    others = [put(store, one="2"), put(store, two="1"), put(store, one="1", two="")]
    assert len({first.digest, *(other.digest for other in others)}) == 4


@pytest.mark.parametrize("damage", ["change", "add", "remove", "rename"])
def test_damage_is_seen_and_named(store, damage):
    artifact = put(store, one="1", two="2")
    one = store.path(artifact) / "deep" / "one"
    match damage:
        case "change":
            one.write_text("x")
        case "add":
            one.with_name("three").write_text("")
        case "remove":
            one.unlink()
        case "rename":
            one.rename(one.with_name("three"))
    assert not store.holds(artifact)
    with pytest.raises(Corrupt, match=f"deep/{'three' if damage == 'add' else 'one'}.* does not match the thing"):
        store.open(artifact)


def test_a_damaged_list_of_files_does_not_hide_the_damage(store):
    artifact = put(store, one="1")
    (store.path(artifact) / "deep" / "one").write_text("x")
    store.path(artifact).with_name(f"{artifact.digest}.json").write_text("{")
    with pytest.raises(Corrupt, match="the folder does not match"):
        store.open(artifact)


def test_putting_again_repairs_what_was_damaged(store):
    artifact = put(store, one="1")
    (store.path(artifact) / "deep" / "one").write_text("x")
    assert put(store, one="1") == artifact and store.holds(artifact)


def test_what_is_missing_is_said_to_be_missing(store):
    artifact = put(store, one="1")
    store.discard(artifact)
    store.discard(artifact)
    with pytest.raises(Corrupt, match=r"the thing artifact [0-9a-f]{12} is missing"):
        store.open(artifact)


@pytest.mark.parametrize("digest", ["../../home", "", "ab", "/etc", "A" * 64, "../" * 20 + "0000"])
def test_a_forged_digest_names_no_folder(store, digest):
    for call in (store.open, store.path, store.discard):
        with pytest.raises(Corrupt, match="is not the digest of a thing artifact"):
            call(Artifact(kind="thing", digest=digest))


def test_a_failure_on_the_way_leaves_nothing(store):
    with pytest.raises(RuntimeError), store.scratch() as scratch:
        fill(scratch / "a", one="1")
        raise RuntimeError
    assert not list((store.root / "scratch").iterdir())


def test_a_kill_before_the_last_step_leaves_no_artifact(store, monkeypatch):
    def killed(self, target):
        raise OSError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", killed)
        with pytest.raises(OSError, match="killed"):
            put(store, one="1")
    found = [path for path in store.root.rglob("one") if path.is_file()]
    assert found == []
    assert store.holds(put(store, one="1"))


PUT_MANY = """
import sys
from pathlib import Path
from holdfast.store import Store
store = Store(Path(sys.argv[1]))
for number in range(20):
    with store.scratch() as scratch:
        (scratch / "a" / "deep").mkdir(parents=True)
        (scratch / "a" / "deep" / "one").write_text(str(number))
        store.put(scratch / "a", "thing")
"""


def test_processes_that_put_the_same_at_the_same_time_all_succeed(store):
    command = [sys.executable, "-c", PUT_MANY, str(store.root)]
    workers = [subprocess.Popen(command, cwd=ROOT) for _ in range(4)]
    assert [worker.wait(60) for worker in workers] == [0] * 4
    assert len(list(store.root.glob("??/*.json"))) == 20
    assert all(store.holds(put(store, one=str(number))) for number in range(20))


def test_digests_do_not_depend_on_order_and_refuse_what_json_has_no_word_for():
    assert digests.of_json({"b": [1, "é"], "a": None}) == digests.of_json({"a": None, "b": [1, "é"]})
    assert digests.canonical_json({"b": 1, "a": "é"}) == '{"a":"é","b":1}'
    with pytest.raises(ValueError, match="not JSON compliant"):
        digests.of_json(float("nan"))


def test_a_large_file_s_digest_is_that_of_its_bytes(tmp_path):
    data = os.urandom((1 << 20) + 7)
    (tmp_path / "a").write_bytes(data)
    assert digests.of_file(tmp_path / "a") == digests.of_bytes(data) == hashlib.sha256(data).hexdigest()
