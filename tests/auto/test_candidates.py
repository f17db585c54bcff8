"""Which candidates there are, and their order, from importances made by hand."""

import numpy as np
import pytest

from holdfast import anatomy, models
from holdfast.auto import candidates
from holdfast.errors import BadInput
from holdfast.importance.read import Importance

HEAVY = 50.0


@pytest.fixture
def model(tiny_start, home):
    return models.load_with_head(tiny_start, home, "mood", ("negative", "positive"), 7)


def made(model, task=(), general=()) -> Importance:
    """An importance of 1 per weight everywhere, and of 50 in the tensors whose names hold one of the words."""

    def levels(words):
        names = model.encoder_parameters()
        return {"tensor": {n: HEAVY if any(w in n for w in words) else 1.0 for n in names}, "head": {}, "layer": {}}

    return Importance("fisher", 16, levels(task), None if general is None else levels(general))


def by_family(found):
    return {one.family: one for one in found}


def test_families_are_what_their_names_say(model):
    found = by_family(candidates.ranked(model, made(model)))
    names = {family: {n.removeprefix("bert.") for n in one.names} for family, one in found.items()}
    assert {n.split(".")[0] for n in names["low"]} == {"embeddings", "encoder"}
    assert all(n.startswith(("embeddings.", "encoder.layer.0.")) for n in names["low"])
    assert all(n.startswith(("encoder.layer.1.", "pooler.")) for n in names["high"]) and len(names["high"]) == 18
    assert len(names["norms"]) == 5 * 2 and len(names["attention"]) == 2 * 8 + 10
    assert all("intermediate" in n or ".output.dense" in n for n in names["feed-forward"])
    assert len(names["feed-forward"]) == 2 * 4
    assert found["full"].share == 1 and "middle" not in found  # two layers have no middle
    total = sum(p.numel() for p in model.encoder_parameters().values())
    for one in found.values():
        weights = sum(p.numel() for n, p in model.encoder_parameters().items() if n in one.names)
        assert one.weights == weights and one.share == weights / total
    assert found["low"].parts == ("embeddings", "layer 0") and found["high"].parts == ("layer 1", "pooler")


def test_a_deeper_model_has_a_middle_and_its_ends(network_of):
    found = by_family(candidates.ranked(network_of(6), made(network_of(6))))
    assert found["low"].parts == ("embeddings", "layer 0")
    assert found["middle"].parts == ("layer 2", "layer 3")
    assert found["high"].parts == ("layer 4", "layer 5", "pooler")


@pytest.fixture
def network_of():
    from transformers import AutoModelForSequenceClassification, BertConfig

    def make(layers: int):
        sizes = {"hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 8, "vocab_size": 9}
        config = BertConfig(num_hidden_layers=layers, **sizes)
        return models.Model(AutoModelForSequenceClassification.from_config(config), None)

    return make


def test_the_score_is_the_formula(model):
    importance = made(model, task=["layer.1."], general=["embeddings"])
    sizes = {n: p.numel() for n, p in model.encoder_parameters().items()}
    for one in candidates.ranked(model, importance):
        inside = np.array([n in one.names for n in sizes])
        w = np.array(list(sizes.values()), dtype=float)
        t = w * np.array([importance.task["tensor"][n] for n in sizes])
        g = w * np.array([importance.general["tensor"][n] for n in sizes])
        shares = [(x[inside].sum() / x.sum()) for x in (t, g, w)]
        assert one.score == pytest.approx(np.sqrt(shares[0] / shares[1] * shares[0] / shares[2]))
        assert (one.task, one.general) == (pytest.approx(shares[0]), pytest.approx(shares[1]))


def test_what_the_task_wants_comes_first_and_what_is_to_be_kept_comes_last(model):
    def order(**importance):
        return [one.family for one in candidates.ranked(model, made(model, **importance), ("low", "high", "full"))]

    assert order(task=["layer.1.", "pooler"])[0] == "high" and order(task=["layer.1.", "pooler"])[-1] == "low"
    assert order(task=["embeddings", "layer.0."])[0] == "low"
    assert order(general=["layer.1.", "pooler"])[-1] == "high"
    assert order(general=["embeddings", "layer.0."])[-1] == "low"


def test_without_anything_general_the_order_is_by_importance_per_weight(model):
    importance = made(model, task=["LayerNorm"], general=None)
    found = candidates.ranked(model, importance)
    assert found[0].family == "norms" and found[0].general is None
    assert found[0].score == pytest.approx(found[0].task / found[0].share)
    assert by_family(found)["full"].score == pytest.approx(1)


def test_the_block_is_the_best_run_of_neighbours_that_holds_a_third(network_of):
    model = network_of(6)
    importance = made(model, task=["layer.2.", "layer.3."], general=["layer.5."])
    found = by_family(candidates.ranked(model, importance, ("block",)))
    parts = ["embeddings", *"012345", "pooler"]
    of = {p: [n for n in model.encoder_parameters() if anatomy.part(model, n) == p] for p in parts}
    sizes = {n: p.numel() for n, p in model.encoder_parameters().items()}

    def share(levels, run):
        mass = {n: levels["tensor"][n] * size for n, size in sizes.items()}
        return sum(mass[n] for p in run for n in of[p]) / sum(mass.values())

    ones = {"tensor": dict.fromkeys(sizes, 1.0)}
    runs = [parts[i:j] for i in range(8) for j in range(i + 1, 9) if j - i < 8]
    enough = [run for run in runs if share(importance.task, run) >= 1 / 3]
    best = max(enough, key=lambda r: share(importance.task, r) / (share(importance.general, r) * share(ones, r)) ** 0.5)
    assert best[0] in "23" and found["block"].parts == tuple(f"layer {p}" for p in best)


def test_a_block_that_is_another_family_is_not_named_twice(model):
    found = candidates.ranked(model, made(model, task=["layer.1.", "pooler"]))
    assert len({one.names for one in found}) == len(found)


def test_the_share_is_a_cap_and_too_small_a_one_is_refused(model):
    found = candidates.ranked(model, made(model))
    kept = candidates.under(found, 0.4)
    assert {one.family for one in found} - {one.family for one in kept} >= {"full", "low"}
    assert all(one.share <= 0.4 for one in kept)
    with pytest.raises(BadInput, match=r"no candidate moves at most 0\.001%.*at least 0\.0\d+.*`norms`"):
        candidates.under(found, 1e-5)


def test_the_shortlist_holds_both_ends_and_the_best_of_the_rest(model):
    found = candidates.ranked(model, made(model, task=["pooler", "LayerNorm"], general=["embeddings", "layer.0."]))
    order = [one.family for one in found]
    assert order.index("low") > 3  # it would be left out by rank
    listed = [one.family for one in candidates.shortlist(found, 4)]
    rest = [family for family in order if family not in ("low", "high")]
    assert set(listed) == {"low", "high", *rest[:2]} and listed == sorted(listed, key=order.index)
    assert {one.family for one in candidates.shortlist(found, 2)} == {"low", "high"}
    assert candidates.shortlist(found, 99) == found


def test_an_unknown_architecture_is_refused():
    from transformers import AutoModelForSequenceClassification, MobileBertConfig

    sizes = {"vocab_size": 30, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4}
    sizes |= {"intermediate_size": 32, "embedding_size": 32, "intra_bottleneck_size": 32, "num_feedforward_networks": 1}
    model = models.Model(AutoModelForSequenceClassification.from_config(MobileBertConfig(**sizes)), None)
    with pytest.raises(BadInput, match="`mobilebert` is not in the table"):
        candidates.ranked(model, made(model))
