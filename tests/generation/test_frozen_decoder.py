"""A decoder's frozen layers run once: the same curve with and without, for every shape, with adapters and anchors."""

import json

import pytest
from torch._dynamo.utils import counters
from transformers.models.llama.modeling_llama import LlamaAttention

from holdfast import bases, rows, selection, spec
from holdfast.importance import assess
from holdfast.records import Start, Validated
from holdfast.training import compiled, tune

TRAINING = {"epochs": 3, "batch": 5, "learning_rate": 1e-3, "precision": "fp32", "max_length": 40}
LORA = {"lora": {"r": 2, "layers": [-1]}}
ARMS = [
    *(("gpt2", {"layers": [-1]}, {}), ("qwen3", {"layers": [-1]}, {}), ("mistral", {"layers": [-1]}, {})),
    *(("llama", LORA, {"anchors": [{"kl": {"on": "training"}}]}), ("llama", {"layers": [1]}, {"objective": "psft"})),
]


def curve(shape, parameters, more, said, tmp_path, home, make_folder, **training):
    place = str(make_folder(tmp_path / f"base-{said}-{len(training)}", shape))
    start = Start(model=place, base=bases.resolve(place), task="generation")

    def data(numbers):
        return rows.version(
            home, [{"id": f"{n}", "prompt": f"say {n}", "answer": f"{n} it is" * (1 + n % 3)} for n in numbers]
        )

    raw = {"name": "g", "task": "generation", "start": {"model": "b"}, "learn": {"train": "a.jsonl"}}
    raw |= {"assess": {"examples": 4}, "training": {**TRAINING, "prefix_cache": said, **training}}
    raw |= {"parameters": parameters, **more}
    pipeline = spec.parse(raw, tmp_path / "g.yaml")
    datasets = {"learn.train": data(range(12)), "learn.valid": data(range(16, 19))}
    valid = Validated(
        datasets=datasets,
        labels=(),
        quarantined=0,
        expectations=(),
        competences=(),
        artifact=datasets["learn.train"].artifact,
    )
    assessed = assess.assess(valid, start, pipeline.assess, pipeline.learn, (), pipeline.training, False, home)
    chosen = selection.select(assessed, start, pipeline.parameters, "label", (), 7, home)
    made = tune.tune(chosen, assessed, valid, start, pipeline.recipe, (), home)
    return json.loads((home.store.open(made.curve) / "curve.json").read_text())


@pytest.mark.slow
@pytest.mark.parametrize(("shape", "parameters", "more"), ARMS, ids=str)
def test_a_decoder_learns_the_same_from_what_is_kept(shape, parameters, more, tmp_path, home, make_folder) -> None:
    one, other = (curve(shape, parameters, more, said, tmp_path, home, make_folder) for said in ("on", "off"))
    assert one["prefix"]["cut"] == 1 and one["prefix"]["used"] and not other["prefix"]["used"]
    for a, b in zip(one["steps"], other["steps"], strict=True):
        assert all(a[key] == pytest.approx(b[key], abs=1e-5, rel=1e-5) for key in a)
    assert len(one["steps"]) == 9


@pytest.mark.parametrize("said", ["on", "off"])
def test_a_decoder_learns_the_same_from_packed_rows(said, tmp_path, home, make_folder) -> None:
    given = ("llama", {"layers": [1]}, {}, said, tmp_path, home, make_folder)
    packed, padded = curve(*given, batch=12, packing=True), curve(*given, batch=12)
    assert packed["prefix"]["used"] == (said == "on") and packed["padding"] < padded["padding"]
    for a, b in zip(packed["steps"], padded["steps"], strict=True):
        assert all(a[key] == pytest.approx(b[key], abs=1e-4, rel=1e-4) for key in a)


def test_layers_computed_again_learn_the_same(tmp_path, home, make_folder, monkeypatch) -> None:
    calls: list[int] = []
    attend = LlamaAttention.forward

    def counted(self, *args, **kwargs):
        calls.append(self.layer_idx)
        return attend(self, *args, **kwargs)

    monkeypatch.setattr(LlamaAttention, "forward", counted)
    given = ("llama", "full", {}, "off", tmp_path, home, make_folder)
    plain, seen = curve(*given), len(calls)
    again = curve(*given, gradient_checkpointing=True)
    updates = len(again["steps"])
    assert len(calls) - 2 * seen == 2 * updates, "each of two layers once more per update"
    for a, b in zip(again["steps"], plain["steps"], strict=True):
        assert all(a[key] == pytest.approx(b[key], abs=1e-5, rel=1e-5) for key in a)


@pytest.mark.parametrize(("shape", "more"), [("qwen3", {}), ("llama", {"gradient_checkpointing": True})], ids=str)
def test_compiled_layers_learn_the_same(shape, more, tmp_path, home, make_folder, monkeypatch) -> None:
    monkeypatch.setattr(compiled, "BACKEND", "aot_eager")
    given = (shape, {"layers": [1]}, {}, "on", tmp_path, home, make_folder)
    counters.clear()
    plain, fast = curve(*given), curve(*given, compile=True, **more)
    assert counters["stats"]["unique_graphs"] in (1, 2) and not counters["graph_break"]
    for a, b in zip(fast["steps"], plain["steps"], strict=True):
        assert all(a[key] == pytest.approx(b[key], abs=1e-5, rel=1e-5) for key in a)
