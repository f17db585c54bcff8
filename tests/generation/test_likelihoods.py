"""Likelihoods, options and probes against the whole network run on one sequence at a time."""

import contextlib
import json
import zipfile

import numpy as np
import pytest
import torch

from holdfast import bases, inference
from holdfast.errors import BadInput
from holdfast.generation import decoders, encoding, forks, likelihood, options, probes
from holdfast.generation.encoding import IGNORED, Encoder
from holdfast.generation.likelihood import Compute
from holdfast.records import Start

from .conftest import SHAPES, TEMPLATE

SMALL = Compute(batch=3, chunk=5, precision="fp32")
PAIRS = [("2 + 2?", "4"), ("say it", "the ant and the man"), ("a longer prompt than most", "no"), ("x", "12 12")]
PROMPTS = ["the man said", "2 + 12 =", "an ant", "so then the other one ran off"]
OPTIONS = [["yes", "no, never"], ["14", "15", "the", "1"], ["a", "b"], ["the end", "x"]]


def naive(model, ids, labels) -> list[float]:
    """Log-probabilities of the labelled tokens: one sequence, all logits at once, in float64."""
    with torch.inference_mode():
        logits = model.network(input_ids=torch.tensor([list(ids)])).logits[0].double()
    chances = torch.log_softmax(logits, -1)
    return [float(chances[i - 1, label]) for i, label in enumerate(labels) if label != IGNORED]


def naive_option(model, prompt: str, option: str) -> list[float]:
    encoder = Encoder(model.tokenizer)
    before, said = encoder.prompt(prompt), encoder.option(option)
    return naive(model, [*before, *said], [IGNORED] * len(before) + said)


@pytest.mark.parametrize("shape", SHAPES)
def test_log_probabilities_of_answers(model, shape):
    loaded = model(shape)
    encoded = [Encoder(loaded.tokenizer).pair(*pair) for pair in PAIRS]
    found = likelihood.of_tokens(loaded, encoded, SMALL)
    wanted = [naive(loaded, one.input_ids, one.labels) for one in encoded]
    for one, values, alone in zip(encoded, found, wanted, strict=True):
        assert len(values) == one.scored
        assert np.allclose(values, alone, atol=1e-4)
    assert np.allclose(likelihood.sums(found), [sum(w) for w in wanted], atol=1e-3)
    assert np.allclose(likelihood.means(found), [sum(w) / len(w) for w in wanted], atol=1e-4)
    assert likelihood.nll(found) == pytest.approx(-np.mean(np.concatenate(wanted)), abs=1e-4)


def test_the_logits_of_all_tokens_are_never_there_at_once(model):
    loaded, seen = model(), []
    loaded.network.get_output_embeddings().register_forward_hook(lambda m, i, output: seen.append(output.shape[0]))
    encoded = [Encoder(loaded.tokenizer).pair(*pair) for pair in PAIRS]
    likelihood.of_tokens(loaded, encoded, SMALL)
    assert max(seen) <= 5 and sum(seen) == sum(one.scored for one in encoded)
    seen.clear()
    probes.drift(loaded, loaded, encoded, SMALL)
    assert max(seen) <= 5


@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("cast", [False, True])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_part_of_the_vocabulary_at_a_time_gives_the_log_softmax_of_all(model, precision, cast, biased, monkeypatch):
    loaded, sizes = model(), []
    layer = loaded.network.get_output_embeddings()
    if biased:
        layer.bias = torch.nn.Parameter(torch.randn(layer.out_features, generator=torch.Generator().manual_seed(1)))
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(7, layer.in_features, generator=generator)
    predicts = torch.tensor([0, 6, 3, 3, 1, 5, 0, 2, 4])
    targets = torch.randint(0, layer.out_features, (9,), generator=generator)
    targets[0], targets[1] = 0, layer.out_features - 1
    compute = Compute(chunk=4, precision=precision)
    monkeypatch.setattr(likelihood, "_STATES", 3)
    monkeypatch.setattr(likelihood, "_COLUMNS", 5)
    linear = torch.nn.functional.linear
    once = inference.cast_once(loaded.network, precision) if cast else contextlib.nullcontext()
    with torch.inference_mode(), once:
        wanted = likelihood.log_softmax(loaded, states, compute)[predicts, targets]
        with monkeypatch.context() as patched:
            patched.setattr(torch.nn.functional, "linear", lambda *a, **k: sizes.append(linear(*a, **k)) or sizes[-1])
            found = likelihood.of_states(loaded, states, targets, compute, predicts)
        alone = likelihood.of_states(loaded, states[predicts], targets, compute)
    assert found.dtype == torch.float64
    assert torch.allclose(found, wanted.double(), atol=1e-5) and torch.allclose(found, alone, atol=1e-5)
    assert all(one.shape[0] <= 3 and one.shape[1] <= 5 for one in sizes) or cast


def test_whoever_watches_the_output_layer_is_called(model):
    loaded, seen = model(), []
    layer = loaded.network.get_output_embeddings()
    assert inference.linear_map(layer, "fp32") is not None
    layer.register_forward_hook(lambda m, i, output: seen.append(output.shape))
    assert inference.linear_map(layer, "fp32") is None
    likelihood.of_states(loaded, torch.zeros(3, layer.in_features), torch.zeros(3, dtype=torch.int64), SMALL)
    assert seen == [(3, layer.out_features)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("normalise", ["none", "tokens", "characters"])
def test_options_sharing_their_prompt_s_keys_score_as_they_do_alone(model, shape, normalise):
    loaded = model(shape, TEMPLATE)
    found = options.scores(loaded, PROMPTS, OPTIONS, normalise, SMALL)
    for prompt, mine, values in zip(PROMPTS, OPTIONS, found, strict=True):
        alone = [naive_option(loaded, prompt, option) for option in mine]
        by = {"none": [1] * len(mine), "tokens": [len(a) for a in alone], "characters": [len(o) for o in mine]}
        wanted = [sum(one) / length for one, length in zip(alone, by[normalise], strict=True)]
        assert np.allclose(values, wanted, atol=1e-3)
    assert options.choose(loaded, PROMPTS, OPTIONS, normalise, SMALL) == [int(np.argmax(v)) for v in found]


def test_options_of_one_token_need_no_second_pass(model):
    loaded, calls = model(), []
    loaded.network.base_model.register_forward_hook(lambda *given: calls.append(1))
    found = options.scores(loaded, ["what?"], [["a", "b", "c"]], compute=SMALL)
    assert len(calls) == 1
    assert np.allclose(found[0], [sum(naive_option(loaded, "what?", o)) for o in "abc"], atol=1e-4)


def test_an_empty_option_is_refused(model):
    with pytest.raises(BadInput, match="row 2, key `choices`: an option is empty"):
        options.scores(model(), ["a", "b"], [["x"], ["y", ""]])


def test_a_text_s_likelihood_is_that_of_its_windows(model):
    loaded = model()
    text = "the ant and the man ran 12 miles then\n" * 4
    ids = loaded.tokenizer(text)["input_ids"]
    opening, wanted = loaded.tokenizer.bos_token_id, []
    for first in range(0, len(ids), 15):
        part = ids[first : first + 15]
        wanted += naive(loaded, [opening, *part], [IGNORED, *part])
    assert len(wanted) == len(ids)
    assert probes.text_nll(loaded, text, 16, SMALL) == pytest.approx(-np.mean(wanted), abs=1e-4)
    with pytest.raises(BadInput, match="empty"):
        probes.text_nll(loaded, "")


def test_minimal_pairs(model):
    loaded = model()
    pairs = [("the man ran", "the man rans"), ("ants are", "ants is"), ("then", "than"), ("same", "same")]
    opening = loaded.tokenizer.bos_token_id

    def total(sentence: str) -> float:
        ids = loaded.tokenizer(sentence)["input_ids"]
        return sum(naive(loaded, [opening, *ids], [IGNORED, *ids]))

    wanted = [total(good) > total(bad) for good, bad in pairs]
    assert probes.minimal_pairs(loaded, pairs, SMALL).tolist() == [*wanted[:3], False]


@pytest.mark.parametrize("shape", SHAPES)
def test_pairs_that_begin_alike_have_the_likelihoods_that_they_have_apart(model, shape, monkeypatch):
    loaded, read, scored, of_states = model(shape), [], [], likelihood.of_states
    monkeypatch.setattr(
        likelihood, "of_states", lambda m, s, t, *a: scored.append((len(s), len(t))) or of_states(m, s, t, *a)
    )
    loaded.network.get_input_embeddings().register_forward_hook(lambda m, i, output: read.append(i[0].numel()))
    texts = [("the man ran off", "the man rans"), ("then", "than the others"), ("an ant", "an ant and"), ("x", "x")]
    pairs = [tuple(Encoder(loaded.tokenizer).text(text).input_ids for text in pair) for pair in texts]
    found = forks.log_probabilities(loaded, pairs, Compute(batch=2, chunk=5, precision="fp32"))
    tokens = sum(read)
    wanted = [[sum(naive(loaded, ids, [IGNORED, *ids[1:]])) for ids in pair] for pair in pairs]
    assert np.allclose(found, wanted, atol=1e-3)
    if shape != "mistral":  # whose window would have to be kept too
        assert tokens < sum(len(ids) for pair in pairs for ids in pair)
        assert all(states < targets for states, targets in scored)  # what stands behind the same tokens is read once


@pytest.mark.parametrize("shape", ["llama", "gpt2"])
def test_weights_cast_once_give_the_very_same_numbers(model, shape, monkeypatch):
    loaded = model(shape)
    encoded = [Encoder(loaded.tokenizer).pair(*pair) for pair in PAIRS]
    low = Compute(batch=3, chunk=5, precision="bf16")
    monkeypatch.setattr(inference, "linear_map", lambda layer, precision: None)  # the layer itself is to be called
    found = likelihood.of_tokens(loaded, encoded, low)
    assert not any("forward" in vars(module) for module in loaded.network.modules())
    monkeypatch.setattr(inference, "_in_bf16", lambda layer: type(layer).forward.__get__(layer))
    assert all(np.array_equal(a, b) for a, b in zip(found, likelihood.of_tokens(loaded, encoded, low), strict=True))


def test_drift_is_the_exact_divergence_per_token(model):
    old, new = model(), model()
    with torch.no_grad():
        for parameter in new.network.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(3)))
    encoded = [Encoder(old.tokenizer).pair(*pair) for pair in PAIRS]
    kl, first, second = [], [], []
    for one in encoded:
        with torch.inference_mode():
            p, q = (
                torch.log_softmax(m.network(input_ids=torch.tensor([one.input_ids])).logits[0].double(), -1)
                for m in (old, new)
            )
        for i, label in enumerate(one.labels):
            if label != IGNORED:
                kl.append(float((p[i - 1].exp() * (p[i - 1] - q[i - 1])).sum()))
                first.append(float(-(p[i - 1].exp() * p[i - 1]).sum()))
                second.append(float(-(q[i - 1].exp() * q[i - 1]).sum()))
    found = probes.drift(old, new, encoded, SMALL)
    assert found.tokens == len(kl)
    assert found.kl == pytest.approx(np.mean(kl), rel=1e-3) and found.kl > 1e-3
    assert found.entropy_start == pytest.approx(np.mean(first), rel=1e-4)
    assert found.entropy_tuned == pytest.approx(np.mean(second), rel=1e-4)
    assert probes.drift(old, old, encoded, SMALL).kl == 0.0


def test_drift_of_nothing_is_refused(model):
    with pytest.raises(BadInput, match="no token is scored"):
        probes.drift(model(), model(), [encoding.Encoded((5, 6), (IGNORED, IGNORED))], SMALL)


@pytest.mark.real
def test_the_real_model_knows_some_grammar(stories, real_data, home):
    loaded = decoders.load(Start(model=str(stories), base=bases.resolve(str(stories))), home)
    with zipfile.ZipFile(real_data / "blimp" / "BLiMP.zip") as archive:
        name = "data/determiner_noun_agreement_1.jsonl"
        rows = [json.loads(line) for line in archive.read(name).decode().splitlines()[:100]]
    right = probes.minimal_pairs(loaded, [(row["sentence_good"], row["sentence_bad"]) for row in rows])
    assert right.mean() > 0.6
    story = "Once upon a time, there was a little girl named Lily. She loved to play outside in the park."
    shuffled = " ".join(sorted(story.split()))
    assert probes.text_nll(loaded, story) < 1.5 < 3 < probes.text_nll(loaded, shuffled)
