"""A report as plain data: sections of paragraphs, tables, pictures and code, before anything is escaped or rendered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str


@dataclass(frozen=True)
class Table:
    """Rows under column heads; `moods` marks rows as good, bad or neutral news."""

    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    moods: Sequence[str] | None = None


@dataclass(frozen=True)
class Picture:
    """A PNG and what it shows."""

    caption: str
    png: bytes


@dataclass(frozen=True)
class Code:
    """Text shown as it is, such as a file."""

    text: str


Block = Text | Table | Picture | Code


@dataclass(frozen=True)
class Section:
    """Blocks under a heading."""

    heading: str
    blocks: list[Block]


@dataclass(frozen=True)
class Document:
    """A report: `verdict` stands in a box under the title, coloured by whether it is `good` news."""

    title: str
    verdict: str
    good: bool
    sections: list[Section]
