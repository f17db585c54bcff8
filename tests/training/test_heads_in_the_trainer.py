"""Heads through the real trainer, by rows and columns: nothing else moves, and they move as by whole gradients."""

from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import pytest
import torch

from holdfast import choices, models, selection, spec
from holdfast.errors import HoldfastError
from holdfast.training import job, sliced, slices
from holdfast.training import tune as tuning

OLD = spec.Remember(name="old", train="o.csv", valid="o.csv", test="o.csv", head="mood")
TRAINING = {"accumulate": 2, "weight_decay": 0.1, "learning_rate": 3e-3, "epochs": 2}
ANCHORS = [{"l2sp": 0.5}, {"ewc": 0.5}]


@dataclass
class Seen:
    """The network's weights before and after a tuning, what could move, and how many linear maps were replaced."""

    before: dict[str, torch.Tensor]
    after: dict[str, torch.Tensor]
    masks: dict[str, torch.Tensor]
    replaced: int

    def changed(self, inside: bool) -> int:
        """How many entries inside or outside the masks changed."""
        return sum(int(((self.before[n] != self.after[n]) & (m == inside)).sum()) for n, m in self.masks.items())


def _all(network) -> dict[str, torch.Tensor]:
    return {name: parameter.detach().clone() for name, parameter in network.named_parameters()}


@pytest.fixture
def tuned(setup, started, monkeypatch):
    """Return what runs a tuning of two heads, their groups and the norms of all layers, and tells what it saw."""

    def run() -> Seen:
        made = setup(start=started, remember=(OLD,), anchors=ANCHORS, training=TRAINING)
        model = models.load_with_head(started, made.home, "mood", ("negative", "positive"), 3)
        raw = {"heads": ["0.1", "1.2"], "layernorm": True}
        found = selection._united(model, None, choices.parse("parameters", raw, "parameters"))
        seen, ready = [], tuning._ready

        @contextmanager
        def watched(work):
            network = work.model.network
            before = _all(network)
            with ready(work):
                replaced = sum("forward" in vars(m) for m in network.modules() if type(m) is torch.nn.Linear)
                yield
            masks = {n: torch.full(p.shape, n not in model.encoder_parameters()) for n, p in before.items()}
            masks |= {n: torch.ones_like(before[n], dtype=torch.bool) for n in found.whole} | found.partial
            seen.append(Seen(before, _all(network), masks, replaced))

        monkeypatch.setattr(tuning, "_ready", watched)
        setup(found, started, (OLD,), anchors=ANCHORS, training=TRAINING).run()
        monkeypatch.setattr(tuning, "_ready", ready)
        return seen[0]

    return run


def _whole_tensors(model, chosen, moving):
    """Step whole tensors, whose gradients `selection.attach` masks."""
    return slices.Slices(moving, {})


def test_frozen_entries_keep_their_bits_and_moving_ones_take_the_steps_of_whole_gradients(tuned, monkeypatch) -> None:
    found = tuned()
    assert found.replaced == 8, "the rows of query, key and value and the columns of the output, in two layers"
    assert found.changed(inside=False) == 0
    assert found.changed(inside=True) > 0.95 * sum(int(mask.sum()) for mask in found.masks.values())
    monkeypatch.setattr(sliced, "only_moving", lambda network, held: nullcontext())
    taken = tuned()
    monkeypatch.setattr(job, "_slices", _whole_tensors)
    whole = tuned()
    for other in (taken, whole):
        assert other.replaced == 0 and other.changed(inside=False) == 0
        for name, values in found.after.items():
            if not name.endswith("key.bias"):  # its gradient is 0 but for rounding, which Adam makes large
                torch.testing.assert_close(values, other.after[name], rtol=1e-4, atol=2e-5, msg=lambda m, n=name: n + m)


def test_decay_on_whole_tensors_leaks_and_the_adapter_is_refused(tuned, monkeypatch) -> None:
    """What would happen without slices, and where it would be noticed."""
    monkeypatch.setattr(job, "_slices", _whole_tensors)
    monkeypatch.setattr(sliced, "only_moving", lambda network, held: nullcontext())
    monkeypatch.setattr(selection, "decays", lambda chosen, name: True)
    with pytest.raises(HoldfastError, match="moved during tuning although the selection froze it"):
        tuned()
