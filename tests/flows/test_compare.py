"""A comparison from one file: cut off and continued, with equal updates, and nothing left that nobody needs."""

import json
from pathlib import Path

import pytest
import yaml

from flows import compare, units
from holdfast.errors import BadInput, Diverged
from holdfast.home import Home
from holdfast.registry import ledger

METHODS = "layernorm,sft:training.accumulate=2"


class Cut(Exception):
    pass


def told(lines: list[str], until: int | None = None):
    """Keep what is announced; stop like a kill after so many units."""

    def announce(line: str) -> None:
        lines.append(line)
        if until is not None and line.startswith(f"{until}/"):
            raise Cut

    return announce


@pytest.fixture
def file(toy: Path) -> Path:
    raw = yaml.safe_load(toy.read_text())
    raw["training"] |= {"epochs": 1.5, "patience": 1, "max_length": 16}
    toy.write_text(yaml.safe_dump(raw))
    return toy


@pytest.mark.slow
def test_a_comparison_is_cut_off_and_goes_on(file: Path, home: Home, tmp_path: Path) -> None:
    settings = compare.Settings(METHODS, seeds=2, grid=(1.0, 3.0), baselines=False)
    out = tmp_path / "out"
    with pytest.raises(Cut):
        compare.compare(file, settings, home, out, told([], until=5))
    assert not out.exists()
    lines: list[str] = []
    document = compare.compare(file, settings, home, out, told(lines))
    assert [line for line in lines if line.endswith("(kept)")] == lines[:5] and len(lines) == 8
    assert json.loads((out / "comparison.json").read_text()) == document
    assert (out / "frontier.png").read_bytes().startswith(b"\x89PNG")
    start, norms, sft = document["arms"]
    assert (start["name"], norms["name"], sft["name"]) == ("start", *METHODS.split(","))
    assert document["seeds"] == [7, 8] and document["updates"] == [8] and document["reference"] is None
    assert [one["factor"] for one in norms["rates"]] == [1.0, 3.0] and norms["factor"] in (1.0, 3.0)
    assert 0 < norms["share"] < 0.1 and sft["share"] == 1.0 and len(sft["runs"]) == 2
    assert not list(home.store.root.rglob("adapter_model.safetensors")), "no adapter is kept"
    scored = {entry.digest for entry in ledger.at(home).scorings(_test_digest(home))}
    assert len(scored) == 4, "each arm is judged on test once per seed, and that is on record"
    again: list[str] = []
    assert compare.compare(file, settings, home, out, told(again)) == document
    assert all(line.endswith("(kept)") for line in again)


def _test_digest(home: Home) -> str:
    for path in home.path.glob("comparison/stages/*.json"):
        record = json.loads(path.read_text())["record"]
        if "datasets" in record:
            return record["datasets"]["learn.test"]["digest"]
    raise LookupError("no validation is kept")


@pytest.mark.slow
def test_what_diverges_or_does_not_fit_is_left_out(file: Path, home: Home, tmp_path: Path, monkeypatch) -> None:
    tuned = units._Stages.tuned

    def diverges(self):
        if self.pipeline.method == "psft":
            raise Diverged("the loss is no number")
        return tuned(self)

    monkeypatch.setattr(units._Stages, "tuned", diverges)
    settings = compare.Settings("psft,layernorm,layernorm:parameters.layers=[9]", 1, (1.0,), baselines=False)
    document = compare.compare(file, settings, home, tmp_path / "out", told([]))
    _, wild, norms, wrong = document["arms"]
    assert wild["target"] is None and wrong["target"] is None and norms["target"]["after"] > 0
    assert document["notes"][0] == "the arm `psft` failed at every rate: the loss is no number"
    assert "failed at every rate: key `parameters.layers`: the model has no layer 9" in document["notes"][1]
    settings = compare.Settings("psft", 1, (1.0,), baselines=False)
    with pytest.raises(BadInput, match="every arm failed, `psft` because: the loss is no number"):
        compare.compare(file, settings, home, tmp_path / "out", told([]))


def test_no_seed_or_no_rate_is_refused(file: Path, home: Home, tmp_path: Path) -> None:
    for settings in (compare.Settings("sft", seeds=0), compare.Settings("sft", grid=(0.0,))):
        with pytest.raises(BadInput, match="at least one seed and one positive rate"):
            compare.compare(file, settings, home, tmp_path, told([]))
