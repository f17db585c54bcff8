"""`holdfast init`: write the smallest pipeline file for a dataset."""

import difflib
import os
import re
from pathlib import Path
from typing import Annotated

import typer

from flows.cli import common

_BASES = {"classification": "all-MiniLM-L6-v2", "generation": "kelp"}
_TEXT_NAMES = ("text", "sentence", "message", "tweet", "review", "query", "content", "comment", "utterance")
_PROMPT_NAMES = ("prompt", "question", "instruction", "input", "source")
_ANSWER_NAMES = ("answer", "response", "output", "completion", "solution", "target")
_LABEL_NAMES = ("label", "category", "class", "intent", "sentiment", "topic", "emotion", "target")
_NAMES = (_PROMPT_NAMES, _ANSWER_NAMES, _TEXT_NAMES, _LABEL_NAMES)
_KINDS = {"classification": ("text", "label"), "generation": ("prompt", "answer")}


def init(
    data: Annotated[Path, typer.Argument(help="CSV, TSV, JSONL or Parquet: texts and labels, or prompts and answers.")],
    output: Annotated[Path | None, typer.Option(help="The file to write; else DATA's name with .yaml, here.")] = None,
    task: Annotated[str | None, typer.Option(help="classification or generation; else what the columns say.")] = None,
    start: Annotated[str | None, typer.Option(help="What to start from; else the small base that suits.")] = None,
    json: common.JsonOption = False,
) -> None:
    """Write a six-line pipeline file that learns DATA, or one of seven lines where prompts have answers."""
    with common.guarded(json):
        common.quiet()
        from holdfast import tables
        from holdfast.errors import BadInput

        columns = list(tables.read(data)[0])
        chosen = _task(task, columns)
        kinds, found = _KINDS[chosen], _columns(columns, chosen)
        if None in found or found[0] == found[1]:
            expected = f"a column of {kinds[0]}s and one of {kinds[1]}s"
            remedy = f"Rename them to `{kinds[0]}` and `{kinds[1]}`; the file has {', '.join(columns)}."
            raise BadInput("cannot tell which columns to learn from", file=data, expected=expected, remedy=remedy)
        target = output or Path(f"{_name(data)}.yaml")
        named = [f"  {kind}: {column}" for kind, column in zip(kinds, found, strict=True)]
        said = [f"task: {chosen}"] if chosen == "generation" else []
        _write(target, _lines(data, target, said, start or _BASES[chosen], named))
        if json:
            common.print_json({"file": str(target)})
        else:
            typer.echo(f"wrote {target}; now: holdfast run {target}")


def _task(task: str | None, columns: list[str]) -> str:
    """Return the task: as said, else generation where only prompts and answers are found by their usual names.

    Raises `BadInput` for an unknown one.
    """
    from holdfast.errors import BadInput

    if task is not None and task not in _KINDS:
        raise BadInput(f"no task `{task}`", key="--task", expected="classification or generation")
    lower = {column.lower() for column in columns}
    prompts, answers, texts, labels = (not lower.isdisjoint(names) for names in _NAMES)
    return task or ("generation" if prompts and answers and not (texts and labels) else "classification")


def _columns(columns: list[str], task: str) -> tuple[str | None, str | None]:
    prompts, answers, texts, labels = _NAMES
    first, second = (prompts, answers) if task == "generation" else (texts, labels)
    return _guess(columns, first), _guess(columns, second)


def _write(target: Path, text: str) -> None:
    """Write a new file, whole or not at all: beside its place first."""
    from holdfast.errors import BadInput

    if target.exists():
        raise BadInput("exists already", file=target, remedy="Name another file with --output.")
    scratch = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        scratch.write_text(text, encoding="utf-8")
        scratch.replace(target)
    finally:
        scratch.unlink(missing_ok=True)


def _name(data: Path) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", data.stem).strip("-.") or "pipeline"


def _guess(columns: list[str], names: tuple[str, ...]) -> str | None:
    """Return the column whose name is, or is nearest to, one of the usual `names`."""
    lower = {column.lower(): column for column in columns}
    exact = [lower[name] for name in names if name in lower]
    near = [match for name in names for match in difflib.get_close_matches(name, list(lower), n=1, cutoff=0.7)]
    return exact[0] if exact else lower[near[0]] if near else None


def _lines(data: Path, target: Path, task: list[str], start: str, columns: list[str]) -> str:
    try:
        path = data.resolve().relative_to(target.resolve().parent)
    except ValueError:
        path = data.resolve()
    return "\n".join(
        [
            f"name: {_name(data)}",
            *task,
            f"start: {{model: {start}}}",
            "learn:",
            f"  train: {path}",
            *columns,
            "",
        ]
    )
