"""The bundled decoder: the weights that ship are the ones that were measured, and they can do what the metrics say."""

import json
from pathlib import Path

import pytest
import yaml
from safetensors import safe_open

from holdfast import bases, digests
from holdfast.generation import decoders
from holdfast.models import Model

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "data" / "base_model"
METRICS = json.loads((FOLDER / "metrics.json").read_text())


def test_the_weights_are_small_and_those_that_were_registered():
    file = FOLDER / "model.safetensors"
    base = bases.resolve("kelp")
    assert bases.locate(base) == FOLDER
    assert base.sha256 == bases.KNOWN["kelp"].sha256 == digests.of_file(file)
    assert file.stat().st_size < 8_000_000
    with safe_open(file, framework="pt") as tensors:
        assert {tensors.get_tensor(name).dtype.itemsize for name in tensors.keys()} == {2}  # noqa: SIM118
    assert sum(p.numel() for p in decoders.network(FOLDER).parameters()) == METRICS["weights"] <= 4_000_000


def test_it_does_well_in_several_styles_before_any_tuning(pretrain):
    styles = {name: of for name, of in METRICS["scores"].items() if name.startswith("style ")}
    right = {name: min(task["right"] for task in of.values()) for name, of in styles.items()}
    assert sum(share >= 0.8 for share in right.values()) >= 2, right
    assert (pretrain.rebuilt.WELL, pretrain.rebuilt.STYLES) == (0.8, 2)


def test_the_stage_is_frozen_and_its_outputs_are_locked():
    stage = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]["base_model"]
    assert stage["frozen"] and stage["cmd"] == "python data/pretrain.py"
    locked = yaml.safe_load((ROOT / "dvc.lock").read_text())["stages"]["base_model"]["outs"]
    assert {Path(entry["path"]).name for entry in locked} == {"config.json", "model.safetensors", "metrics.json"}


@pytest.mark.parametrize("style", ["bare", "sentence"])
def test_a_sample_is_answered_as_well_as_the_metrics_say(pretrain, style):
    from make_exercises import ASKED, usual

    asked = next(one for one in ASKED if usual(one) == style)
    sums = [row for task in ("addition", "subtraction") for row in pretrain._rows(task)]
    found = [pretrain.PROBLEM.search(row["prompt"]) for row in sums][3::25]
    rows = [pretrain._asked(asked, style, match) for match in found]
    model = Model(decoders.network(FOLDER), bases.tokenizer(FOLDER))
    seen = pretrain._right(model.network, model.tokenizer, rows, exactly=True)
    known = METRICS["scores"][f"style {style}"]
    for task in ("addition", "subtraction"):
        assert seen[task]["n"] == 12
    share = sum(seen[task]["right"] for task in seen) / 2
    assert (
        share >= sum(known[task]["right"] for task in known) / 2 - pretrain.rebuilt.TOLERANCE
    )  # a sample of 24 against the whole
