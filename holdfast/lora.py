"""LoRA adapters: low-rank matrices taken from a network in training, kept in PEFT's format, merged into encoders."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from holdfast.errors import Corrupt

if TYPE_CHECKING:
    import torch
    from torch import nn

_ADAPTER = "default"


def tensors(encoder: Any) -> dict[str, torch.Tensor]:
    """Return the low-rank matrices injected into an encoder, by their names in PEFT's file without its prefix."""
    from peft import get_peft_model_state_dict

    found = get_peft_model_state_dict(encoder, adapter_name=_ADAPTER, save_embedding_layers=False)
    return {name: tensor.detach().cpu().clone().contiguous() for name, tensor in sorted(found.items())}


def config(encoder: Any, chosen: dict[str, Any]) -> dict[str, Any]:
    """Return the configuration of the matrices injected into an encoder, as the JSON-able values that PEFT keeps.

    `chosen` are the arguments that they were injected with: PEFT shortens long lists of `target_modules` in its own.
    """
    values = {**encoder.peft_config[_ADAPTER].to_dict(), "target_modules": chosen["target_modules"]}
    return {key: sorted(value) if isinstance(value, set | tuple) else value for key, value in values.items()}


def merged_weights(encoder: Any) -> dict[str, torch.Tensor]:
    """Return every tensor of the encoder under its bare name, injected matrices added to the weights they adapt."""
    import torch
    from peft.tuners.lora import LoraLayer

    with torch.no_grad():
        added = {
            f"{name}.weight": module.get_delta_weight(_ADAPTER)
            for name, module in encoder.named_modules()
            if isinstance(module, LoraLayer)
        }
        own = {n.replace(".base_layer.", "."): p for n, p in encoder.named_parameters() if ".lora_" not in n}
        return {name: p.detach() + added[name] if name in added else p.detach() for name, p in own.items()}


def merge_folder(encoder: Any, folder: Path) -> None:
    """Add a LoRA adapter's matrices to the encoder's weights, in place; afterwards nothing of PEFT is left in it.

    Raises `Corrupt` when the adapter's tensors are not those that its configuration asks for.
    """
    from peft import PeftModel
    from safetensors import safe_open

    trainable = {name: p.requires_grad for name, p in encoder.named_parameters()}
    model = PeftModel.from_pretrained(encoder, str(folder), torch_device="cpu")
    with safe_open(folder / "adapter_model.safetensors", framework="pt") as file:
        held = {name.removeprefix("base_model.model.") for name in file.keys()}  # noqa: SIM118 (not a dict)
    asked = set(tensors(encoder))
    if held != asked:
        raise Corrupt(f"{folder}: `{sorted(held ^ asked)[0]}` is in the adapter's file or its configuration, not both")
    model.merge_and_unload()
    for name, parameter in encoder.named_parameters():
        parameter.requires_grad_(trainable[name])


def unload(encoder: Any, merge: bool = True) -> None:
    """Remove injected matrices from an encoder in place, adding them to the weights first when `merge`."""
    from peft.tuners.lora import LoraLayer

    layers: dict[str, nn.Module] = {n: m for n, m in encoder.named_modules() if isinstance(m, LoraLayer)}
    for name, layer in layers.items():
        if merge:
            layer.merge()
        parent, _, leaf = name.rpartition(".")
        setattr(encoder.get_submodule(parent), leaf, layer.get_base_layer())
    if layers:
        del encoder.peft_config
