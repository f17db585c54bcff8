"""Greedy answers to many prompts at once, found again by digest where they are kept.

They are the same tokens as one by one; in bf16, rounding that depends on the batch can turn a near tie.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from holdfast import closures, digests, inference, progress
from holdfast.errors import BadInput
from holdfast.forgetting import cached
from holdfast.generation import decoders, encoding

if TYPE_CHECKING:
    import torch

    from holdfast.home import Home
    from holdfast.models import Model
    from holdfast.records import Start

_NOTHING = -1  # fills the array behind an answer's last token


@dataclass(frozen=True)
class Settings:
    """How answers are generated; `max_length` bounds a prompt's tokens, `cut_prompt` says what becomes of longer."""

    max_new_tokens: int = 256
    batch: int = 32
    precision: str = "auto"
    max_length: int | None = None
    cut_prompt: bool = False


@dataclass(frozen=True)
class Answer:
    """What the model said: the text, its number of tokens, and whether it came to its end within `max_new_tokens`."""

    text: str
    tokens: int
    finished: bool


def answers(model: Model, prompts: Sequence[str], settings: Settings) -> list[Answer]:
    """Return the greedy answer to every prompt, in order, up to the end-of-turn token (or EOS).

    Raises `BadInput`, naming the row, when a prompt and `max_new_tokens` do not fit into the model's window.
    """
    encoder = encoding.Encoder(model.tokenizer, settings.max_length, settings.cut_prompt)
    said = _tokens(model, _prompts(model, encoder, prompts, settings), encoder.stops, settings)
    return _texts(model, encoder, said)


def kept(start: Start, model: Model, prompts: Sequence[str], settings: Settings, home: Home) -> list[Answer]:
    """Return `answers`, kept in the home under the digests of model, tokenizer, prompts, settings and code."""
    encoder = encoding.Encoder(model.tokenizer, settings.max_length, settings.cut_prompt)
    encoded = _prompts(model, encoder, prompts, settings)
    how = {name: value for name, value in asdict(settings).items() if name in ("max_new_tokens", "batch")}
    key = {
        "what": "answers",
        **decoders.identity(start, model),
        "prompts": digests.of_json(encoded),
        "stops": encoder.stops,
        "settings": how | {"bf16": decoders.computes_bf16(settings.precision)},
        "code": closures.digest([__name__]),
        "packages": closures.package_versions(),
    }
    return _texts(model, encoder, cached.array(key, lambda: _tokens(model, encoded, encoder.stops, settings), home))


def fits(model: Model, prompt: str, settings: Settings) -> bool:
    """Say whether a prompt leaves room for `max_new_tokens` in the model's window and is within `max_length`."""
    encoder = encoding.Encoder(model.tokenizer, settings.max_length, settings.cut_prompt)
    try:
        _prompts(model, encoder, [prompt], settings)
    except BadInput:
        return False
    return True


def _prompts(model: Model, encoder: encoding.Encoder, prompts: Sequence[str], settings: Settings) -> list[list[int]]:
    encoded = [encoder.prompt(prompt, row=row) for row, prompt in enumerate(prompts, 1)]
    window = decoders.window(model)
    for row, ids in enumerate(encoded, 1):
        if window is not None and len(ids) + settings.max_new_tokens > window:
            what = f"the prompt has {len(ids)} tokens and the answer may have {settings.max_new_tokens}"
            remedy = "Lower max_new_tokens, or shorten the prompt."
            raise BadInput(what, row=row, expected=f"at most {window} together", remedy=remedy)
    return encoded


def _tokens(model: Model, prompts: list[list[int]], stops: tuple[int, ...], settings: Settings) -> np.ndarray:
    """Return the answers' tokens, int32 [prompts, max_new_tokens], -1 behind the last."""
    import torch

    said: np.ndarray = np.full((len(prompts), settings.max_new_tokens), _NOTHING, np.int32)
    done = 0
    with (
        inference.evaluating(model.network),
        torch.inference_mode(),
        inference.autocast(settings.precision),
        inference.cast_once(model.network, settings.precision),
    ):
        for chosen in inference.batches_by_length([len(ids) for ids in prompts], settings.batch):
            said[chosen] = _batch(model.network, [prompts[i] for i in chosen], stops, settings.max_new_tokens)
            done += len(chosen)
            progress.report("generate", done, len(prompts))
    return said


def _batch(network: Any, prompts: list[list[int]], stops: tuple[int, ...], most: int) -> np.ndarray:
    """Return one batch's tokens; a row that has ended leaves the computation once half of the rows have."""
    import torch

    inputs = encoding.inputs(prompts, side="left")
    mask = inputs["attention_mask"].to(network.device)
    ids, cache = inputs["input_ids"].to(network.device), None
    said = torch.full((len(prompts), most), _NOTHING, dtype=torch.int32)
    rows = torch.arange(len(prompts))
    for step in range(most):
        at = encoding.positions(mask)[:, -ids.shape[1] :]
        output = network(
            input_ids=ids,
            attention_mask=mask,
            position_ids=at,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        cache = output.past_key_values
        ids = output.logits[:, -1].float().argmax(-1, keepdim=True)
        said[rows, step] = torch.where(_ended(said[rows], stops), _NOTHING, ids[:, 0].cpu().int())
        going = ~_ended(said[rows], stops)
        if not bool(going.any()):
            break
        if 2 * int(going.sum()) <= len(rows):
            left = going.nonzero()[:, 0].to(mask.device)
            cache.batch_select_indices(left)
            rows, ids, mask = rows[going], ids[left], mask[left]
        mask = torch.cat([mask, mask.new_ones(len(mask), 1)], 1)
    values: np.ndarray = said.numpy()
    return values


def _ended(said: torch.Tensor, stops: tuple[int, ...]) -> torch.Tensor:
    import torch

    return torch.isin(said, torch.tensor(stops)).any(1)


def _texts(model: Model, encoder: encoding.Encoder, said: np.ndarray) -> list[Answer]:
    found = []
    for row in said.tolist():
        ids = [token for token in row if token != _NOTHING]
        text = model.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        found.append(Answer(text, len(ids), not set(ids).isdisjoint(encoder.stops)))
    return found
