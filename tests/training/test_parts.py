"""The trainer's parts: forward passes, batches, modes, decay, randomness."""

import random

import numpy as np
import pytest
import torch

from holdfast import inference, models, selection
from holdfast.home import Home
from holdfast.records import Start
from holdfast.selection import Selection
from holdfast.training import batches, job, modes, randomness
from holdfast.training.forward import Forward
from holdfast.training.pool import Example, Pool

TEXTS = ["the movie was good", "bad", "a very bad food service", "good food", "the food is not very great"]
LAYER, QUERY = "bert.encoder.layer.1.", "bert.encoder.layer.1.attention.self.query.weight"


@pytest.fixture
def model(home: Home, tiny_start: Start) -> models.Model:
    model = models.load(tiny_start, home)
    model.add_head("topic", ("x", "y", "z"), seed=4)
    model.add_head("mood", ("a", "b"), seed=1)
    return model


def forward(model: models.Model, positions: list[int]) -> Forward:
    examples = [Example(text, "mood" if i < 3 else "topic", 0) for i, text in enumerate(TEXTS)]
    pool = Pool(tuple(examples), tuple(inference.encode(model, TEXTS, 16)))

    def load(rows: list[int]) -> dict[str, torch.Tensor]:
        return {name: value for name, value in batches.collate(model, pool, rows).items() if name != "positions"}

    return Forward(model, pool, load(positions), positions, step=0, precision="fp32", load=load)


def test_a_head_on_the_shared_encoding_gives_the_networks_own_logits(model: models.Model) -> None:
    batch = forward(model, [4, 0, 2])
    whole = model.network(**batch.inputs).logits
    assert torch.allclose(batch.logits("mood", [0, 1, 2]), whole, atol=1e-6)
    model.use_head("topic")
    other = model.network(**batch.inputs).logits
    model.use_head("mood")
    assert torch.allclose(batch.logits("topic", [2, 0]), other[[2, 0]], atol=1e-6)
    assert model.head == "mood"
    assert torch.equal(model.network(**batch.inputs).logits, whole), "the encoder was meant to compute again"


def test_the_encoder_runs_once_for_all_heads(model: models.Model) -> None:
    runs: list[int] = []
    handle = model.network.base_model.encoder.register_forward_hook(lambda *args: runs.append(1))
    batch = forward(model, [0, 3, 4])
    for head, rows in batch.rows_by_head().items():
        batch.logits(head, rows)
    handle.remove()
    assert len(runs) == 1


def test_rows_are_sorted_to_their_heads(model: models.Model) -> None:
    assert forward(model, [4, 0, 3, 2]).rows_by_head() == {"topic": [0, 2], "mood": [1, 3]}


def test_gradients_go_through_head_and_encoder(model: models.Model) -> None:
    batch = forward(model, [1, 2])
    batch.logits("mood", [0, 1]).square().sum().backward()
    ours = model.encoder_parameters()[QUERY].grad.clone()
    model.network.zero_grad()
    model.network(**batch.inputs).logits.square().sum().backward()
    assert torch.allclose(ours, model.encoder_parameters()[QUERY].grad, atol=1e-9)
    assert model.heads["mood"].parameters["classifier.weight"].grad is not None


LENGTHS = [3 + (7 * i) % 29 for i in range(200)]


def test_batches_hold_every_row_once_and_only_the_last_group_has_a_short_one() -> None:
    found = batches.group(range(200), LENGTHS, 16, (3, 0))
    assert sorted(row for batch in found for row in batch) == list(range(200))
    assert sorted(len(batch) for batch in found) == [8] + [16] * 12


def test_batches_are_grouped_by_length() -> None:
    def padding(found: list[list[int]]) -> int:
        return sum(max(LENGTHS[i] for i in batch) * len(batch) - sum(LENGTHS[i] for i in batch) for batch in found)

    shuffled = np.random.default_rng(0).permutation(200).tolist()
    plain = [shuffled[i : i + 16] for i in range(0, 200, 16)]
    assert padding(batches.group(range(200), LENGTHS, 16, (3, 0))) < 0.3 * padding(plain)


def test_batches_depend_on_seed_and_epoch_alone() -> None:
    sampler = batches.EpochBatches(lambda epoch: list(range(200)), LENGTHS, 16, seed=3)
    first = list(sampler)
    random.random(), np.random.rand(), torch.rand(1)
    assert list(sampler) == first
    assert len(sampler) == len(first) == 13
    sampler.epoch = 1
    assert list(sampler) != first
    sampler.epoch = 0
    assert list(sampler) == first


def training_modules(model: models.Model) -> set[str]:
    modes.train(model, modes.frozen_modules(model))
    return {name for name, module in model.network.named_modules() if module.training and name.count(".")}


def test_blocks_without_a_moving_parameter_run_in_eval_mode(model: models.Model) -> None:
    selection.attach(model, Selection(whole=frozenset({QUERY})))
    training = training_modules(model)
    modules = {name for name, _ in model.network.named_modules()}
    assert {n for n in training if n.startswith(LAYER)} == {n for n in modules if n.startswith(LAYER)}
    still = ("bert.encoder.layer.0", "bert.embeddings", "bert.pooler")
    assert not {n for n in training if n.startswith(still)}
    assert model.network.dropout.training, "the head's dropout was meant to stay on"


def test_a_frozen_block_computes_the_same_twice_and_a_moving_one_does_not(model: models.Model) -> None:
    selection.attach(model, Selection(whole=frozenset({QUERY})))
    modes.train(model, modes.frozen_modules(model))
    inputs = forward(model, [0, 2]).inputs
    states = [model.network.base_model(**inputs, output_hidden_states=True).hidden_states for _ in range(2)]
    assert torch.equal(states[0][1], states[1][1])
    assert not torch.equal(states[0][2], states[1][2])


def test_full_selections_train_every_block(model: models.Model) -> None:
    selection.attach(model, Selection(whole=frozenset(model.encoder_parameters())))
    assert modes.frozen_modules(model) == []


def test_frozen_blocks_sleep_at_every_step_also_after_validation(setup, started, monkeypatch) -> None:
    seen: list[tuple[bool, bool]] = []
    plain = Forward.logits

    def watched(self, head, rows):
        encoder = self.model.network.base_model.encoder
        seen.append((encoder.layer[0].training, encoder.layer[1].output.dropout.training))
        return plain(self, head, rows)

    monkeypatch.setattr(Forward, "logits", watched)
    setup(start=started, training={"epochs": 2}).run()
    assert len(seen) == 12
    assert set(seen) == {(True, False)}


def test_norms_biases_and_masked_tensors_do_not_decay(setup, started) -> None:
    norm, bias = f"{LAYER}output.LayerNorm.weight", f"{LAYER}output.dense.bias"
    mask = torch.zeros(32, 32, dtype=torch.bool)
    mask[0] = True
    whole = frozenset({norm, bias, f"{LAYER}output.dense.weight"})
    chosen = Selection(whole=whole, partial={QUERY: mask})
    tuning = setup(chosen=chosen, start=started)
    model = models.load_with_head(started, tuning.home, "mood", tuning.validated.labels, 3)
    parts = (tuning.selected, tuning.assessed, tuning.validated, tuning.start, tuning.recipe, (), tuning.home)
    made = job.make(job.Given(*parts), model, chosen, tuning.home.checkpoints / "x", None)
    assert set(made.moving) == {
        norm,
        bias,
        f"{LAYER}output.dense.weight",
        QUERY,
        "classifier.weight",
        "classifier.bias",
    }
    assert made.decayed == {f"{LAYER}output.dense.weight", "classifier.weight"}


def test_generator_states_survive_json_and_back() -> None:
    import json

    def draw() -> tuple[float, float, float, float]:
        return random.gauss(0, 1), np.random.rand(), np.random.randn(), torch.rand(1).item()

    draw()
    tensors, states = randomness.capture()
    expected = [draw() for _ in range(3)]
    randomness.restore(tensors, json.loads(json.dumps(states)))
    assert [draw() for _ in range(3)] == expected
