"""Faults of the machine, of the registry's files and of the optimisation, put in place while a command runs."""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.badinput.cases import Case, again
from tests.badinput.house import House, another_user, no_room

Fault = Callable[[House], contextlib.AbstractContextManager[Any]]


def wrapped(module: str, name: str, around: Callable[[], contextlib.AbstractContextManager[Any]]) -> Fault:
    """Have a function run inside `around()`."""

    @contextlib.contextmanager
    def during(house: House) -> Iterator[None]:
        import importlib

        owner: Any = importlib.import_module(module)
        real = getattr(owner, name)

        def inside(*args: Any, **kwargs: Any) -> Any:
            with around():
                return real(*args, **kwargs)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(owner, name, inside)
            yield

    return during


def later(module: str, name: str, around: Callable[[], contextlib.AbstractContextManager[Any]]) -> Fault:
    """Have a function's second call and later ones run inside `around()`."""
    calls: list[None] = []

    def sometimes() -> contextlib.AbstractContextManager[Any]:
        calls.append(None)
        return around() if len(calls) > 1 else contextlib.nullcontext()

    return wrapped(module, name, sometimes)


def raising(module: str, name: str, error: BaseException) -> Fault:
    """Have a function raise."""

    @contextlib.contextmanager
    def around() -> Iterator[None]:
        raise error
        yield

    return wrapped(module, name, around)


def damaged(find: Callable[[House], list[Path]], change: Callable[[bytes], bytes]) -> Fault:
    """Have files damaged while the command runs, and whole again afterwards."""

    @contextlib.contextmanager
    def during(house: House) -> Iterator[None]:
        whole = {path: path.read_bytes() for path in find(house)}
        assert whole
        for path, data in whole.items():
            path.write_bytes(change(data))
        try:
            yield
        finally:
            for path, data in whole.items():
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)

    return during


def weights(house: House) -> list[Path]:
    """Every copy of the weights of `toy`, version 1: in the home's store and in the registry."""
    return sorted(house.adapter().glob("adapter_model.safetensors")) + sorted(
        house.home.path.glob("mlartifacts/toy/**/adapter_model.safetensors")
    )


def flip(data: bytes) -> bytes:
    """Change one bit in the middle."""
    at = len(data) // 2
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def seeded(seed: int, *settings: str) -> Callable[[House], list[str]]:
    """Run the good file with another seed, so that it has to be tuned again, and other settings."""
    return lambda house: ["run", "toy.yaml", *(w for s in (f"training.seed={seed}", *settings) for w in ("--set", s))]


PREDICT = ["predict", "toy/1", "test.csv", "out.csv"]
RETRY = "run the same command again"
NO_MEMORY = RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried")

MACHINE = [
    Case("disk full while checkpointing", seeded(11), 1,
         ("checkpoints", "file too large", "MB free", "the last good checkpoint, of step 5, is kept in", RETRY),
         during=lambda h: later("holdfast.training.checkpoints", "_fill", no_room)(h), then=None),
    Case("disk full while storing", seeded(12), 1, ("cannot be written", "file too large", "MB free", RETRY),
         during=wrapped("holdfast.training.curve", "_draw", no_room), then=None),
    Case("disk full while registering", seeded(13), 1, ("cannot be written", "file too large", "MB free", RETRY),
         during=wrapped("holdfast.registry.package", "_save", no_room), then=None),
    Case("disk full while predicting", lambda h: PREDICT, 1, ("cannot be written", "MB free", RETRY),
         during=wrapped("holdfast.tables", "write", no_room)),
    Case("home below a file", lambda h: ["run", "toy.yaml", "--home", "toy.yaml/home"], 2,
         ("toy.yaml/home", "cannot be written to", "Choose another with --home")),
    Case("home that is something else", lambda h: ["run", "toy.yaml", "--home", "."], 2,
         ("project", "is not a Holdfast home", "Choose a new or an empty folder")),
    Case("loss that is no number", seeded(14, "training.learning_rate=1e30"), 1,
         ("diverged at step 2", "nan", "no checkpoint had been written yet", "Lower training.learning_rate")),
    Case("loss that explodes", seeded(15, "training.learning_rate=300", "training.clip=1e9"), 1,
         ("diverged at step", "the loss is", "Lower training.learning_rate")),
    Case("out of memory while tuning", seeded(16), 1,
         ("training.batch 16", "training.max_length 128", "lower one of them"),
         during=raising("holdfast.training.batches", "collate", NO_MEMORY), then=None),
    Case("out of memory elsewhere", seeded(17), 1, ("memory ran out", "Lower training.batch or training.max_length"),
         during=raising("holdfast.forgetting.evaluate", "evaluate", MemoryError()), then=None),
    Case("base model that has changed", again(), 1, ("base", "the weights of base model", "have sha256", "expected"),
         during=damaged(lambda h: [h.base / "model.safetensors"], flip)),
    Case("adapter that has changed", lambda h: PREDICT, 1,
         ("adapter_model.safetensors", "do not match the manifest", "version 1 of `toy`"),
         during=damaged(weights, flip)),
    Case("adapter that is a pickle", lambda h: PREDICT, 1, ("adapter_model.safetensors", "pickles are never loaded"),
         during=damaged(weights, lambda data: b"\x80\x04" + data)),
    Case("defect", seeded(18), 1, ("unexpected ZeroDivisionError: of ours", "report"),
         during=raising("holdfast.forgetting.evaluate", "evaluate", ZeroDivisionError("of ours")), then=None),
]  # fmt: skip
if os.geteuid() == 0:  # root may write everywhere, so it has to become someone else
    MACHINE.append(
        Case("home of another user", lambda h: ["data", "list"], 2, ("home", "Permission denied", "--home"),
             during=wrapped("holdfast.home", "make", another_user))
    )  # fmt: skip
