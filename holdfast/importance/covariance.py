"""What the inputs of modules look like: the mean of x x' over the tokens of texts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from holdfast import inference, rows
from holdfast.generation import encoding
from holdfast.importance import sampling

if TYPE_CHECKING:
    from torch import Tensor

    from holdfast.models import Model
    from holdfast.training.job import Given

_EXAMPLES, _BATCH = 256, 16


def of_inputs(given: Given, model: Model, modules: Sequence[str]) -> tuple[dict[str, Tensor], str]:
    """Return {module: the mean of x x' over its inputs, float32 [in, in]} on the processor, and on what, as a sentence.

    The texts are those of the remembered tasks with training rows, at most 256 of each; else those learned from.
    """
    keys = [f"remember.{task.name}.train" for task in given.remember]
    keys = [key for key in keys if key in given.validated.datasets] or ["learn.train"]
    training, taken = given.recipe.training, []
    for key in keys:
        found = rows.read(given.home, given.validated.datasets[key])
        taken += sampling.any_of(found, _EXAMPLES, training.seed, key)
    sums = _sums(model, modules, list(_batches(model, taken, training.max_length)))
    return sums, f"directions ranked by the inputs of {len(taken)} rows of {', '.join(keys)}"


def _batches(model: Model, taken: Sequence[rows.Row], max_length: int) -> Iterator[dict[str, Tensor]]:
    """Yield the rows' token ids and masks, padded, a few rows at a time."""
    for first in range(0, len(taken), _BATCH):
        some = taken[first : first + _BATCH]
        if model.generates:
            encoder = encoding.Encoder(model.tokenizer, max_length)
            yield encoding.inputs([encoder.pair(row["prompt"], row["answer"]).input_ids for row in some])
        else:
            encoded = inference.encode(model, [row["text"] for row in some], max_length)
            yield dict(model.tokenizer.pad(encoded, return_tensors="pt"))


def _sums(model: Model, modules: Sequence[str], batches: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    import torch

    sums: dict[str, Any] = dict.fromkeys(modules, 0.0)
    state: dict[str, Any] = {"mask": None}

    def hook(name: str) -> Any:
        def add(module: Any, args: tuple[Tensor, ...]) -> None:
            x = args[0].detach().double()
            x = x[state["mask"]] if x.dim() == 3 else x
            sums[name] = sums[name] + x.T @ x

        return add

    handles = [model.encoder.get_submodule(name).register_forward_pre_hook(hook(name)) for name in modules]
    tokens, device = 0, model.network.device
    try:
        with torch.no_grad(), inference.evaluating(model.network):
            for batch in batches:
                inputs = {name: value.to(device) for name, value in batch.items()}
                state["mask"] = inputs["attention_mask"].bool()
                tokens += int(state["mask"].sum())
                model.network.base_model(**inputs)
    finally:
        for handle in handles:
            handle.remove()
    return {name: (total / tokens).float().cpu() for name, total in sums.items()}
