"""A document as Markdown: text and tables with everything that could be markup escaped; pictures are only named."""

from __future__ import annotations

import re
from html import escape as escape_html

from holdfast.reports.document import Block, Code, Document, Picture, Section, Table, Text

_SPECIAL = re.compile(r"([\\`*_{}\[\]#|~!])")
_FENCE = "```"


def render(document: Document) -> str:
    """Return the Markdown."""
    parts = [f"# {_plain(document.title)}", f"**{_plain(document.verdict)}**"]
    parts += [part for section in document.sections for part in _section(section)]
    return "\n\n".join(parts) + "\n"


def _section(section: Section) -> list[str]:
    return [f"## {_plain(section.heading)}", *(_block(block) for block in section.blocks)]


def _block(block: Block) -> str:
    if isinstance(block, Text):
        return _plain(block.text)
    if isinstance(block, Code):
        return f"{_FENCE}\n{block.text.replace(_FENCE, '` ` `')}\n{_FENCE}"
    if isinstance(block, Picture):
        return f"(Picture in the HTML report: {_plain(block.caption)})"
    return _table(block)


def _table(table: Table) -> str:
    rows = [table.columns, tuple("---" for _ in table.columns)]
    lines = ["| " + " | ".join(_plain(cell) if row is not rows[1] else cell for cell in row) + " |" for row in rows]
    lines += ["| " + " | ".join(_plain(cell) for cell in row) + " |" for row in table.rows]
    return "\n".join(lines)


def _plain(text: str) -> str:
    """Return text on one line with HTML and Markdown marks made harmless."""
    return _SPECIAL.sub(r"\\\1", escape_html(" ".join(text.split()), quote=False))
