"""Decoder language models: found and verified like every base, with all their weights and plain output logits."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from holdfast import bases, digests, inference, models
from holdfast.errors import BadInput, Corrupt

if TYPE_CHECKING:
    from holdfast.home import Home
    from holdfast.models import Model
    from holdfast.records import Start


def load(start: Start, home: Home) -> Model:
    """Return the start model as a decoder in fp32 on the processor, in eval mode, without heads.

    Raises `Corrupt` when the base's or the adapter's bytes are not those of the reference.
    """
    return models.load(start.model_copy(update={"task": "generation"}), home)


def network(folder: Path) -> Any:
    """Return the causal language model in a base's folder, in fp32 and eval mode.

    Raises `Corrupt` when a weight is missing, misshapen or unknown (nothing of a decoder may start out random), and
    `BadInput` when the folder holds another kind of model, or one whose logits are not simply `head(hidden state)`.
    """
    from transformers import AutoModelForCausalLM

    try:
        with bases.quiet():
            loaded, report = AutoModelForCausalLM.from_pretrained(
                folder,
                use_safetensors=True,
                dtype="float32",
                attn_implementation="sdpa",
                ignore_mismatched_sizes=True,
                output_loading_info=True,
            )
    except ValueError as error:
        raise BadInput(f"is not a decoder ({error!s:.120})", file=folder, key="start.model") from error
    wrong = {key: sorted(str(name) for name in report[key]) for key in ("missing_keys", "mismatched_keys")}
    wrong["unexpected_keys"] = sorted(report["unexpected_keys"])
    for complaint, names in wrong.items():
        if names:
            raise Corrupt(f"{folder}: {complaint.replace('_', ' ')} in the weights of a decoder, `{names[0]}` first")
    _check_logits(folder, loaded.eval())
    return loaded


def identity(start: Start, model: Model) -> dict[str, Any]:
    """Return what a decoder's answers depend on beside their settings: weights by digest, tokenizer and template."""
    return {
        "model": start.digest,
        "base": start.base.sha256,
        "tokenizer": digests.of_bytes(model.tokenizer.backend_tokenizer.to_str().encode()),
        "template": getattr(model.tokenizer, "chat_template", None),
    }


def window(model: Model) -> int | None:
    """Return how many tokens the network can attend to, or None where its configuration does not say."""
    return getattr(model.network.config, "max_position_embeddings", None)


def computes_bf16(precision: str) -> bool:
    """Say whether `precision` comes to bf16 on this machine."""
    return precision == "bf16" or (precision == "auto" and inference.has_bf16())


def _check_logits(folder: Path, loaded: Any) -> None:
    """Raise `BadInput` for a network that scales or caps its logits: the chunked scores here would not be its own."""
    import torch

    ids = torch.arange(4).unsqueeze(0) % loaded.config.vocab_size
    with torch.inference_mode():
        states = loaded.base_model(input_ids=ids).last_hidden_state
        plain = loaded.get_output_embeddings()(states)
        same = torch.allclose(loaded(input_ids=ids).logits, plain, rtol=1e-4, atol=1e-5)
    if not same:
        name = type(loaded).__name__
        raise BadInput(f"{name} changes its logits after the output layer", file=folder, expected="a plain decoder")
