"""What to learn in the model's own words: S3FT (arXiv 2502.08130) and its ablations, for generation only.

self: true
self: {judge: number, arm: s3ft, paraphrase: my-prompt.txt}

self: {judge: "my_judge.py:good"}

Before the first update every answer of `learn.train` is replaced as `holdfast.generation.targets` says: by the start
model's own where the judge accepts it, else by its paraphrase, else it stays. The judges' rules, the prompts and greedy
decoding are inferred.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from holdfast import choices, digests
from holdfast.errors import BadInput
from holdfast.generation import judging, prompts
from holdfast.generation.judging import Judge
from holdfast.generation.targets import Arm

SHORTHAND = "judge"
_JUDGE = "examples.self.judge"


class Options(choices.Options):
    """Which `judge` (a name, {name: options}, `module:function` or `FILE.py:function`; else the one that suits the
    task's metric), which `arm`, the user's own `paraphrase` prompt, and how many tokens a generated answer may have.
    """

    judge: str | dict[str, Any] | None = None
    arm: Arm = "s3ft"
    paraphrase: Path | None = None
    max_new_tokens: int = Field(64, ge=1)


def judge(options: Options, metric: str | None) -> Judge:
    """Return the judge; raise `BadInput` for more than one, an unknown one, or a function that cannot be found."""
    default = metric if metric in ("number", "tests") else "exact"
    return judging.parse(options.judge or default, _JUDGE)


def located(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return options with the paths of prompt files absolute, a judge's too, and that of a judge's own file.

    Raises `BadInput` for a judge that cannot be found and a prompt that cannot be used.
    """
    found = _absolute(values, folder)
    chosen = judge(Options(**found), None)
    _check_prompt("paraphrase", found.get("paraphrase"), "examples.self.paraphrase")
    _check_prompt("judge", chosen.options.get("prompt"), f"{_JUDGE}.{chosen.name}.prompt")
    return found


def _check_prompt(name: str, file: str | None, key: str) -> None:
    if file is None:
        return
    try:
        prompts.read(name, Path(file))
    except BadInput as error:
        raise BadInput(f"{error.file}: {error.what}", key=key, expected=error.expected) from error


def _absolute(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    found = dict(values)
    for key in ("paraphrase", "prompt"):
        if isinstance(found.get(key), str):
            found[key] = str((folder / Path(found[key]).expanduser()).resolve())
    file, _, function = str(found.get("judge")).rpartition(":")
    if isinstance(found.get("judge"), str) and file.endswith(".py"):
        found["judge"] = f"{(folder / Path(file).expanduser()).resolve()}:{function}"
    if isinstance(found.get("judge"), dict):
        found["judge"] = {name: _located_options(name, own, folder) for name, own in found["judge"].items()}
    return found


def _located_options(name: str, own: Any, folder: Path) -> Any:
    if isinstance(own, str) and getattr(choices.load("judges", name, _JUDGE), "SHORTHAND", None) == "prompt":
        own = {"prompt": own}
    return _absolute(own, folder) if isinstance(own, dict) else own


def key(options: Options, metric: str | None) -> dict[str, Any]:
    """Return what the targets depend on beside data and model: the judge's key and the prompt's digest."""
    own = digests.of_file(options.paraphrase) if options.paraphrase else None
    return {"judge": judge(options, metric).key(), "paraphrase": own}


def draw(tasks: Sequence[str], epoch: int, seed: int, options: Options) -> list[int]:
    """Return the positions of the rows to be learned: the pool already holds the new answers."""
    return [position for position, task in enumerate(tasks) if not task]
