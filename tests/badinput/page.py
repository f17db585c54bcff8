"""One line of docs/errors.md, the table of what can be wrong and what Holdfast says of it."""

import re


def line(wrong: str, code: int, message: str) -> str:
    """Return the table's line of a case, its exit code and its message."""
    return f"| {wrong} | {code} | {_cell(message)} |"


def _cell(message: str) -> str:
    """Return a message as a cell, without what differs from run to run (digests, sizes, losses), nor line ends."""
    short = re.sub(r"[0-9a-f]{12,}", "...", re.sub(r"[\d,.]+ MB free", "N MB free", message))
    short = re.sub(r"the loss is \d[\d.e+]*", "the loss is N", short)
    return " ".join(short.replace("|", "\\|").replace("<", "&lt;").split())
