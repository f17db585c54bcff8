"""An encoder's loss on texts: some tokens are hidden and predicted from the rest.

A sentence encoder comes without the layer that predicts tokens, so one is fitted to the frozen start model before the
first update, and stays as it is: p(v | h) = softmax over v of e_v . (A h + c), e_v the model's own word embeddings, v
those tokens that occur in the texts (a fraction of the vocabulary, and of the cost). Fitting it is a convex problem.
Inferred, like the whole method. The gradient goes through it into the encoder, and into the embeddings where they move.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from holdfast import inference
from holdfast.errors import BadInput
from holdfast.examples import _texts

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from holdfast.anchors._origin import Origin
    from holdfast.models import Model
    from holdfast.training.forward import Forward

IGNORED = -100
_DRAWN, _HIDDEN, _FITTED = 2, 3, 4  # purposes of randomness
_FIT_TOKENS, _FIT_TEXTS, _FIT_ROUNDS, _RIDGE = 1024, 32, 40, 1e-3


class Masked:
    """Weight times the mean of -log p(token | the text with some tokens hidden) over the hidden ones."""

    def __init__(self, origin: Origin, weight: float, batch: int, share: float) -> None:
        model = origin.model
        if model.tokenizer.mask_token_id is None:
            raise BadInput("`domain-text` hides tokens, and the tokenizer has no mask token", key="examples")
        self.encoded = [
            one
            for one in inference.encode(model, origin.unlabelled, origin.max_length)
            if set(one["input_ids"]) - set(model.tokenizer.all_special_ids)
        ]
        if not self.encoded:
            raise BadInput("`learn.unlabelled` holds no text with a token to predict", key="learn.unlabelled")
        self.weight, self.batch, self.share = weight, batch, share
        self.seed, self.precision = origin.seed, origin.precision
        self.candidates = _candidates(model, self.encoded)
        self.state = self._fit(model)

    def __call__(self, batch: Forward) -> Tensor:
        import torch

        model = batch.model
        drawn = _texts.draw(len(self.encoded), self.batch, _texts.generator(self.seed, batch.step, _DRAWN))
        states, targets = self._hidden(model, drawn, _texts.generator(self.seed, batch.step, _HIDDEN))
        with inference.autocast(self.precision):
            logits = predicted(states, self._embeddings(model), self.state["transform"], self.state["shift"])
        return self.weight * torch.nn.functional.cross_entropy(logits.float(), targets)

    def _hidden(self, model: Model, drawn: list[int], source: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Return the last hidden states at the hidden tokens [n, width], and these tokens' places in `candidates`."""
        import torch

        device = model.network.device
        inputs = dict(model.tokenizer.pad([self.encoded[i] for i in drawn], return_tensors="pt").to(device))
        shown, labels = hide(inputs["input_ids"].cpu(), model.tokenizer, self.candidates, self.share, source)
        inputs["input_ids"] = shown.to(device)
        with inference.autocast(self.precision):
            states = model.network.base_model(**inputs).last_hidden_state
        places = (labels != IGNORED).to(device)
        return states[places], torch.searchsorted(self.candidates, labels[labels != IGNORED]).to(device)

    def _embeddings(self, model: Model) -> Tensor:
        """Return the word embeddings of the candidates as they are now."""
        weights: Tensor = model.network.get_input_embeddings().weight
        return weights[self.candidates.to(weights.device)]

    def _fit(self, model: Model) -> dict[str, Tensor]:
        """Return A and c, fitted on at most `_FIT_TOKENS` hidden tokens of the frozen start model."""
        import torch

        source, found, count = _texts.generator(self.seed, 0, _FITTED), [], 0
        order = source.permutation(len(self.encoded))
        with torch.no_grad(), inference.evaluating(model.network):
            for first in range(0, len(order), _FIT_TEXTS):
                found.append(self._hidden(model, [int(i) for i in order[first : first + _FIT_TEXTS]], source))
                count += len(found[-1][1])
                if count >= _FIT_TOKENS:
                    break
            states, targets = (torch.cat(parts)[:_FIT_TOKENS] for parts in zip(*found, strict=True))
            return fit(states.float(), targets, self._embeddings(model).float())


def predicted(states: Tensor, embeddings: Tensor, transform: Tensor, shift: Tensor) -> Tensor:
    """Return e_v . (A h + c) for hidden states [n, width] and candidates [v, size], [n, v]."""
    return (states @ transform.to(states.dtype).T + shift.to(states.dtype)) @ embeddings.to(states.dtype).T


def fit(states: Tensor, targets: Tensor, embeddings: Tensor) -> dict[str, Tensor]:
    """Return A [size, width] and c [size] that predict the targets: mean cross entropy with a small ridge, L-BFGS."""
    import torch

    states, embeddings = states.detach(), embeddings.detach()
    size, width = embeddings.shape[1], states.shape[1]
    transform = torch.zeros(size, width, device=states.device, requires_grad=True)
    shift = torch.zeros(size, device=states.device, requires_grad=True)
    solver = torch.optim.LBFGS([transform, shift], max_iter=_FIT_ROUNDS, line_search_fn="strong_wolfe")

    def objective() -> Tensor:
        solver.zero_grad()
        loss = torch.nn.functional.cross_entropy(predicted(states, embeddings, transform, shift), targets)
        loss = loss + _RIDGE / 2 * transform.square().sum()
        loss.backward()
        return loss

    with torch.enable_grad():
        solver.step(objective)
    return {"transform": transform.detach(), "shift": shift.detach()}


def hide(
    ids: Tensor, tokenizer: Any, candidates: Tensor, share: float, source: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Return token ids [rows, tokens] with some hidden, and the labels: what was hidden, elsewhere `IGNORED`.

    Of every text a `share` of its tokens is chosen, at least one, no special ones: 80% become the mask token, 10%
    another token of the candidates, 10% stay (arXiv 1810.04805).
    """
    import torch

    shown, labels = ids.clone(), torch.full_like(ids, IGNORED)
    special = set(tokenizer.all_special_ids)
    for row, tokens in enumerate(ids.tolist()):
        places = [place for place, token in enumerate(tokens) if token not in special]
        for place in source.choice(places, max(1, round(share * len(places))), replace=False):
            labels[row, place] = tokens[place]
            kind = source.random()
            if kind < 0.8:
                shown[row, place] = tokenizer.mask_token_id
            elif kind < 0.9:
                shown[row, place] = int(candidates[source.integers(len(candidates))])
    return shown, labels


def _candidates(model: Model, encoded: list[dict[str, list[int]]]) -> Tensor:
    """Return the tokens that occur in the texts, special ones left out, int64, sorted."""
    import torch

    occurring = {token for one in encoded for token in one["input_ids"]}
    return torch.tensor(sorted(occurring - set(model.tokenizer.all_special_ids)))
