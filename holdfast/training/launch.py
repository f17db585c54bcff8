"""Tuning in several processes: `accelerate launch` starts this module in each, and hands the first one's record back.

accelerate launch --num_processes 2 -m holdfast.training.launch GIVEN.json TUNED.json
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holdfast import home as homes
from holdfast.errors import BadInput, DiskFull, Diverged, Fenced, HoldfastError, OutOfMemory
from holdfast.records import Assessed, Selected, Start, Tuned, Validated
from holdfast.training import processes

if TYPE_CHECKING:
    from holdfast.home import Home
    from holdfast.spec import Recipe

# Imported by name: a fence says whether something is written, never what, so that no stage's digest is to depend on it.
_FENCES = "holdfast.registry.fencing"
_KINDS = {kind.__name__: kind for kind in (Diverged, Fenced, OutOfMemory, DiskFull, HoldfastError)}


def asked(recipe: Recipe) -> bool:
    """Say whether several processes are to be started, and this is none of them."""
    return recipe.training.processes > 1 and processes.count() == 1


def tune(
    selected: Selected,
    assessed: Assessed,
    validated: Validated,
    start: Start,
    recipe: Recipe,
    remember: Any,
    home: Home,
    teacher: Start | None,
) -> Tuned:
    """Return what the processes made; raise `BadInput` where there are fewer devices, and what one of them raised."""
    import torch

    several = recipe.training.processes
    if torch.cuda.is_available() and torch.cuda.device_count() < several:
        found = torch.cuda.device_count()
        what, expected = f"{several} processes and {found} devices", f"at most {found}"
        raise BadInput(what, key="training.processes", expected=expected)
    given = {
        "selected": selected.model_dump(mode="json"),
        "assessed": assessed.model_dump(mode="json"),
        "validated": validated.model_dump(mode="json"),
        "start": start.model_dump(mode="json"),
        "recipe": recipe.model_dump(mode="json"),
        "remember": [task.model_dump(mode="json") for task in remember],
        "teacher": teacher.model_dump(mode="json") if teacher else None,
        "home": str(home.path),
        "fence": home.fence.document() if home.fence else None,
    }
    with home.store.scratch() as scratch:
        question, answer = scratch / "given.json", scratch / "tuned.json"
        question.write_text(json.dumps(given), encoding="utf-8")
        done = _launch(several, question, answer, home)
        if answer.is_file():
            return _read(json.loads(answer.read_text(encoding="utf-8")))
    raise HoldfastError(f"the {several} processes of the tuning ended with {done.returncode}:\n{done.stderr[-2000:]}")


def _launch(several: int, question: Path, answer: Path, home: Home) -> subprocess.CompletedProcess[str]:
    """Run the processes; their threads share this one's."""
    import torch

    # `--multi_gpu` starts torch's launcher; where there is no accelerator, the processes join by gloo.
    words = ["--multi_gpu", "--num_processes", str(several), "--num_machines", "1", "--main_process_port", "0"]
    words += ["--mixed_precision", "no", "--dynamo_backend", "no"]
    command = [sys.executable, "-m", "accelerate.commands.launch", *words, "-m", __name__, str(question), str(answer)]
    threads = str(max(1, torch.get_num_threads() // several))
    environment = {**os.environ, **homes.environment(home), "OMP_NUM_THREADS": threads}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def _read(said: dict[str, Any]) -> Tuned:
    if "tuned" in said:
        return Tuned(**said["tuned"])
    raise _KINDS.get(said["kind"], HoldfastError)(said["error"])


def main(question: Path, answer: Path) -> None:
    """Tune as one of several processes; the first writes the record, or why there is none."""
    import torch
    from accelerate import PartialState

    from holdfast.spec import Recipe, Remember
    from holdfast.training import tune as tuning

    given = json.loads(question.read_text(encoding="utf-8"))
    home = homes.make(Path(given["home"]))
    if given["fence"]:
        home = dataclasses.replace(home, fence=importlib.import_module(_FENCES).read(given["fence"]))
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    PartialState(cpu=not torch.cuda.is_available())  # the processes meet here
    try:
        tuned = tuning.tune(
            Selected(**given["selected"]),
            Assessed(**given["assessed"]),
            Validated(**given["validated"]),
            Start(**given["start"]),
            Recipe(**given["recipe"]),
            [Remember(**task) for task in given["remember"]],
            home,
            teacher=Start(**given["teacher"]) if given["teacher"] else None,
        )
        said: dict[str, Any] = {"tuned": tuned.model_dump(mode="json")}
    except HoldfastError as error:
        said = {"kind": type(error).__name__, "error": str(error)}
    if processes.number() == 0 or "error" in said:
        part = answer.with_name(f"{answer.name}.{processes.number()}")
        part.write_text(json.dumps(said), encoding="utf-8")
        part.replace(answer)
    if "error" in said:
        os._exit(1)  # the launcher ends the others, which wait for this one


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
