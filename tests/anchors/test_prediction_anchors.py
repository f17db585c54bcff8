"""LwF and KL against the written-out formulas, by value and by gradient; the start's logits are looked up."""

import numpy as np
import pytest
import torch

from holdfast import inference, models, selection
from holdfast.anchors import _divergence, _origin, kl, lwf
from holdfast.home import Home
from holdfast.records import Start
from holdfast.selection import Selection
from holdfast.training import batches
from holdfast.training.forward import Forward
from holdfast.training.pool import Example, Pool

TEXTS = ["the movie was good", "a very bad food", "nice service", "the food is not great", "bad", "good good good"]
TASKS = ["", "", "", "", "old", "old"]
HEADS = ["mood", "mood", "mood", "mood", "topic", "topic"]


@pytest.fixture
def model(home: Home, tiny_start: Start) -> models.Model:
    """The tiny encoder, moving whole, with the new head `mood` in place and the old head `topic` of three labels."""
    model = models.load(tiny_start, home)
    model.add_head("topic", ("x", "y", "z"), seed=4)
    model.add_head("mood", ("a", "b"), seed=1)
    for head in model.heads.values():
        for parameter in head.parameters.values():
            parameter.data.mul_(60)
    selection.attach(model, Selection(whole=frozenset(model.encoder_parameters())))
    return model


@pytest.fixture
def pool(model: models.Model) -> Pool:
    examples = [Example(text, head, 0, task) for text, head, task in zip(TEXTS, HEADS, TASKS, strict=True)]
    return Pool(tuple(examples), tuple(inference.encode(model, TEXTS, 16)))


@pytest.fixture
def origin(model: models.Model, pool: Pool) -> _origin.Origin:
    def logits(head: str, positions: list[int]) -> torch.Tensor:
        model.use_head(head)
        found = inference.logits(model, pool.texts(positions), precision="fp32")
        model.use_head("mood")
        return torch.from_numpy(found)

    return _origin.Origin(model, pool, ("topic",), 3, dict, logits)


def batch(model: models.Model, pool: Pool, positions: list[int], step: int = 0) -> Forward:
    def load(rows: list[int]) -> dict[str, torch.Tensor]:
        inputs = batches.collate(model, pool, rows)
        return {name: value for name, value in inputs.items() if name != "positions"}

    return Forward(model, pool, load(positions), positions, step=step, precision="fp32", load=load)


def start_and_now(model: models.Model, pool: Pool, origin: _origin.Origin, head: str, rows: list[int]):
    """The start's logits on rows as plain numbers, then (after the model moved) the present ones with a graph."""
    before = origin.logits(head, rows).double().numpy()
    with torch.no_grad():
        for parameter in model.encoder_parameters().values():
            parameter.mul_(1.3)

    def now() -> torch.Tensor:
        model.use_head(head)
        inputs = {n: v for n, v in batches.collate(model, pool, rows).items() if n != "positions"}
        logits = model.network(**inputs).logits.double()
        model.use_head("mood")
        return logits

    return before, now


def written_kl(before: np.ndarray, now: torch.Tensor, t: float) -> torch.Tensor:
    """sum_k p_k log(p_k / q_k) per row, p and q softmaxes at temperature t, spelt out."""
    p = torch.from_numpy(np.exp(before / t) / np.exp(before / t).sum(1, keepdims=True))
    q = torch.exp(now / t) / torch.exp(now / t).sum(1, keepdim=True)
    return (p * (p / q).log()).sum(1)


def gradients(model: models.Model, value: torch.Tensor) -> torch.Tensor:
    model.network.zero_grad()
    value.backward()
    return torch.cat([p.grad.flatten().double() for p in model.encoder_parameters().values() if p.grad is not None])


def check(model: models.Model, penalty: torch.Tensor, written: torch.Tensor) -> None:
    assert penalty.item() > 1e-2
    assert penalty.item() == pytest.approx(written.item(), rel=1e-4)
    ours, theirs = gradients(model, penalty), gradients(model, written)
    assert torch.allclose(ours, theirs, rtol=1e-3, atol=1e-5 * theirs.abs().max().item())


def test_lwf_holds_old_heads_on_new_rows(model: models.Model, pool: Pool, origin: _origin.Origin) -> None:
    anchor = lwf.hold(origin, lwf.Options(strength=0.5, temperature=3.0))
    before, now = start_and_now(model, pool, origin, "topic", [3, 1])
    penalty = anchor(batch(model, pool, [3, 4, 1]))  # row 4 is replayed: no new-task input
    check(model, penalty, 0.5 * 9.0 * written_kl(before, now(), 3.0).sum() / 3)


def test_lwf_of_a_batch_in_parts_is_that_of_the_whole(model: models.Model, pool: Pool, origin: _origin.Origin) -> None:
    anchor = lwf.hold(origin, lwf.Options())
    start_and_now(model, pool, origin, "topic", [3])
    whole = anchor(batch(model, pool, [3, 1, 4, 5]))
    parts = [anchor(batch(model, pool, rows)) for rows in ([3, 1], [4, 5])]  # rows 4 and 5 are replayed
    assert parts[0] > 0.01
    assert whole.item() == pytest.approx(sum(parts).item() / 2, rel=1e-4)


def test_lwf_of_replayed_rows_alone_is_zero(model: models.Model, pool: Pool, origin: _origin.Origin) -> None:
    assert lwf.hold(origin, lwf.Options())(batch(model, pool, [4, 5])).item() == 0.0


def test_lwf_without_remembered_heads_holds_the_head_in_place(model, pool, origin) -> None:
    alone = _origin.Origin(model, pool, (), 3, dict, origin.logits)
    assert list(lwf.hold(alone, lwf.Options()).state) == ["mood"]


def test_kl_on_training_rows_uses_each_rows_own_head(model: models.Model, pool: Pool, origin: _origin.Origin) -> None:
    anchor = kl.hold(origin, kl.Options(strength=2.0, on="training"))
    before_mood = origin.logits("mood", [2, 0]).double().numpy()
    before_topic, now_topic = start_and_now(model, pool, origin, "topic", [5])
    inputs = {n: v for n, v in batches.collate(model, pool, [2, 0]).items() if n != "positions"}
    mood = written_kl(before_mood, model.network(**inputs).logits.double(), 1.0)
    topic = written_kl(before_topic, now_topic(), 1.0)
    check(model, anchor(batch(model, pool, [2, 5, 0])), 2.0 * torch.cat([mood, topic]).mean())


def test_kl_on_remembered_rows_draws_its_own_batch(model: models.Model, pool: Pool, origin: _origin.Origin) -> None:
    anchor = kl.hold(origin, kl.Options(batch=2))
    before, now = start_and_now(model, pool, origin, "topic", [4, 5])
    check(model, anchor(batch(model, pool, [0, 1])), written_kl(before, now(), 1.0).mean())


def test_kl_draws_depend_on_the_step_alone(model: models.Model, pool: Pool, origin: _origin.Origin) -> None:
    anchor = kl.hold(origin, kl.Options(batch=1))
    start_and_now(model, pool, origin, "topic", [4])
    values = [anchor(batch(model, pool, [0], step)).item() for step in range(8)]
    again = [anchor(batch(model, pool, [1], step)).item() for step in range(8)]
    assert values == again
    assert len(set(values)) == 2


def test_the_start_gets_no_gradient() -> None:
    start, logits = torch.tensor([[1.0, 2.0]], requires_grad=True), torch.tensor([[2.0, 0.0]], requires_grad=True)
    _divergence.forward_kl(start, logits).sum().backward()
    assert start.grad is None
    p, q = torch.softmax(torch.tensor([1.0, 2.0]), 0), torch.softmax(torch.tensor([2.0, 0.0]), 0)
    assert torch.allclose(logits.grad, (q - p)[None], atol=1e-6)  # the closed form of the gradient of KL(p || q)


@pytest.mark.parametrize(("on", "needed"), [("auto", True), ("remembered", True), ("training", False)])
def test_kl_says_whether_it_wants_remembered_rows(on: str, needed: bool) -> None:
    assert kl.needs_remembered(kl.Options(on=on)) is needed
