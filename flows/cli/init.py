"""`holdfast init`: write the smallest pipeline file for a dataset."""

import difflib
import os
import re
from pathlib import Path
from typing import Annotated

import typer

from flows.cli import common

_TEXT_NAMES = ("text", "sentence", "message", "tweet", "review", "query", "content", "comment", "utterance")
_LABEL_NAMES = ("label", "category", "class", "intent", "sentiment", "topic", "emotion", "target")


def init(
    data: Annotated[Path, typer.Argument(help="A CSV, TSV, JSONL or Parquet file with texts and labels.")],
    output: Annotated[Path | None, typer.Option(help="The file to write; else DATA's name with .yaml, here.")] = None,
    json: common.JsonOption = False,
) -> None:
    """Write a six-line pipeline file that learns DATA."""
    with common.guarded(json):
        common.quiet()
        from holdfast import tables
        from holdfast.errors import BadInput

        columns = list(tables.read(data)[0])
        text, label = _guess(columns, _TEXT_NAMES), _guess(columns, _LABEL_NAMES)
        if not text or not label or text == label:
            expected = "a column of texts and one of labels"
            remedy = f"Rename them to `text` and `label`; the file has {', '.join(columns)}."
            raise BadInput("cannot tell which columns to learn from", file=data, expected=expected, remedy=remedy)
        target = output or Path(f"{_name(data)}.yaml")
        _write(target, _lines(data, target, text, label))
        if json:
            common.print_json({"file": str(target)})
        else:
            typer.echo(f"wrote {target}; now: holdfast run {target}")


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


def _lines(data: Path, target: Path, text: str, label: str) -> str:
    try:
        path = data.resolve().relative_to(target.resolve().parent)
    except ValueError:
        path = data.resolve()
    return "\n".join(
        [
            f"name: {_name(data)}",
            "start: {model: all-MiniLM-L6-v2}",
            "learn:",
            f"  train: {path}",
            f"  text: {text}",
            f"  label: {label}",
            "",
        ]
    )
