"""EWC and L2-SP against the written-out formulas, by value and by gradient."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from holdfast import models, selection, spec
from holdfast.anchors import _origin, _quadratic, ewc, l2sp
from holdfast.errors import BadInput, HoldfastError
from holdfast.home import Home
from holdfast.records import Start
from holdfast.selection import Selection
from holdfast.training.pool import Pool

QUERY = "bert.encoder.layer.0.attention.self.query.weight"
BIAS = "bert.encoder.layer.1.output.dense.bias"


class Batch:
    """The one thing that weight anchors ask of a batch."""

    def __init__(self, model: models.Model) -> None:
        self.model = model


@pytest.fixture
def model(home: Home, tiny_start: Start) -> models.Model:
    """The tiny encoder, of which one matrix and one bias move."""
    model = models.load_with_head(tiny_start, home, "mood", ("a", "b"), seed=1)
    selection.attach(model, Selection(whole=frozenset({BIAS, QUERY})))
    return model


@pytest.fixture
def fisher(model: models.Model) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {name: torch.rand(p.shape, generator=generator) for name, p in model.encoder_parameters().items()}


def origin(model: models.Model, fisher: dict[str, torch.Tensor] | None = None) -> _origin.Origin:
    return _origin.Origin(model, Pool((), ()), (), 3, lambda: fisher or {}, lambda head, positions: torch.zeros(0))


def flat(values: dict[str, torch.Tensor]) -> torch.Tensor:
    return torch.cat([values[QUERY].detach().flatten(), values[BIAS].detach().flatten()]).double()


def wander(model: models.Model) -> None:
    """Move every weight a little, frozen ones and the head too: an anchor looks at the moving encoder weights only."""
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.network.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))


def check(anchor: _origin.Anchor, model: models.Model, start: torch.Tensor, weights: torch.Tensor) -> None:
    """Compare with sum_i weights_i / 2 (w_i - start_i)^2 written out, in double precision, by autograd."""
    assert anchor(Batch(model)).item() == 0.0
    wander(model)
    penalty = anchor(Batch(model))
    penalty.backward()
    now = flat(model.encoder_parameters()).requires_grad_()
    written = (weights / 2 * (now - start) ** 2).sum()
    written.backward()
    assert penalty.item() == pytest.approx(written.item(), rel=1e-5)
    gradients = {name: p.grad for name, p in model.encoder_parameters().items() if p.grad is not None}
    assert set(gradients) == {QUERY, BIAS}
    assert torch.allclose(flat(gradients), now.grad, rtol=1e-5, atol=1e-8)
    assert all(p.grad is None for p in model.head_parameters().values())


def test_ewc_weighs_squared_distances_by_fisher(model: models.Model, fisher: dict[str, torch.Tensor]) -> None:
    start = flat(model.encoder_parameters())
    anchor = ewc.hold(origin(model, fisher), ewc.Options(strength=7.0, normalise="none"))
    check(anchor, model, start, 7.0 * flat(fisher))


def test_ewc_with_normalised_fisher(model: models.Model, fisher: dict[str, torch.Tensor]) -> None:
    start = flat(model.encoder_parameters())
    anchor = ewc.hold(origin(model, fisher), ewc.Options(strength=7.0, normalise="mean"))
    check(anchor, model, start, 7.0 * flat(fisher) / flat(fisher).mean())


def test_ewc_takes_the_mean_of_fisher_where_weights_move(model: models.Model, fisher: dict[str, torch.Tensor]) -> None:
    mask = torch.zeros_like(fisher[QUERY], dtype=torch.bool)
    mask[3:11] = True
    selection.attach(model, Selection(whole=frozenset({BIAS}), partial={QUERY: mask}))
    given = replace(origin(model, fisher), masks={QUERY: mask})
    anchor = ewc.hold(given, ewc.Options(strength=7.0))
    entries = torch.cat([fisher[QUERY][mask], fisher[BIAS]]).double()
    assert isinstance(anchor, _quadratic.Quadratic)
    assert anchor.strength == pytest.approx(7.0 / entries.mean().item(), rel=1e-6)


def test_ewc_without_any_fisher_where_weights_move_holds_nothing(model: models.Model) -> None:
    nothing = {name: torch.zeros_like(p) for name, p in model.encoder_parameters().items()}
    anchor = ewc.hold(origin(model, nothing), ewc.Options())
    wander(model)
    assert anchor(Batch(model)).item() == 0.0


def test_l2sp_weighs_all_alike(model: models.Model) -> None:
    start = flat(model.encoder_parameters())
    check(l2sp.hold(origin(model), l2sp.Options(strength=3.0)), model, start, torch.tensor(3.0))


def test_ewc_says_which_weight_has_no_fisher(model: models.Model, fisher: dict[str, torch.Tensor]) -> None:
    del fisher[QUERY]
    with pytest.raises(HoldfastError, match=r"attention\.self\.query"):
        ewc.hold(origin(model, fisher), ewc.Options())


def test_what_ewc_holds_on_to_is_in_its_state(model: models.Model, fisher: dict[str, torch.Tensor]) -> None:
    anchor = ewc.hold(origin(model, fisher), ewc.Options())
    wander(model)
    assert torch.equal(anchor.state[f"curvature/{QUERY}"], fisher[QUERY])
    assert not torch.equal(anchor.state[f"start/{QUERY}"], model.encoder_parameters()[QUERY])


OLD = {"name": "old", "valid": "v.csv", "test": "t.csv"}


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ({"anchors": ["ewc"]}, "needs the Fisher information"),
        ({"anchors": ["ewc"], "remember": [{**OLD, "train": "a.csv"}], "assess": {"measure": "taylor"}}, "taylor"),
        ({"anchors": {"kl": {"on": "remembered"}}, "remember": [OLD]}, "has none"),
        ({"anchors": ["l2sp"], "parameters": "lora"}, "does not move"),
    ],
)
def test_anchors_without_what_they_hold_on_to_are_refused(raw: dict, reason: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=reason):
        spec.parse({"name": "t", "start": {"model": "x"}, "learn": {"train": "a.csv"}, **raw}, tmp_path / "p.yaml")
