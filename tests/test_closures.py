"""The code part of a cache key: an edited module changes it for the stages that use it, and for no other."""

from pathlib import Path

import pytest

from holdfast import closures


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "holdfast"
    (root / "room").mkdir(parents=True)
    (root / "__init__.py").write_text("")
    (root / "room" / "__init__.py").write_text("")
    (root / "room" / "stage.py").write_text(
        "from holdfast import low\n\ndef f():\n    from holdfast.room import lazy\n"
    )
    (root / "room" / "lazy.py").write_text("import holdfast.deep\n")
    (root / "other.py").write_text(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from holdfast import low\n"
    )
    for name in ("low", "deep"):
        (root / f"{name}.py").write_text("x = 1\n")
    monkeypatch.setattr(closures, "_ROOT", root)
    return root


def test_closure_follows_imports_inside_functions_and_packages(library: Path) -> None:
    names = set(closures.closure(["holdfast.room.stage"]))
    wanted = {"holdfast", "holdfast.room", "holdfast.room.stage", "holdfast.low", "holdfast.room.lazy", "holdfast.deep"}
    assert names == wanted


def test_type_checking_imports_do_not_count(library: Path) -> None:
    assert set(closures.closure(["holdfast.other"])) == {"holdfast", "holdfast.other"}


def test_an_edit_changes_the_digest_of_exactly_the_stages_that_use_it(library: Path) -> None:
    before = {name: closures.digest([name]) for name in ("holdfast.room.stage", "holdfast.other")}
    (library / "deep.py").write_text("x = 2\n")
    after = {name: closures.digest([name]) for name in before}
    assert after["holdfast.room.stage"] != before["holdfast.room.stage"]
    assert after["holdfast.other"] == before["holdfast.other"]


def test_no_stage_depends_on_the_registry() -> None:
    """Register and gate are never cached; the others must not rerun because the registry was edited."""
    stages = (
        "validation.validate",
        "importance.assess",
        "selection",
        "auto.choose",
        "training.tune",
        "forgetting.evaluate",
    )
    for stage in stages:
        names = closures.closure([f"holdfast.{stage}"])
        assert f"holdfast.{stage}" in names
        assert not [name for name in names if name.startswith("holdfast.registry")], stage
