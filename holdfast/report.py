"""The report of a run: an HTML page that needs nothing else, the same as Markdown, and a summary for the terminal.

page = report.write(folder, result, home=home, prepared=..., validated=..., assessed=..., tuned=..., evaluated=...)
rich.print(report.summary_table(result))          # on a terminal
print("\\n".join(report.summary_lines(result)))    # in a log
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from holdfast import parts
from holdfast.records import Assessed, Evaluated, Prepared, Result, Selected, Tuned, Validated
from holdfast.reports import choice, control, html, markdown, sections, words
from holdfast.reports.document import Document

if TYPE_CHECKING:
    from rich.console import RenderableType

    from holdfast.home import Home

_COLOURS = {"good": "green", "bad": "bold red", "neutral": ""}


def write(
    folder: Path,
    result: Result,
    *,
    home: Home,
    prepared: Prepared,
    validated: Validated,
    assessed: Assessed,
    tuned: Tuned,
    evaluated: Evaluated,
    selected: Selected | None = None,
    **_: Any,
) -> Path:
    """Write `report.html` and `report.md` into `folder` (made where needed) and return the page's path.

    Takes the records of a run by name and ignores those that it does not show. Raises `Corrupt` when an artifact that
    it shows is damaged.
    """
    page = Document(
        title=_title(result),
        verdict=words.verdict(result),
        good=result.verdict == "promoted",
        sections=[
            sections.learned_and_kept(evaluated, result.shadow, home),
            sections.selection(result, assessed, home),
            *choice.sections(selected, home),
            sections.tuning(tuned, home),
            *control.sections(tuned, home),
            sections.detail(evaluated, home),
            sections.validation(validated, home),
            sections.data(prepared, validated),
            sections.lineage(result),
            *([sections.stages(result)] if result.stages else []),
        ],
    )
    folder.mkdir(parents=True, exist_ok=True)
    _replace(folder / "report.md", markdown.render(page))
    _replace(folder / "report.html", html.render(page))
    return folder / "report.html"


def summary_table(result: Result) -> RenderableType:
    """Return a run for the terminal as a rich renderable: the tasks, the verdict, where to look further."""
    from rich import box
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    tasks = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), caption=Text(words.LEGEND), caption_justify="left")
    for column in words.COLUMNS:
        tasks.add_column(column, justify="left" if column in ("task", "verdict") else "right")
    for line in words.table(result.target, result.remembered):
        *cells, verdict = (Text(cell) for cell in line.cells)
        verdict.stylize(_COLOURS[line.mood])
        tasks.add_row(*cells, verdict)
    verdict = Text(words.verdict(result), style="bold green" if result.verdict == "promoted" else "bold red")
    facts = Table.grid(padding=(0, 2))
    for name, value in _facts(result):
        facts.add_row(Text(name, style="dim"), Text(value))
    return Group(Text(_title(result), style="bold"), tasks, verdict, facts)


def summary_lines(result: Result) -> list[str]:
    """Return the same as plain lines: the table of tasks in aligned columns, the verdict, where to look further."""
    rows = [words.COLUMNS, *(line.cells for line in words.table(result.target, result.remembered))]
    widths = [max(len(row[i]) for row in rows) for i in range(len(words.COLUMNS))]
    lines = [_title(result)]
    lines += ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines += [words.LEGEND, words.verdict(result)]
    lines += [f"{name}: {value}" for name, value in _facts(result)]
    return lines


def _title(result: Result) -> str:
    return f"{result.pipeline}, version {result.version}"


def _facts(result: Result) -> list[tuple[str, str]]:
    return [
        ("moved", words.moved(result)),
        *([("learned", result.learned)] if result.learned else []),
        *([("controller", result.controller)] if result.controller else []),
        *([("shadow", words.shadow(result.shadow))] if result.shadow else []),
        ("report", result.report),
        ("MLflow run", f"{result.run_id} at {words.address(result.tracking)}"),
        *([("time", words.stages(result))] if result.stages else []),
    ]


def _replace(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    with parts.making(path.parent) as part:
        (part / path.name).write_text(text, encoding="utf-8", newline="\n")
        (part / path.name).replace(path)
