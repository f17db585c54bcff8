"""Decoders of every supported shape go through the tune step: what was chosen moves, and the version answers so."""

import pytest
import torch

from holdfast import bases, models, rows, selection, spec
from holdfast.importance import assess
from holdfast.records import Start, Validated
from holdfast.training import tune

IDS = torch.arange(10, 22).unsqueeze(0)
STEMS = dict.fromkeys(("qwen2", "qwen3", "mistral"), "model.layers.1.") | {"gpt2": "transformer.h.1."}
TRAINING = {"epochs": 1, "batch": 8, "learning_rate": 1e-3, "precision": "fp32", "max_length": 32}


def tuned(folder, start, home, **changes):
    def data(numbers):
        return rows.version(home, [{"id": f"{n}", "prompt": f"say {n}", "answer": f"{n} it is"} for n in numbers])

    raw = {"name": "g", "task": "generation", "start": {"model": "b"}, "learn": {"train": "a.jsonl"}}
    pipeline = spec.parse({**raw, "assess": {"examples": 4}, "training": TRAINING, **changes}, folder / "g.yaml")
    datasets = {"learn.train": data(range(16)), "learn.valid": data(range(16, 20))}
    artifact, none = datasets["learn.train"].artifact, ()
    valid = Validated(
        datasets=datasets, labels=none, quarantined=0, expectations=none, competences=none, artifact=artifact
    )
    assessed = assess.assess(valid, start, pipeline.assess, pipeline.learn, (), pipeline.training, False, home)
    chosen = selection.select(assessed, start, pipeline.parameters, "label", (), 7, home)
    return tune.tune(chosen, assessed, valid, start, pipeline.recipe, (), home)


HEADS, LAYER = {"heads": 1, "layernorm": True}, {"layers": [-1]}


@pytest.mark.parametrize(("shape", "parameters"), [*((shape, HEADS) for shape in STEMS), ("gpt2", LAYER)], ids=str)
def test_a_shape_is_tuned_where_it_was_chosen(shape, parameters, tmp_path, home, make_folder):
    place = str(make_folder(tmp_path / "base", shape))
    start = Start(model=place, base=bases.resolve(place), task="generation")
    made = tuned(tmp_path, start, home, parameters=parameters)
    assert made.steps == 2 and made.final_loss > 0
    before = models.load(start, home).network
    after = models.load(start.model_copy(update={"model": "models:/g/1", "adapter": made.adapter}), home).network
    old, new = dict(before.named_parameters()), dict(after.named_parameters())
    moved = {name for name in old if not torch.equal(old[name], new[name])}
    if "layers" in parameters:
        assert moved == {name for name in old if name.startswith(STEMS[shape])}
    else:
        norms = {name for name in old if "norm" in name or ".ln_" in name}
        heads = moved - norms
        assert norms <= moved and heads and all("attn" in name for name in heads)
        assert all(float((old[name] != new[name]).float().mean()) <= 0.5 for name in heads)  # some of the heads
    with torch.no_grad():
        assert not torch.equal(before(input_ids=IDS).logits, after(input_ids=IDS).logits)
