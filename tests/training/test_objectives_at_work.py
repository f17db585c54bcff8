"""Objectives inside a tuning: teachers, PSFT's refreshes and warm-up, batches in parts."""

import pytest
import torch

from holdfast import inference, models, rows
from holdfast.errors import BadInput, HoldfastError
from holdfast.training import job, modes, objective
from holdfast.training import tune as tuning

ONE_EPOCH = {"epochs": 1}


@pytest.fixture
def no_dropout(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every tuning in the test runs without dropout, so that objectives can be compared."""
    monkeypatch.setattr(modes, "train", lambda model, frozen: model.network.eval())


def weights(setup, started, **raw) -> dict[str, torch.Tensor]:
    made = setup(start=started, **raw)
    return made.adapter(made.run())


def furthest(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> float:
    assert first.keys() == second.keys()
    return max((first[name] - second[name]).abs().max().item() for name in first)


def test_psft_refreshed_at_every_update_is_sft(setup, started, no_dropout) -> None:
    sft = weights(setup, started, training=ONE_EPOCH)
    assert furthest(weights(setup, started, training=ONE_EPOCH, objective={"psft": 1}), sft) == 0.0
    other = weights(setup, started, training=ONE_EPOCH, objective={"psft": 3})
    assert furthest(other, sft) > 1e-5


def curve(setup, started, **raw) -> list[dict[str, float]]:
    made = setup(start=started, **raw)
    return made.curve(made.run())["steps"]


@pytest.mark.parametrize("accumulate", [1, 3])
def test_the_old_self_is_that_of_the_last_refresh_by_updates(accumulate: int, setup, started) -> None:
    training = {"epochs": 1.5, "accumulate": accumulate, "learning_rate": 3e-3}
    steps = curve(setup, started, training=training, objective={"psft": {"refresh": 4, "warm_up": 2, "clip": 0.005}})
    warm, rest = steps[:2], steps[2:]
    assert all(step["objective"] == pytest.approx(step["nll"]) and step["ratio"] == 1 for step in warm)
    for number, step in enumerate(rest):
        fresh = number % 4 == 0
        assert (step["ratio"] == pytest.approx(1, abs=1e-7)) == fresh, number
        assert (abs(step["kl_to_old"]) < 1e-9) == fresh, number
        assert step["objective"] == pytest.approx(-step["ratio"], abs=0.3)
    assert {"entropy", "clipped"} <= rest[0].keys()
    assert any(step["clipped"] > 0 for step in rest)


def test_the_loss_is_worked_out_against_weights_that_were_kept(setup, started, monkeypatch) -> None:
    """What the trainer takes as the old logits are those of a model tuned up to the refresh and no further."""
    seen: dict[int, torch.Tensor] = {}
    plain = objective.Older.on

    def watched(self, batch):
        old = plain(self, batch)

        def ask(head, rows, now):
            found = old(head, rows, now)
            if batch.step in (4, 5):
                kept = {name: p.detach().clone() for name, p in self.moving.items()}
                for name, value in self.weights.items():
                    self.moving[name].data.copy_(value)
                seen[batch.step] = found - batch.again().logits("mood", range(len(batch.positions)))
                for name, value in kept.items():
                    self.moving[name].data.copy_(value)
                snapshots.append({name: value.clone() for name, value in self.weights.items()})
            if batch.step == 3:
                at_refresh.update({name: p.detach().clone() for name, p in self.moving.items()})
            return found

        return ask

    snapshots: list[dict[str, torch.Tensor]] = []
    at_refresh: dict[str, torch.Tensor] = {}
    monkeypatch.setattr(objective.Older, "on", watched)
    setup(start=started, training=ONE_EPOCH, objective={"psft": 3}).run()
    assert furthest(snapshots[0], at_refresh) == furthest(snapshots[1], at_refresh) == 0.0
    assert all(difference.abs().max() == 0 for difference in seen.values())


def test_never_refreshed_it_is_the_ratio_to_the_start(setup, started) -> None:
    steps = curve(setup, started, training={"epochs": 2, "learning_rate": 3e-3}, objective={"psft": "never"})
    assert steps[0]["ratio"] == pytest.approx(1)
    assert all(step["kl_to_old"] > 0 for step in steps[1:])


def test_a_batch_in_parts_gives_the_update_of_the_whole(setup, started, no_dropout) -> None:
    whole = setup(start=started, training=ONE_EPOCH, anchors={"l2sp": 0.5})
    parts = whole.with_(accumulate=3)
    first, second = whole.run(), parts.run()
    assert first.steps == second.steps == 6
    one, other = whole.adapter(first), parts.adapter(second)
    for name in (name for name in one if not name.endswith("key.bias")):  # its gradient is 0 but for rounding
        assert torch.allclose(other[name], one[name], rtol=0, atol=5e-5), name
    for one, other in zip(whole.curve(first)["steps"], parts.curve(second)["steps"], strict=True):
        assert other == pytest.approx(one, rel=1e-3, abs=1e-6)


def made_job(tuning_setup, teacher=None) -> job.Job:
    s = tuning_setup
    given = job.Given(s.selected, s.assessed, s.validated, s.start, s.recipe, s.remember, s.home, teacher)
    model = models.load_with_head(s.start, s.home, "mood", s.validated.labels, 3)
    return job.make(given, model, s.chosen, s.home.checkpoints / "x", None)


def test_without_a_name_the_start_model_is_the_teacher(setup, started) -> None:
    made = setup(start=started, objective="target")
    work = made_job(made)
    texts = rows.texts(rows.read(made.home, made.validated.datasets["learn.train"]))
    model = models.load_with_head(started, made.home, "mood", made.validated.labels, 3)
    wanted = inference.logits(model, texts, max_length=16, precision="fp32")
    assert torch.equal(work.objective.teacher.by_head["mood"].at([3, 1]), torch.from_numpy(wanted[[3, 1]]))
    assert work.anchored_to != made_job(setup(start=started)).anchored_to


def test_a_teachers_labels_are_put_in_the_students_order(setup, started, monkeypatch) -> None:
    made = setup(start=started, objective={"kd": "models:/t/1"})
    straight = made_job(made, started).objective.teacher.by_head["mood"].logits
    load = models.load

    def reversed_head(start, home):
        model = load(start, home)
        head = model.heads["mood"]
        for parameter in head.parameters.values():
            parameter.data = parameter.data.flip(0)
        model.heads["mood"] = models.Head(head.labels[::-1], head.parameters)
        return model

    work = made_job(made, started)
    with monkeypatch.context() as patch:
        patch.setattr(objective.models, "load", reversed_head)
        logits = objective.of_another(started, made.home, work.pool, work.training, work.model)
        found = logits("mood", range(len(work.pool.examples)))
    assert torch.equal(found, straight)


def test_a_teacher_without_the_head_is_refused(setup, started, tiny_start) -> None:
    with pytest.raises(BadInput, match="has no head `mood` with the labels negative, positive"):
        made_job(setup(start=started, objective={"kd": "models:/t/1"}), tiny_start)


def test_a_named_teacher_that_is_not_there_is_never_replaced_by_the_start(setup, started) -> None:
    with pytest.raises(HoldfastError, match="models:/t/1 was not handed over"):
        made_job(setup(start=started, objective={"kd": "models:/t/1"}))


def test_a_student_learns_its_teachers_answers(setup, tiny_start, started) -> None:
    made = setup(start=tiny_start, objective={"kd": "models:/t/1"}, training={"learning_rate": 3e-3})
    s = made
    tuned = tuning.tune(s.selected, s.assessed, s.validated, s.start, s.recipe, s.remember, s.home, teacher=started)
    steps = s.curve(tuned)["steps"]
    assert sum(step["objective"] for step in steps[-6:]) < sum(step["objective"] for step in steps[:6])
    assert {step["reliance"] for step in steps} == {0.0}
