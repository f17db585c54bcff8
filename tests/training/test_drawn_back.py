"""A schedule that leads back: the weights are those of a hand computation, the share the best on `valid`."""

import pytest
import torch

from holdfast import models, spec
from holdfast.forgetting.watch import Look, Seen, Watch
from holdfast.schedules import wise

pytestmark = pytest.mark.slow

OLD = spec.Remember(name="old", train="a.csv", valid="a.csv", test="a.csv", head="mood")


def weights(tuning, adapter):
    start = tuning.start.model_copy(update={"adapter": adapter})
    return {name: p.detach() for name, p in models.load(start, tuning.home).encoder_parameters().items()}


def test_the_tuned_weights_are_the_share_of_the_way_that_is_asked_for(setup, started) -> None:
    short = {"training": {"epochs": 1}}
    plain, back = setup(start=started, **short), setup(start=started, schedule=["plain", {"wise": 0.25}], **short)
    full, drawn = plain.run(), back.run()
    begun, tuned, found = (weights(plain, one) for one in (started.adapter, full.adapter, drawn.adapter))
    moved = [name for name in tuned if not torch.equal(begun[name], tuned[name])]
    assert moved and back.curve(drawn)["share"] == 0.25 and plain.curve(full)["share"] is None
    for name in found:
        torch.testing.assert_close(found[name], begun[name] + 0.25 * (tuned[name] - begun[name]), rtol=0, atol=1e-7)


def test_the_share_is_chosen_on_valid_of_the_target_and_what_is_remembered(setup, started, monkeypatch) -> None:
    looked = []

    def look(self):
        looked.append(1)
        after = {1: 0.9, 2: 0.95, 3: 0.9, 4: 0.8}[len(looked)]
        return Look(Seen("target", 10, 0.5, after, 1.0, 1.0), (Seen("old", 10, 0.9, 0.9, 0.3, 0.3, 0.05),))

    monkeypatch.setattr(Watch, "look", look)
    tuning = setup(start=started, remember=(OLD,), schedule={"wise": "valid"}, training={"epochs": 1}, control=None)
    assert tuning.recipe.control.enabled is False
    tuned = tuning.run()
    assert len(looked) == 4 and tuned.trajectory is None
    assert tuning.curve(tuned)["share"] == 0.5


@pytest.mark.parametrize(("losses", "chosen"), [((0.3, 0.2, 0.4, 0.5), 0.5), ((0.3, 0.3, 0.3, 0.1), 1.0)])
def test_equal_accuracies_are_told_apart_by_log_loss(losses, chosen) -> None:
    at = dict(zip((0.25, 0.5, 0.75, 1.0), losses, strict=True))
    found = wise.share(lambda s: Look(Seen("target", 9, 0.5, 0.7, 1.0, at[s]), ()), wise.Options(alpha="valid"))
    assert found == chosen
