"""The circuit beside the assessment: for which task it is found, and its artifact."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from holdfast import anatomy
from holdfast import rows as datasets
from holdfast.circuits import find
from holdfast.errors import BadInput

if TYPE_CHECKING:
    from holdfast.circuits.settings import Circuit
    from holdfast.home import Home
    from holdfast.models import Model
    from holdfast.records import Artifact, Start, Validated
    from holdfast.spec import Learn, Remember, Training


def keep(
    model: Model,
    start: Start,
    validated: Validated,
    settings: Circuit,
    learn: Learn,
    remember: Sequence[Remember],
    training: Training,
    home: Home,
    report: find.Report,
) -> Artifact:
    """Find a circuit in a model that has its heads and put it into the store (`circuit.json`, `circuit.png`).

    CT-SFT finds it where the model is competent, on the old task, and trains it on the new one; so the task is the
    first remembered one that has training rows, through its head, unless settings or the lack of one say `learned`.
    Raises `BadInput` where it is not known which weights are a head's, and what `find.find` raises.
    """
    anatomy.family(model, "circuit")  # or its heads could be found, and not be selected afterwards
    task = _task(validated, settings, learn, remember, home, model)
    circuit = find.find(model, task, settings, training.max_length, training.seed, report)
    circuit["start"] = start.digest
    with home.store.scratch() as scratch:
        folder = scratch / "circuit"
        folder.mkdir()
        find.write(folder, circuit)
        return home.store.put(folder, "circuit")


def _task(
    validated: Validated, settings: Circuit, learn: Learn, remember: Sequence[Remember], home: Home, model: Model
) -> find.Task:
    """Return the task with its head in place; raise `BadInput` when the start model lacks that head."""
    for source in remember if settings.on == "remembered" else ():
        version = validated.datasets.get(f"remember.{source.name}.train")
        if version is None:
            continue
        if model.generates:
            return find.Task(source.name, source.train or version.ref, datasets.read(home, version))
        head = source.head or learn.head
        if head not in model.heads:
            expected = f"one of {', '.join(model.heads)}"
            raise BadInput(f"the start model has no head `{head}`", key="remember.head", expected=expected)
        model.use_head(head)
        return find.Task(source.name, source.train or version.ref, datasets.read(home, version))
    if not model.generates:
        model.use_head(learn.head)
    return find.Task("target", learn.train, datasets.read(home, validated.datasets["learn.train"]))
