"""Per-example gradients of a whole batch at once, squared or in absolute value and summed over the examples.

A forward pass records what goes into every module that owns parameters; backward passes give the gradient at its
output, never a parameter's own (summed over the batch, it is of no use here: the square of a batch mean is not the
mean of squares). A layer's per-example parameter gradient follows from the two by `kinds`. No loop over examples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Protocol

from holdfast import inference
from holdfast.errors import HoldfastError
from holdfast.importance import kinds

if TYPE_CHECKING:
    import torch
    from torch import nn

    from holdfast.models import Model

_BATCH = 16
_TOKENS = 768  # whose activations and gradients exist at once
Power = Literal["square", "absolute"]


class Directions(Protocol):
    """What to differentiate: from the logits [B, C] of the texts `indices` to vectors [K, B, C]."""

    def __call__(self, logits: torch.Tensor, indices: list[int]) -> torch.Tensor:
        """Return the vectors."""


Batch = tuple["dict[str, torch.Tensor]", Callable[["torch.Tensor"], "torch.Tensor"]]


@dataclass
class Call:
    """One use of a module in a forward pass: what went in, what came out (and which in-place version of it)."""

    name: str
    module: nn.Module
    inputs: torch.Tensor
    output: torch.Tensor
    version: int


def mean_power(
    model: Model, texts: Sequence[str], directions: Directions, power: Power, max_length: int, precision: str = "fp32"
) -> dict[str, torch.Tensor]:
    """Return, for every parameter of the network, mean over texts of sum over k of |J_n^T d_nk| to the power.

    J_n is the Jacobian of text n's logits, and `directions(logits [B, C], indices of the B texts)` gives d as
    [K, B, C]: so K backward passes per batch. Computed in eval mode, in the network's own precision unless
    `precision` is `bf16` (or `auto`, where the machine has it); sums are kept in the parameters' own precision. Results
    are float tensors on the processor, with the parameters' shapes. Raises `HoldfastError` for a module whose
    per-example gradient cannot be told.
    """
    encoded = inference.encode(model, texts, max_length)

    def batches() -> Iterator[Batch]:
        for chosen in inference.batches_by_length([len(e["input_ids"]) for e in encoded], _BATCH, _TOKENS):
            inputs = model.tokenizer.pad([encoded[i] for i in chosen], return_tensors="pt").to(model.network.device)
            yield inputs, partial(directions, indices=chosen)

    return mean_power_of(model, batches(), power, len(texts), precision)


def mean_power_of(
    model: Model, batches: Iterable[Batch], power: Power, count: int, precision: str = "fp32"
) -> dict[str, torch.Tensor]:
    """Return what `mean_power` does, of `count` examples given in batches of inputs and directions."""
    import torch

    totals = {name: torch.zeros_like(p) for name, p in model.network.named_parameters()}
    with _only_activations(model.network), eval_mode(model.network), torch.enable_grad():
        for inputs, directions in batches:
            _add_batch(model.network, inputs, directions, power, totals, precision)
    return {name: value.div_(count).cpu() for name, value in totals.items()}


def _add_batch(
    network: nn.Module,
    inputs: dict[str, torch.Tensor],
    directions: Callable[[torch.Tensor], torch.Tensor],
    power: Power,
    totals: dict[str, torch.Tensor],
    precision: str,
) -> None:
    import torch

    with recording(network, len(inputs["input_ids"])) as calls, inference.autocast(precision):
        logits = network(**inputs).logits
    logits = logits if precision == "fp32" else logits.float()
    _check_reached(network, inputs, calls)
    vectors = directions(logits.detach())
    for k, vector in enumerate(vectors):
        _check_unchanged(calls)
        outputs = [call.output for call in calls]
        found = torch.autograd.grad(
            logits, outputs, vector, retain_graph=k + 1 < len(vectors), allow_unused=True, materialize_grads=False
        )
        with torch.no_grad():
            uses = _by_module(calls, found)
            for name, tied in _tied(uses, totals).items():
                kinds.add_tied(uses.pop(name), uses.pop(tied), power, totals[f"{name}.weight"])
            for name, own in uses.items():
                kinds.add_power(name, own, power, _own(name, own[0].module, totals))


def _tied(uses: dict[str, list[kinds.Use]], totals: dict[str, torch.Tensor]) -> dict[str, str]:
    """Return {embedding: output layer} where the two share their weight, which has the embedding's name."""
    weights = {id(own[0].module.weight): name for name, own in uses.items() if f"{name}.weight" in totals}
    return {
        weights[id(own[0].module.weight)]: name
        for name, own in uses.items()
        if kinds.can_be_tied(own[0].module) and f"{name}.weight" not in totals and id(own[0].module.weight) in weights
    }


def _own(name: str, module: nn.Module, totals: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the totals of a module's own parameters; raise `HoldfastError` for one that another module shares."""
    own = {leaf: f"{name}.{leaf}" for leaf, _ in module.named_parameters(recurse=False)}
    for full_name in own.values():
        if full_name not in totals:
            raise HoldfastError(f"importance: `{full_name}` is shared by two modules, so its gradients cannot be told")
    return {leaf: totals[full_name] for leaf, full_name in own.items()}


def _by_module(calls: list[Call], gradients: Sequence[torch.Tensor | None]) -> dict[str, list[kinds.Use]]:
    """Return each module's uses with the gradients at their outputs, leaving out what the logits do not depend on."""
    uses: dict[str, list[kinds.Use]] = {}
    for call, gradient in zip(calls, gradients, strict=True):
        if gradient is not None:
            uses.setdefault(call.name, []).append(kinds.Use(call.module, call.inputs, gradient))
    return uses


@contextmanager
def recording(network: nn.Module, batch: int) -> Iterator[list[Call]]:
    """Record the calls of every module that owns parameters while the context lasts; `batch` is the number of texts."""
    calls: list[Call] = []
    handles: list[Any] = []
    for name, module in network.named_modules():
        if next(module.parameters(recurse=False), None) is not None:
            handles.append(module.register_forward_pre_hook(kinds.one_row_per_example(batch)))
            handles.append(module.register_forward_hook(_recorder(calls, name, batch)))
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


def _recorder(calls: list[Call], name: str, batch: int) -> Callable[[nn.Module, Any, Any], Any]:
    import torch

    def hook(module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        whole = len(args) >= 1 and isinstance(args[0], torch.Tensor) and isinstance(output, torch.Tensor)
        if not whole or args[0].shape[0] != batch or output.shape[0] != batch:
            raise HoldfastError(
                f"importance: the module `{name}` ({type(module).__name__}) does not map one tensor with a row per "
                "example to another, so its per-example gradients cannot be told apart"
            )
        fresh = torch.is_grad_enabled() and not output.requires_grad
        tapped = output.requires_grad_() if fresh else output
        calls.append(Call(name, module, args[0].detach(), tapped, tapped._version))
        return tapped.clone() if fresh else tapped

    return hook


def _check_unchanged(calls: list[Call]) -> None:
    for call in calls:
        if call.output._version != call.version:
            raise HoldfastError(f"importance: the output of `{call.name}` is changed in place, so its gradient is lost")


def _check_reached(network: nn.Module, inputs: dict[str, torch.Tensor], calls: list[Call]) -> None:
    """Raise `HoldfastError` when parameters of a module that was never called do take part in the logits."""
    import torch

    called = {id(p) for call in calls for p in call.module.parameters(recurse=False)}
    unseen = {name: p for name, p in network.named_parameters() if id(p) not in called}
    if not unseen:
        return
    for parameter in unseen.values():
        parameter.requires_grad_(True)
    logits = network(**{key: value[:1] for key, value in inputs.items()}).logits
    used = torch.autograd.grad(logits.sum(), list(unseen.values()), allow_unused=True) if logits.requires_grad else ()
    for parameter in unseen.values():
        parameter.requires_grad_(False)
    for name, gradient in zip(unseen, used, strict=False):
        if gradient is not None:
            raise HoldfastError(f"importance: `{name}` is used without calling its module, so it cannot be measured")


@contextmanager
def _only_activations(network: nn.Module) -> Iterator[None]:
    """Keep backward passes from computing parameters' own gradients."""
    before = {parameter: parameter.requires_grad for parameter in network.parameters()}
    network.requires_grad_(False)
    try:
        yield
    finally:
        for parameter, required in before.items():
            parameter.requires_grad_(required)


@contextmanager
def eval_mode(network: nn.Module) -> Iterator[None]:
    """Keep the network in eval mode while the context lasts, and put every module back as it was."""
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training
