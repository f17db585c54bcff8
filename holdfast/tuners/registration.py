"""How PEFT learns of a method of ours: 0.21 refuses names outside its `PeftType` enum, so the enum is extended here.

This file alone does so, and a test pins PEFT's version.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from peft.config import PeftConfig
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING
from peft.tuners.tuners_utils import BaseTuner, BaseTunerLayer
from peft.utils import register_peft_method
from peft.utils.peft_types import PeftType
from torch import nn


def member(name: str) -> Any:
    """Return the member of PEFT's enum of methods called `name`, adding it when it is not there."""
    if name in PeftType.__members__:
        return PeftType[name]
    made = str.__new__(PeftType, name)
    made._name_ = made._value_ = name
    made.__objclass__ = PeftType
    made._sort_order_ = len(PeftType)
    setattr(PeftType, name, made)
    PeftType._member_names_.append(name)
    PeftType._member_map_[name] = PeftType._value2member_map_[name] = made
    return made


def register(name: str, config: type[PeftConfig], tuner: type[BaseTuner], prefix: str) -> None:
    """Register a method whose name is a member of the enum; a second time nothing happens."""
    if member(name) not in PEFT_TYPE_TO_CONFIG_MAPPING:
        register_peft_method(name=name.lower(), config_cls=config, model_cls=tuner, prefix=prefix)


class Layer(nn.Module, BaseTunerLayer):
    """A module of the network that runs with something beside it, which cannot be merged into its weights."""

    def __init__(self, base_layer: nn.Module) -> None:
        super().__init__()
        self.base_layer = base_layer
        self.merged_adapters: list[str] = []

    @abstractmethod
    def make_room(self, adapter: str, config: Any, key: str) -> None:
        """Add an adapter's parameters; `key` is the module's name in the encoder."""

    @property
    def adapter(self) -> str | None:
        """The active adapter, None where adapters are disabled; raises `ValueError` where several are active."""
        held = getattr(self, self.adapter_layer_names[0])
        active = [] if self.disable_adapters else [name for name in self.active_adapters if name in held]
        if len(active) > 1:
            raise ValueError(f"one adapter at a time can be active, not {', '.join(active)}")
        return active[0] if active else None

    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None:
        """Refused: what is added is no change of the weights."""
        raise ValueError("this adapter cannot be merged: what it adds is no change of the weights")

    def unmerge(self) -> None:
        """Do nothing: nothing is ever merged."""


class Tuner(BaseTuner):
    """Puts a `Layer` around every module that a configuration targets. See PEFT's `BaseTuner`."""

    target_module_mapping: dict[str, list[str]] = {}  # noqa: RUF012 (an attribute that PEFT reads)

    def _prepare_adapter_config(self, peft_config: PeftConfig, model_config: dict[str, Any]) -> PeftConfig:
        return peft_config

    def _create_and_replace(
        self,
        peft_config: PeftConfig,
        adapter_name: str,
        target: nn.Module,
        target_name: str,
        parent: nn.Module,
        current_key: str,
        parameter_name: str | None = None,
    ) -> None:
        layer = target if isinstance(target, self.tuner_layer_cls) else self.tuner_layer_cls(target)
        if layer is not target:
            layer.set_adapter(self.active_adapters)
            self._replace_module(parent, target_name, layer, target)
        layer.make_room(adapter_name, peft_config, current_key)
        layer.set_adapter(self.active_adapters, inference_mode=peft_config.inference_mode)
