"""Tuners in an encoder: put into it for training, taken out as tensors, merged, and read back from a folder.

An encoder holds one at a time, under PEFT's name `default`. Where an encoder holds one, its modules' names have
`.base_layer` in them; bare names do not.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holdfast.errors import Corrupt
from holdfast.tuners import kinds

if TYPE_CHECKING:
    import torch
    from torch import nn

    from holdfast.models import Model

_ADAPTER = "default"
_A, _B = ".lora_A.weight", ".lora_B.weight"


def put(model: Model, arguments: Mapping[str, Any], seed: int, first: Mapping[str, torch.Tensor]) -> None:
    """Put a tuner into the bare encoder, so that PEFT's names are those of the encoder loaded by itself.

    It is drawn from `seed`, on the processor; `first` are first values of its tensors, by `tensors`' names. Where they
    are a LoRA's, what they add is taken off the weights beside them. An encoder that holds one stays as it is.
    """
    import torch
    from peft import inject_adapter_in_model

    if any(kinds.is_added(name) for name, _ in model.network.named_parameters()):
        return
    device = model.network.device
    model.network.to("cpu")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        inject_adapter_in_model(_config(arguments), model.encoder)
    _begin(model.encoder, first)
    model.network.to(device).train(model.network.training)


def _config(arguments: Mapping[str, Any]) -> Any:
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING
    from peft.utils.peft_types import PeftType

    kind = kinds.of(arguments)
    if kind.ours:
        from holdfast.tuners import registered

        assert kind.peft_type in registered.METHODS
    values = {name: value for name, value in arguments.items() if name != "peft_type"}
    return PEFT_TYPE_TO_CONFIG_MAPPING[PeftType[kind.peft_type]](**values)


def _begin(encoder: Any, first: Mapping[str, torch.Tensor]) -> None:
    """Give injected tensors their first values; a low-rank pair's product leaves the frozen weight."""
    import torch
    from peft import set_peft_model_state_dict

    if not first:
        return
    set_peft_model_state_dict(encoder, dict(first), adapter_name=_ADAPTER)
    with torch.no_grad():
        for name in (name.removesuffix(_A) for name in first if name.endswith(_A)):
            layer = encoder.get_submodule(name)
            layer.get_base_layer().weight.sub_(layer.get_delta_weight(_ADAPTER))


def tensors(encoder: Any) -> dict[str, torch.Tensor]:
    """Return the tensors injected into an encoder, by their names in PEFT's file without its prefix."""
    from peft import get_peft_model_state_dict

    found = get_peft_model_state_dict(encoder, adapter_name=_ADAPTER, save_embedding_layers=False)
    return {name: tensor.detach().cpu().clone().contiguous() for name, tensor in sorted(found.items())}


def saved(
    encoder: Any, arguments: Mapping[str, Any], first: Mapping[str, torch.Tensor]
) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Return the tensors to be saved, and the configuration that they belong to, as the JSON-able values of PEFT.

    `arguments` are those of the injection: PEFT shortens long lists of `target_modules` in its own configuration. A
    LoRA that started from `first` values is given as one of twice the rank over the untouched weights.
    """
    import torch

    found = tensors(encoder)
    values = {**encoder.peft_config[_ADAPTER].to_dict(), "target_modules": arguments["target_modules"]}
    if kinds.of(arguments).peft_type == "LORA" and first:
        for name in [name for name in found if name.endswith((_A, _B))]:
            down = name.endswith(_A)
            found[name] = torch.cat([found[name], first[name] if down else -first[name]], 0 if down else 1)
        values |= {"r": 2 * arguments["r"], "lora_alpha": 2 * arguments["lora_alpha"]}
    return found, {key: sorted(value) if isinstance(value, set | tuple) else value for key, value in values.items()}


def merged_weights(encoder: Any) -> dict[str, torch.Tensor]:
    """Return every tensor of the encoder under its bare name, with what was injected merged into it."""
    import torch

    with torch.no_grad():
        own = {kinds.bare(n): p.detach() for n, p in encoder.named_parameters() if not kinds.is_added(n)}
        for name, layer in _layers(encoder).items():
            own |= {f"{name}.{leaf}": value for leaf, value in _merged(layer).items()}
    return own


def _merged(layer: Any) -> dict[str, torch.Tensor]:
    """Return the own tensors of a layer with its adapter merged, the layer untouched."""
    if hasattr(layer, "get_delta_weight") and not getattr(layer, "lora_variant", None):
        weight = layer.get_base_layer().weight
        return {"weight": weight.detach() + layer.get_delta_weight(_ADAPTER)}
    other = copy.deepcopy(layer)
    other.merge()
    return {name: p.detach() for name, p in other.get_base_layer().named_parameters()}


def _layers(encoder: Any) -> dict[str, nn.Module]:
    from peft.tuners.tuners_utils import BaseTunerLayer

    return {name: module for name, module in encoder.named_modules() if isinstance(module, BaseTunerLayer)}


def read_folder(encoder: Any, folder: Path, kind: kinds.Kind) -> None:
    """Put a folder's adapter into the encoder: merged into its weights, in place, or beside them where it must stay.

    Raises `Corrupt` when the adapter's tensors are not those that its configuration asks for.
    """
    from peft import PeftModel
    from safetensors import safe_open

    if kind.ours:
        from holdfast.tuners import registered

        assert kind.peft_type in registered.METHODS
    trainable = {name: p.requires_grad for name, p in encoder.named_parameters()}
    model = PeftModel.from_pretrained(encoder, str(folder), torch_device="cpu")
    with safe_open(folder / "adapter_model.safetensors", framework="pt") as file:
        held = {name.removeprefix("base_model.model.") for name in file.keys()}  # noqa: SIM118 (not a dict)
    asked = set(tensors(encoder))
    if held != asked:
        raise Corrupt(f"{folder}: `{sorted(held ^ asked)[0]}` is in the adapter's file or its configuration, not both")
    if kind.merges:
        model.merge_and_unload()
    for name, parameter in encoder.named_parameters():
        parameter.requires_grad_(trainable.get(kinds.bare(name), False))


@contextmanager
def absent(encoder: Any) -> Iterator[None]:
    """Leave out what a tuning put beside an encoder's weights, so that it is the start model while nothing has moved.

    Only what stays beside them is: the rest begins as the start model, and some (PiSSA) takes its part off the weights.
    """
    added = [layer for layer in _layers(encoder).values() if hasattr(layer, "make_room")] if _holds(encoder) else []
    for layer in added:
        layer._disable_adapters = True
    try:
        yield
    finally:
        for layer in added:
            layer._disable_adapters = False


def _holds(encoder: Any) -> bool:
    return hasattr(encoder, "peft_config")


def unload(encoder: Any, merge: bool = True) -> None:
    """Remove what was injected from an encoder in place, adding it to the weights first when `merge`."""
    layers = _layers(encoder)
    for name, layer in layers.items():
        if merge:
            layer.merge()
        parent, _, leaf = name.rpartition(".")
        setattr(encoder.get_submodule(parent), leaf, layer.get_base_layer())
    if layers:
        del encoder.peft_config
