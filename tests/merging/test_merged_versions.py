"""Versions of one start model merged: the numbers by hand, one version alone as it was, and what cannot be merged."""

import pytest
import torch

from holdfast import inference, models
from holdfast.errors import BadInput
from holdfast.merging import merge as merging
from holdfast.records import Merge
from holdfast.selection import Selection
from tests.merging import versions
from tests.merging.versions import merged

TEXTS = ["the movie was good", "a very nasty service"]
LAYER = "bert.encoder.layer"
LORA = {"r": 2, "lora_alpha": 4, "target_modules": ["encoder.layer.0.attention.self.query"]}


@pytest.fixture
def tuned(home, tiny_start):
    """Return a function that tunes a start at random within a selection."""

    def run(chosen, seed, start=tiny_start, **head):
        return versions.tuned(start, chosen, seed, home, **head)

    return run


def test_one_version_at_weight_1_answers_as_it_did(tuned, tiny_start, home):
    for chosen in (Selection(added=LORA), Selection(whole=frozenset({f"{LAYER}.1.output.dense.weight"}))):
        version = tuned(chosen, 3)
        again, _ = merged([version], tiny_start, home)
        loaded, wanted = models.load(again, home), models.load(version, home)
        difference = inference.logits(loaded, TEXTS, precision="fp32") - inference.logits(
            wanted, TEXTS, precision="fp32"
        )
        assert abs(difference).max() <= 1e-6 and (loaded.head, loaded.labels) == ("mood", ("a", "b"))


def test_the_encoder_and_a_common_head_move_by_the_sum_of_what_they_moved(tuned, tiny_start, home):
    origin = tuned(Selection(), 1)
    name = f"{LAYER}.1.output.dense.weight"
    parents = [tuned(Selection(whole=frozenset({name})), 2, origin), tuned(Selection(added=LORA), 3, origin)]
    start, selected = merged(parents, origin, home, weights=[0.5, 2.0])
    begun, one, two, found = (models.load(version, home) for version in (origin, *parents, start))
    for place in (name, f"{LAYER}.0.attention.self.query.weight"):
        b, x, y = (m.encoder_parameters()[place] for m in (begun, one, two))
        torch.testing.assert_close(
            found.encoder_parameters()[place], b + 0.5 * (x - b) + 2 * (y - b), rtol=0, atol=1e-7
        )
    b, x, y = (m.heads["mood"].parameters["classifier.weight"] for m in (begun, one, two))
    torch.testing.assert_close(found.heads["mood"].parameters["classifier.weight"], b + 0.5 * (x - b) + 2 * (y - b))
    assert selected.moved == 32 * 64 + 32 * 32


def test_ties_leaves_what_was_trimmed_where_it_was(tuned, tiny_start, home):
    names = frozenset({f"{LAYER}.1.output.dense.weight", f"{LAYER}.0.output.dense.weight"})
    parents = [tuned(Selection(whole=names), seed) for seed in (2, 3)]
    _, selected = merged(parents, tiny_start, home, "ties", density=0.01)
    most = round(0.01 * selected.total)
    assert most < selected.moved <= 2 * most


def test_heads_that_only_versions_have_are_their_mean_or_as_they_are(tuned, tiny_start, home):
    first, second = tuned(Selection(), 1), tuned(Selection(), 2)
    third = tuned(Selection(), 3, head="topic", labels=("x", "y", "z"))
    start, _ = merged([first, second, third], tiny_start, home, weights=[1.0, 3.0, 5.0])
    heads = models.load(start, home).heads
    a, b = (models.load(version, home).heads["mood"].parameters["classifier.weight"] for version in (first, second))
    torch.testing.assert_close(heads["mood"].parameters["classifier.weight"], 0.25 * a + 0.75 * b)
    own = models.load(third, home).heads["topic"].parameters["classifier.bias"]
    assert torch.equal(heads["topic"].parameters["classifier.bias"], own)


def test_what_cannot_be_merged_is_refused(tuned, tiny_start, home):
    first, other = tuned(Selection(), 1), tuned(Selection(), 2, labels=("a", "c"))
    beside = {"peft_type": "HOLDFAST_BOTTLENECK", "size": 2, "target_modules": ["encoder.layer.0.output.dense"]}
    with pytest.raises(BadInput, match="has other labels in one version"):
        merged([first, other], tiny_start, home)
    with pytest.raises(BadInput, match=r"no version has the head `topic`.*one of mood"):
        merged([first], tiny_start, home, head="topic")
    for weights in ([1.0, -1.0], [1e308, 1e308]):
        with pytest.raises(BadInput, match="do not add up to a number above 0"):
            merged([first, tuned(Selection(), 4)], tiny_start, home, weights=weights)
    with pytest.raises(BadInput, match=r"cannot be merged: what HOLDFAST_BOTTLENECK adds"):
        merged([tuned(Selection(added=beside), 5)], tiny_start, home)
    later = tuned(Selection(), 6, first)
    wanted = Merge(how="ties", weights=(1.0, 1.0), density=0.2, parents=(first, later))
    with pytest.raises(BadInput, match=r"was tuned from models:/v/1.*the same start model"):
        merging.check(wanted, [tiny_start, first], home)


@pytest.mark.parametrize("how", ["task-arithmetic", "ties"])
def test_weights_that_make_numbers_infinite_are_refused(tuned, tiny_start, home, how):
    origin = tuned(Selection(), 1)
    encoder = Selection(whole=frozenset({f"{LAYER}.1.output.dense.weight"}))
    for parents in ([tuned(encoder, 2)], [tuned(Selection(), 3, origin), tuned(encoder, 4, origin)]):
        given = {"how": how, "weights": [1e300] * len(parents), "density": 0.5 if how == "ties" else None}
        with pytest.raises(BadInput, match=r"key `merge.weights`: merged with the weights 1e\+300.* are not finite"):
            merged(parents, origin if len(parents) > 1 else tiny_start, home, **given)


def test_weights_under_which_the_model_says_no_numbers_are_refused(tuned, tiny_start, home):
    """The merged numbers are finite, what the layers make of them is not."""
    layer = Selection(whole=frozenset({f"{LAYER}.1.output.dense.weight"}))
    with pytest.raises(BadInput, match=r"weights 1e\+30, .* what it says are not finite"):
        merged([tuned(layer, 2)], tiny_start, home, weights=[1e30])
