"""The git revision of a file: its commit, dirty or not, and nothing touched by asking."""

import subprocess

import pytest

from holdfast.versioning import revision


def git(folder, *arguments):
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", "-C", folder, *identity, *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path):
    folder = tmp_path / "checkout"
    (folder / "sub dir").mkdir(parents=True)
    git(folder, "init", "-q")
    (folder / "sub dir" / "a.csv").write_text("text,label\na,b\n")
    (folder / ".gitignore").write_text("ignored.csv\n")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "one")
    return folder


def test_a_committed_file_has_its_commit(checkout, monkeypatch):
    head = git(checkout, "rev-parse", "HEAD")
    monkeypatch.setenv("GIT_DIR", "/nonexistent")  # as inside a hook; must not mislead
    assert revision.of_file(checkout / "sub dir" / "a.csv") == head


def test_a_changed_a_new_and_an_ignored_file_are_dirty(checkout):
    head = git(checkout, "rev-parse", "HEAD")
    (checkout / "sub dir" / "a.csv").write_text("text,label\na,c\n")
    (checkout / "new.csv").write_text("x")
    (checkout / "ignored.csv").write_text("x")
    for name in ("sub dir/a.csv", "new.csv", "ignored.csv"):
        assert revision.of_file(checkout / name) == f"{head}-dirty"


def test_a_touched_file_is_clean_and_the_index_is_left_alone(checkout):
    path = checkout / "sub dir" / "a.csv"
    path.write_text(path.read_text())  # a new time stamp: `git status` would refresh the index
    before = {file: file.read_bytes() for file in (checkout / ".git").rglob("*") if file.is_file()}
    assert revision.of_file(path) == git(checkout, "rev-parse", "HEAD")
    assert {file: file.read_bytes() for file in (checkout / ".git").rglob("*") if file.is_file()} == before


def test_a_link_is_followed_to_the_repository_of_the_file(checkout, tmp_path):
    (tmp_path / "link.csv").symlink_to(checkout / "sub dir" / "a.csv")
    assert revision.of_file(tmp_path / "link.csv") == git(checkout, "rev-parse", "HEAD")


def test_outside_git_without_a_commit_or_without_git_there_is_none(checkout, tmp_path, monkeypatch):
    (tmp_path / "a.csv").write_text("x")
    assert revision.of_file(tmp_path / "a.csv") is None
    (tmp_path / "fresh").mkdir()
    git(tmp_path / "fresh", "init", "-q")
    assert revision.of_file(tmp_path / "fresh" / "a.csv") is None
    monkeypatch.setenv("PATH", "")
    assert revision.of_file(checkout / "sub dir" / "a.csv") is None
