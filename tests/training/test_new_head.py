"""How a new head begins: fitted to the frozen layers, or with random values; an old one is left alone."""

import torch

from holdfast import models
from holdfast.importance import probe
from holdfast.training import tune


def begun(setup):
    return {name: p.detach().clone() for name, p in tune.start_model(setup.given()).head_parameters().items()}


def same(one, other):
    assert one.keys() == other.keys()
    return all(torch.equal(value, other[name]) for name, value in one.items())


def test_a_random_head_is_the_one_that_the_seed_draws(setup) -> None:
    made = setup(training={"new_head": "random"})
    drawn = models.load_with_head(made.start, made.home, "mood", made.validated.labels, 3).head_parameters()
    assert same(begun(made), drawn)
    assert not same(begun(setup()), drawn), "a fitted one is another"
    assert not same(begun(made.with_(seed=4)), drawn), "another seed draws others"


def test_nothing_is_fitted_where_the_head_begins_at_random(setup, monkeypatch) -> None:
    fits: list[int] = []
    monkeypatch.setattr(probe, "fit", lambda *told: fits.append(1))
    setup(training={"new_head": "random"}).run()
    assert not fits
    setup().run()
    assert fits == [1]


def test_an_old_head_begins_as_it_was(setup, started) -> None:
    fitted, random = (setup(start=started, training={"new_head": how}) for how in ("fitted", "random"))
    assert same(begun(fitted), begun(random))
    assert same(fitted.adapter(fitted.run()), random.adapter(random.run()))


def test_a_tuning_is_known_by_how_its_head_begins(setup) -> None:
    assert setup().key() != setup(training={"new_head": "random"}).key()
