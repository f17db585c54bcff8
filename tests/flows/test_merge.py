"""`holdfast merge` on versions that real runs registered: judged, gated and registered with its parents."""

import asyncio
import json
import os
from pathlib import Path

import pytest
import typer
import yaml

from benchmarks.kill import spine, world
from flows import adapt
from flows.cli import app, common
from holdfast.registry import ledger, package, tracking, versions

pytestmark = pytest.mark.slow


def merge(capfd, home, *args):
    """Run the command in this process; return its exit code and its JSON."""
    capfd.readouterr()
    try:
        code = app.execute(["merge", *args, "--home", str(home.path), "--json"])
    except typer.Exit as left:
        code = left.exit_code
    return code, json.loads(capfd.readouterr().out)


def test_two_versions_become_one_with_both_as_parents(tmp_path, home, capfd, monkeypatch):
    monkeypatch.setattr("os.environ", dict(os.environ))
    common.enter(home.path)
    file = world.make(tmp_path)
    for seed in (7, 8):
        spine.run(file, [f"training.seed={seed}", "training.epochs=3", "assess.examples=8"], home)
    names = ["first/1", "first/2"]
    code, result = merge(capfd, home, *names, "--how", "ties", "--density", "0.5", "--name", "both")
    assert code == 0 and result["verdict"] == "promoted", result
    shown = versions.show("both", "champion", home)
    method, start = shown["lineage"]["method"], shown["lineage"]["start"]
    assert method["name"] == "merge by ties" and method["density"] == 0.5 and method["weights"] == [1.0, 1.0]
    assert [parent["model"] for parent in method["merged"]] == ["models:/first/1", "models:/first/2"]
    assert start["version"] is None and start["model"].endswith("encoder")
    assert ledger.at(home).champion("both").version == "1"

    file_of_it = Path(tracking.client(home).download_artifacts(shown["run_id"], package.PIPELINE, str(tmp_path)))
    said = yaml.safe_load(file_of_it.read_text())
    assert said["merge"] == {
        "versions": ["models:/first/1", "models:/first/2"], "how": "ties", "weights": [1.0, 1.0], "density": 0.5
    }  # fmt: skip
    again = asyncio.run(adapt.adapt.fn(str(file_of_it), [], str(home.path)))
    assert (again["version"], again["verdict"]) == ("1", "promoted"), "the same merge is the version that there is"
    other = asyncio.run(adapt.adapt.fn(str(file_of_it), ["merge.weights=[1, 0.5]"], str(home.path)))
    assert other["version"] == "2" and versions.show("both", "2", home)["lineage"]["method"]["weights"] == [1.0, 0.5]

    strict = yaml.safe_load(file.read_text()) | {"gate": {"target_gain": 0.98}}
    (tmp_path / "strict.yaml").write_text(yaml.safe_dump(strict))
    judged = ["--how", "task-arithmetic", "--weights", "1", "--name", "alone", "--judge", str(tmp_path / "strict.yaml")]
    code, result = merge(capfd, home, names[1], *judged)
    assert code == 3 and "gate.target_gain" in result["reason"]
    assert ledger.at(home).champion("alone") is None
    scores = [versions.show(*of, home)["lineage"]["evaluation"]["target"] for of in (("alone", "1"), ("first", "2"))]
    assert scores[0]["after"] == scores[1]["after"]

    for args, said in (
        ((*names, "--how", "ties", "--name", "x", "--weights", "1"), "1 weights for 2 versions"),
        ((*names, "--how", "task-arithmetic", "--name", "x", "--density", "0.5"), "is read by `ties` alone"),
        ((*names, "--how", "ties", "--name", "x", "--density", "2"), "2 is no share"),
        ((names[0], "firsst@champion", "--how", "ties", "--name", "x"), "Did you mean `first`"),
    ):
        code, result = merge(capfd, home, *args)
        assert code == 2 and said in result["error"], result
