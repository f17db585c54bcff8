"""The stage: same inputs, same bytes; only what was selected moves; it learns, stops, reports and fails as it says."""

import json
import random

import numpy as np
import pytest
import torch

from holdfast import anatomy, models, spec
from holdfast.anchors import ewc
from holdfast.errors import BadInput, Diverged, HoldfastError
from holdfast.objectives import sft
from holdfast.records import HeadInfo
from holdfast.selection import Selection
from holdfast.training import checkpoints

OLD = spec.Remember(name="old", train="a.csv", valid="a.csv", test="a.csv", head="mood")


def encoder(tuning, tuned) -> dict[str, torch.Tensor]:
    """The weights of the encoder that an adapter gives."""
    start = tuning.start.model_copy(update={"adapter": tuned.adapter})
    return {name: p.detach() for name, p in models.load(start, tuning.home).encoder_parameters().items()}


def test_same_inputs_same_bytes_and_another_seed_others(setup, started) -> None:
    tuning = setup(start=started)
    first = tuning.run()
    assert tuning.run() == first
    other = tuning.with_(seed=4).run()
    assert other.adapter != first.adapter
    assert other.curve != first.curve


@pytest.mark.pictures
def test_a_curve_is_drawn_and_written_per_step(setup, started) -> None:
    tuning = setup(start=started, anchors=["l2sp"])
    tuned = tuning.run()
    curve = tuning.curve(tuned)
    assert tuned.steps == 18
    assert [entry["step"] for entry in curve["steps"]] == list(range(1, 19))
    assert set(curve["steps"][0]) == {"step", "epoch", "loss", "objective", "l2sp", "learning_rate", "grad_norm"}
    assert curve["steps"][0]["l2sp"] == 0.0
    assert curve["steps"][-1]["l2sp"] > 0.0
    last = curve["steps"][-1]
    assert last["loss"] == pytest.approx(last["objective"] + last["l2sp"], rel=1e-6)
    assert [(entry["step"], entry["epoch"]) for entry in curve["valid"]] == [(6, 1.0), (12, 2.0), (18, 3.0)]
    assert tuned.final_loss == pytest.approx(np.mean([entry["loss"] for entry in curve["steps"][12:]]))
    assert (tuning.home.store.open(tuned.curve) / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert setup(start=started, anchors=["l2sp"]).run().curve == tuned.curve, "drawn again, it is the same picture"


def test_progress_is_told_of_every_update(setup, started) -> None:
    seen: list[tuple[int, int, dict[str, float]]] = []
    setup(start=started).run(lambda *report: seen.append(report))
    assert [(step, total) for step, total, _ in seen] == [(step, 18) for step in range(1, 19)]
    assert {"loss", "learning_rate"} <= set(seen[0][2])
    assert seen[0][2]["learning_rate"] == pytest.approx(1e-3)
    assert seen[-1][2]["learning_rate"] == pytest.approx(1e-3 / 18)


def test_it_learns(setup, started) -> None:
    names = frozenset(models.load(started, setup().home).encoder_parameters())
    tuning = setup(chosen=Selection(whole=names), start=started, training={"epochs": 12, "learning_rate": 5e-3})
    curve = tuning.curve(tuning.run())
    assert curve["valid"][-1]["loss"] < 0.5 * curve["valid"][0]["loss"]
    assert curve["valid"][-1]["accuracy"] >= 0.8


def test_nothing_moves_but_the_selection_and_the_head(setup, started) -> None:
    tuning = setup(start=started)
    before = encoder(tuning, type("T", (), {"adapter": started.adapter}))
    after = encoder(tuning, tuning.run())
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved == tuning.chosen.whole


def test_a_mask_leaks_nothing_while_decay_is_on_elsewhere(setup, started) -> None:
    name, beside = "bert.encoder.layer.1.output.dense.weight", "bert.encoder.layer.1.intermediate.dense.weight"
    mask = torch.rand(32, 64, generator=torch.Generator().manual_seed(0)) < 0.4
    tuning = setup(
        chosen=Selection(whole=frozenset({beside}), partial={name: mask}),
        start=started,
        training={"weight_decay": 20.0, "learning_rate": 1e-2},
    )
    before = encoder(tuning, type("T", (), {"adapter": started.adapter}))
    after = encoder(tuning, tuning.run())
    assert torch.equal(before[name][~mask], after[name][~mask])
    assert (before[name][mask] != after[name][mask]).float().mean() > 0.95
    assert after[beside].norm() < before[beside].norm(), "the whole tensor beside it was meant to decay"


def test_early_stopping_goes_back_to_the_best_weights(setup, started) -> None:
    tuning = setup(start=started, training={"epochs": 20, "patience": 1, "learning_rate": 0.1})
    tuned = tuning.run()
    curve = tuning.curve(tuned)
    losses = [entry["loss"] for entry in curve["valid"]]
    best = losses.index(min(losses))
    assert tuned.steps == 6 * (best + 2) < 120
    assert curve["best_step"] == 6 * (best + 1)
    shorter = tuning.with_(patience=None)
    step = curve["best_step"]

    class Reached(Exception):
        pass

    def stop(done: int, total: int, figures: dict[str, float]) -> None:
        if done == step + 1:
            raise Reached

    with pytest.raises(Reached):
        shorter.run(stop)
    last = checkpoints.newest(shorter.home.checkpoints / shorter.key())
    after = encoder(tuning, tuned)
    assert last.step == step
    for name, value in last.tensors("weights").items():
        if name in after:
            assert torch.equal(value, after[name])


def test_without_patience_the_last_weights_are_used(setup, started) -> None:
    tuning = setup(start=started)
    assert tuning.curve(tuning.run())["best_step"] is None


def test_unfrozen_layers_neither_move_nor_gather_moments_before_their_epoch(setup, started) -> None:
    class Reached(Exception):
        pass

    def stop(done: int, total: int, figures: dict[str, float]) -> None:
        if done == 13:
            raise Reached

    names = frozenset(models.load(started, setup().home).encoder_parameters())
    tuning = setup(chosen=Selection(whole=names), start=started, schedule=["unfreezing"])
    with pytest.raises(Reached):
        tuning.run(stop)
    last = checkpoints.newest(tuning.home.checkpoints / tuning.key())
    stepped = {key.rpartition("/")[0] for key in last.tensors("optimizer")}
    assert last.step == 12
    assert {n for n in stepped if "layer.1" in n}
    assert not {n for n in stepped if "layer.0" in n or "embeddings" in n}
    before = encoder(tuning, type("T", (), {"adapter": started.adapter}))
    weights = last.tensors("weights")
    assert all(torch.equal(weights[n], before[n]) for n in before if "layer.0" in n or "embeddings" in n)


def test_anchors_are_told_which_entries_move(setup, monkeypatch) -> None:
    name = "bert.encoder.layer.1.output.dense.weight"
    mask = torch.zeros_like(models.load(setup().start, setup().home).encoder_parameters()[name], dtype=torch.bool)
    mask[:5] = True
    hold, seen = ewc.hold, []

    def looks(origin, options):
        seen.append((origin.masks, hold(origin, options)))
        return seen[-1][1]

    monkeypatch.setattr(ewc, "hold", looks)
    setup(chosen=Selection(partial={name: mask}), remember=(OLD,), anchors=[{"ewc": 6.0}], training={"epochs": 1}).run()
    ((masks, anchor),) = seen
    assert masks.keys() == {name} and torch.equal(masks[name], mask)
    assert anchor.strength == pytest.approx(6.0 / 0.5), "what the setup's importance is everywhere"


def test_layer_norms_are_unfrozen_layer_by_layer(setup, started) -> None:
    names = frozenset(anatomy.layer_norms(models.load(started, setup().home)))
    moved = []
    for epochs in (1, 2, 3, 4):
        raw = {"parameters": "layernorm", "schedule": ["unfreezing"], "training": {"epochs": epochs}}
        tuning = setup(chosen=Selection(whole=names), start=started, **raw)
        before, after = encoder(tuning, type("T", (), {"adapter": started.adapter})), encoder(tuning, tuning.run())
        moved.append({name for name in names if not torch.equal(after[name], before[name])})
    layers = [{name for name in names if f"layer.{number}." in name} for number in (1, 0)]
    assert moved == [set(), layers[0], layers[0] | layers[1], names]


def test_a_loss_that_is_no_number_stops_at_its_step(setup, started, monkeypatch) -> None:
    calls = iter(range(1, 100))
    plain = sft.loss

    def breaks(logits, labels, options):
        return plain(logits, labels, options) * (float("nan") if next(calls) == 9 else 1.0)

    tuning = setup(start=started)
    monkeypatch.setattr(sft, "loss", breaks)
    with pytest.raises(Diverged, match=r"at step 9: the loss is nan; the last good checkpoint, of step 6, is kept"):
        tuning.run()
    last = checkpoints.newest(tuning.home.checkpoints / tuning.key())
    assert last.step == 6
    assert all(torch.isfinite(value).all() for value in last.tensors("weights").values())


def test_an_exploding_loss_stops_too(setup, started) -> None:
    with pytest.raises(Diverged, match=r"the loss is .*; .*Lower training.learning_rate"):
        setup(start=started, anchors=[{"l2sp": 1e6}], training={"learning_rate": 1.0}).run()


def test_an_infinite_gradient_stops_before_the_step(setup, started, monkeypatch) -> None:
    def steep(logits, labels, options):
        return (logits.sum(1) - logits.sum(1).detach()).abs().sqrt() + 1.0

    monkeypatch.setattr(sft, "loss", steep)
    with pytest.raises(Diverged, match=r"at step 1: the gradient norm is (nan|inf); no checkpoint had been written"):
        setup(start=started).run()


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")]
)
def test_out_of_memory_says_what_to_do(setup, started, monkeypatch, error: Exception) -> None:
    def greedy(logits, labels, options):
        raise error

    monkeypatch.setattr(sft, "loss", greedy)
    with pytest.raises(HoldfastError, match=r"out of memory with training.batch 7 .* lower one"):
        setup(start=started).run()


def test_other_errors_pass_through(setup, started, monkeypatch) -> None:
    def broken(logits, labels, options):
        raise RuntimeError("something else")

    monkeypatch.setattr(sft, "loss", broken)
    with pytest.raises(RuntimeError, match="something else"):
        setup(start=started).run()


def test_a_new_head_is_made_and_the_old_ones_are_kept_as_they_were(setup, started) -> None:
    from safetensors.torch import load_file

    tuning = setup(start=started, learn={"train": "a.csv", "head": "other"})
    folder = tuning.home.store.open(tuning.run().adapter)
    assert json.loads((folder / "heads.json").read_text()).keys() == {"mood", "other"}
    heads = load_file(folder / "heads.safetensors")
    before = load_file(tuning.home.store.open(started.adapter) / "heads.safetensors")
    assert torch.equal(heads["mood/classifier.weight"], before["mood/classifier.weight"])
    assert not torch.equal(heads["other/classifier.weight"], heads["mood/classifier.weight"])


def test_replayed_rows_are_scored_by_their_own_head(setup, started, monkeypatch) -> None:
    """With a new head `other` of the same size, every replayed row's logits come from the frozen head `mood`."""
    from holdfast.training.forward import Forward

    seen: list[tuple[str, set[str]]] = []
    plain = Forward.logits

    def watched(self, head, rows):
        seen.append((head, {self.pool.examples[self.positions[row]].task for row in rows}))
        return plain(self, head, rows)

    monkeypatch.setattr(Forward, "logits", watched)
    learn = {"train": "a.csv", "head": "other"}
    setup(start=started, learn=learn, remember=(OLD,), examples={"replay": 0.5}).run()
    assert {(head, *tasks) for head, tasks in seen} == {("other", ""), ("mood", "old")}


def test_a_remembered_head_that_is_not_there_is_bad_input(setup, started) -> None:
    lost = OLD.model_copy(update={"head": "lost"})
    with pytest.raises(BadInput, match=r"`old` is scored by the head `lost`"):
        setup(start=started, remember=(lost,), examples="replay").run()


def test_the_process_is_left_as_it_was(setup, started) -> None:
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    expected = (random.random(), np.random.rand(), torch.rand(1).item())
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    tuning = setup(start=started)
    tuning.run()
    assert (random.random(), np.random.rand(), torch.rand(1).item()) == expected
    assert not torch.are_deterministic_algorithms_enabled()
    assert {path.name for path in tuning.home.path.iterdir()} <= {
        "artifacts",
        "checkpoints",
        "holdfast-home",
        ".gitignore",
        "scratch",
    }
    assert not list(tuning.home.checkpoints.iterdir())


def test_the_key_changes_with_every_input_that_decides_and_no_other(setup, started) -> None:
    tuning = setup(start=started)
    moved = tuning.validated.model_copy(update={"quarantined": 3})
    same = type(tuning)(**{**vars(tuning), "validated": moved})
    heads = started.model_copy(update={"heads": {"mood": HeadInfo(labels=("positive", "negative"))}})
    others = [
        tuning.with_(seed=4),
        setup(),
        setup(start=started, anchors=["l2sp"]),
        setup(start=started, chosen=Selection(whole=frozenset({"bert.pooler.dense.bias"}))),
        type(tuning)(**{**vars(tuning), "start": heads}),
    ]
    assert same.key() == tuning.key()
    assert len({tuning.key(), *(other.key() for other in others)}) == 1 + len(others)


def test_bf16_runs_where_asked_for_and_keeps_full_precision_weights(setup, started) -> None:
    plain = setup(start=started)
    lowered = plain.with_(precision="bf16")
    tuned = lowered.run()
    assert tuned.adapter != plain.run().adapter
    assert all(value.dtype == torch.float32 for value in lowered.adapter(tuned).values())
