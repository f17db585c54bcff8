"""Section 4: the exact diagonal Fisher beside a forward and backward; contextual decomposition of 72 heads."""

from __future__ import annotations

import functools
from typing import Any

import torch

from benchmarks.speed import world
from benchmarks.speed.world import Side
from holdfast import bases, inference, rows
from holdfast.circuits import examples, reference, relevance
from holdfast.decomposition import architectures, plain
from holdfast.decomposition.settings import Rules
from holdfast.importance import fisher
from holdfast.models import Model

ROWS, CHECKED, DECOMPOSED = 128, 16, 32


@functools.cache
def model() -> Model:
    """Return MiniLM with a small random head."""
    folder = world.encoder_folder()
    found = Model(bases.network(folder).eval(), bases.tokenizer(folder))
    found.add_head("mood", world.LABELS, 1)
    return found


def _task(count: int) -> tuple[list[str], list[int]]:
    found = world.nusax("train")[:count]
    return rows.texts(found), rows.label_ids(found, world.LABELS)


def _batches(texts: list[str]) -> list[tuple[list[int], Any]]:
    encoded = inference.encode(model(), texts, world.LENGTH)
    batches = inference.batches_by_length([len(one["input_ids"]) for one in encoded], world.BATCH)
    return [(rows, model().tokenizer.pad([encoded[i] for i in rows], return_tensors="pt")) for rows in batches]


def _backward(precision: str) -> None:
    """A forward and backward pass over the rows, as training would make it: every weight's gradient."""
    texts, targets = _task(ROWS)
    network = model().network.requires_grad_(True)
    for chosen, inputs in _batches(texts):
        network.zero_grad(set_to_none=True)
        with inference.autocast(precision):
            logits = network(**inputs).logits
        labels = torch.tensor([targets[i] for i in chosen])
        torch.nn.functional.cross_entropy(logits.float(), labels, reduction="sum").backward()
    network.zero_grad(set_to_none=True)


def _both_passes(precision: str, repetition: int) -> dict[str, float]:
    return world.timed(lambda: _backward(precision))[1]


def _fisher(precision: str, repetition: int) -> dict[str, float]:
    texts, targets = _task(ROWS)
    _, cost = world.timed(lambda: fisher.empirical(model(), texts, targets, world.LENGTH, 0, precision))
    return cost | _differences(precision)


@functools.cache
def _loop() -> dict[str, torch.Tensor]:
    """The diagonal Fisher of a few rows, one at a time, in fp32."""
    texts, targets = _task(CHECKED)
    network, words = model().network.requires_grad_(True), model().tokenizer
    totals = {name: torch.zeros_like(p) for name, p in network.named_parameters()}
    for text, target in zip(texts, targets, strict=True):
        network.zero_grad()
        inputs = words(text, truncation=True, max_length=world.LENGTH, return_tensors="pt")
        torch.nn.functional.cross_entropy(network(**inputs).logits, torch.tensor([target])).backward()
        for name, parameter in network.named_parameters():
            totals[name] += parameter.grad.square() / CHECKED
    network.zero_grad(set_to_none=True)
    return totals


@functools.cache
def _differences(precision: str) -> dict[str, float]:
    """Return how far the Fisher of linear weights is from the loop's: the worst element, relative, and in norm.

    An element's difference is relative to it or to the mean of its tensor, whichever is larger: below, the loop's own
    rounding is as large.
    """
    texts, targets = _task(CHECKED)
    found = fisher.empirical(model(), texts, targets, world.LENGTH, 0, precision)
    worst = off = whole = 0.0
    linear = [name for name, m in model().network.named_modules() if type(m) is torch.nn.Linear]
    for name in (f"{module}.weight" for module in linear):
        wanted, difference = _loop()[name], (found[name] - _loop()[name]).abs()
        worst = max(worst, float((difference / wanted.clamp_min(wanted.mean().item())).max()))
        off, whole = off + float(difference.square().sum()), whole + float(wanted.square().sum())
    return {"elementwise": worst, "norm": (off / whole) ** 0.5}


def fishers() -> dict[str, Side]:
    """Fisher and a plain backward pass, in both precisions."""
    sides: dict[str, Side] = {}
    for precision in ("fp32", "bf16"):
        sides[f"forward and backward, {precision}"] = functools.partial(_both_passes, precision)
        sides[f"Fisher, {precision}"] = functools.partial(_fisher, precision)
    return sides


@functools.cache
def _decomposed(bf16: bool) -> tuple[Any, ...]:
    network = model().network.requires_grad_(False)
    texts, targets = _task(DECOMPOSED)
    encoded = inference.encode(model(), texts, world.LENGTH)
    exact = architectures.describe(network)
    chunks = examples.chunks(network, exact, encoded, targets)
    means = reference.measure(exact, chunks, "mean")
    return architectures.describe(network, bf16=bf16), chunks, means, encoded


def _together(bf16: bool) -> dict[str, float]:
    parts, chunks, means, _ = _decomposed(bf16)
    with torch.no_grad():
        found, cost = world.timed(lambda: relevance.measure(parts, chunks, means, Rules(), "mean"))
    both = torch.stack([found.answer.flatten(), found.answer.flatten() if not bf16 else _exact()])
    return cost | {"correlation": float(both.corrcoef()[0, 1])}


@functools.cache
def _exact() -> torch.Tensor:
    """The relevance of all heads in fp32."""
    parts, chunks, means, _ = _decomposed(False)
    with torch.no_grad():
        return relevance.measure(parts, chunks, means, Rules(), "mean").answer.flatten()


def _one_at_a_time(repetition: int) -> dict[str, float]:
    """One head's pass of both streams in fp32, on length-sorted batches; all heads' passes cost the same."""
    parts, _, means, encoded = _decomposed(False)
    layer = repetition % len(parts.layers)
    own = slice(0, parts.layers[layer].head_dim)
    source = plain.Source(layer, 0, means.means[layer][-1, own])
    lengths = [len(one["input_ids"]) for one in encoded]
    inputs = [
        model().tokenizer.pad([encoded[i] for i in rows], return_tensors="pt")
        for rows in inference.batches_by_length(lengths, world.BATCH)
    ]

    def work() -> None:
        for one in inputs:
            plain.propagate(parts, plain.observe_padded(model().network, parts, dict(one)), source, Rules())

    with torch.no_grad():
        _, cost = world.timed(work)
    heads = sum(one.heads for one in parts.layers)
    return {"seconds": heads * cost["seconds"], "processor": heads * cost["processor"], "heads": heads}


def decomposition() -> dict[str, Side]:
    """All heads at once beside one head at a time (one pass is timed and multiplied by the number of heads)."""
    return {
        "one head at a time": _one_at_a_time,
        "holdfast": lambda repetition: _together(False),
        "holdfast, bf16": lambda repetition: _together(True),
    }
