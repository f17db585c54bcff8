"""A comparison from one file: cut off and continued, with equal updates, and nothing left that nobody needs."""

import json
from pathlib import Path

import pytest
import yaml

from flows import compare, units
from flows.cli import app, common
from holdfast.comparison import updates
from holdfast.errors import BadInput, Diverged
from holdfast.home import Home
from holdfast.registry import ledger
from tests.generation.conftest import TEMPLATE, build_folder

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
@pytest.mark.pictures
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


@pytest.mark.slow
def test_arms_that_learn_own_words_make_the_same_updates(home: Home, tmp_path: Path, monkeypatch) -> None:
    build_folder(tmp_path / "base", "llama", TEMPLATE, tie_word_embeddings=True)
    for role, numbers in (("train", range(30)), ("valid", range(30, 40)), ("test", range(40, 50))):
        rows = [{"prompt": f"say {n}", "answer": "a"} for n in numbers]
        (tmp_path / f"{role}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "judge.py").write_text("def even(prompt, answer, row):\n    return int(prompt.split()[1]) % 2 == 0\n")
    learn = {role: f"{role}.jsonl" for role in ("train", "valid", "test")}
    training = {"epochs": 2, "batch": 8, "learning_rate": 1e-3, "max_length": 48, "precision": "fp32"}
    raw = {"name": "own", "task": "generation", "start": {"model": "base"}, "learn": {**learn, "max_new_tokens": 24}}
    (tmp_path / "own.yaml").write_text(yaml.safe_dump({**raw, "assess": {"examples": 4}, "training": training}))
    count, counted = updates._of_own_words, []
    monkeypatch.setattr(updates, "_of_own_words", lambda *given: counted.append(count(*given)) or counted[-1])
    methods = "sft,self-only:examples.self.judge=judge.py:even+examples.self.max_new_tokens=24"
    settings = compare.Settings(methods, 1, (1.0,), baselines=False)
    document = compare.compare(tmp_path / "own.yaml", settings, home, tmp_path / "out", told([]))
    assert counted and all(0 < len(tasks) <= 15 for tasks in counted), "an epoch of own words is half as long, or less"
    assert document["updates"] == [8] and [len(arm["runs"]) for arm in document["arms"]] == [0, 1, 1]

    lines: list[str] = []
    compare.compare(tmp_path / "own.yaml", settings, home, tmp_path / "out", told(lines))
    assert all(line.endswith("(kept)") for line in lines)
    (tmp_path / "judge.py").write_text("def even(prompt, answer, row):\n    return int(prompt.split()[1]) % 4 == 0\n")
    lines = []
    compare.compare(tmp_path / "own.yaml", settings, home, tmp_path / "out", told(lines))
    assert [line.endswith("(kept)") for line in lines] == [True, False, True, False], "another judge, other answers"


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [1, 2])
def test_arms_that_are_one_tuning_are_told_under_their_own_names(file: Path, home: Home, tmp_path: Path, jobs) -> None:
    file.write_text(file.read_text() + "\nmethod: layernorm\n")
    settings = compare.Settings("file,layernorm", 1, (1.0, 3.0), baselines=False, jobs=jobs)
    lines: list[str] = []
    document = compare.compare(file, settings, home, tmp_path / "out", told(lines))
    _, own, named = document["arms"]
    assert (own["name"], named["name"]) == ("file", "layernorm") and own["runs"] == named["runs"] and own["runs"]
    assert sum(line.endswith("(kept)") for line in lines) == 3, "each tuning was made once"
    higher = compare.Settings("file", 1, (0.3,), False, ("training.learning_rate=1e-2",))
    lines = []
    _, own = compare.compare(file, higher, home, tmp_path / "out", told(lines))["arms"]
    assert lines[0].startswith("1/2 file 0.3x") and lines[0].endswith("(kept)") and own["factor"] == 0.3


def test_every_fair_baseline_is_there_unless_none_is_wanted(file: Path) -> None:
    raw = yaml.safe_load(file.read_text())
    old = {"name": "old", **{role: f"{role}.csv" for role in ("train", "valid", "test")}}
    file.write_text(yaml.safe_dump(raw | {"remember": [old]}))
    fair = [
        "sft",
        "sft-kl",
        "replay",
        "wise-ft",
        "shira",
        "lora-mlp",
    ]  # and the start model, which is in every document
    pipelines, notes = compare._pipelines(file, compare.Settings("layernorm"))
    assert list(pipelines) == [*fair, "layernorm"] and notes == []
    pipelines, notes = compare._pipelines(file, compare.Settings("diff-pruning", baselines=False))
    assert list(pipelines) == ["diff-pruning"] and "gated tuning" in notes[0]


@pytest.mark.parametrize(("more", "wanted"), [((), True), (("--no-baselines",), False)])
def test_the_command_adds_baselines_unless_told_not_to(file: Path, home: Home, monkeypatch, more, wanted) -> None:
    asked: list[compare.Settings] = []
    monkeypatch.setattr(common, "enter", lambda _: home)  # nothing of this process is to change
    monkeypatch.setattr(compare, "compare", lambda _, settings, *__, **___: asked.append(settings) or {"arms": []})
    assert app.execute(["compare", str(file), "--methods", "layernorm", "--json", *more]) == 0
    assert [one.baselines for one in asked] == [wanted]


def test_no_seed_or_no_rate_is_refused(file: Path, home: Home, tmp_path: Path) -> None:
    for settings in (compare.Settings("sft", seeds=0), compare.Settings("sft", grid=(0.0,))):
        with pytest.raises(BadInput, match="at least one seed and one positive rate"):
            compare.compare(file, settings, home, tmp_path, told([]))
    for grid in ((1.0, float("nan")), (1.0, float("inf")), (1.0, 1.0)):
        with pytest.raises(BadInput, match="the rates are not different numbers"):
            compare.compare(file, compare.Settings("sft", grid=grid), home, tmp_path, told([]))
