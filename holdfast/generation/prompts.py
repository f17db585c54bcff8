"""Prompt texts with places to fill in: files shipped in `holdfast/examples/prompts`, or the user's own.

The shipped wording is inferred: of S3FT's prompts only what they ask for is known, and not their strings.
"""

from __future__ import annotations

import re
from pathlib import Path

from holdfast.errors import BadInput

_SHIPPED = Path(__file__).resolve().parents[1] / "examples" / "prompts"
_PLACE = re.compile(r"\{(prompt|answer|gold)\}")
_NEEDED = {"paraphrase": {"prompt", "gold"}, "judge": {"prompt", "answer", "gold"}}


def read(name: str, own: Path | None = None) -> str:
    """Return the shipped prompt `name` (paraphrase or judge), or that of the file `own`.

    Raises `BadInput` when the user's file cannot be read or lacks a place that must be filled in.
    """
    path = own or _SHIPPED / f"{name}.txt"
    try:
        text = path.read_text(encoding="utf-8").rstrip("\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise BadInput(f"the prompt cannot be read ({reason})", file=path) from error
    missing = sorted(_NEEDED[name] - set(_PLACE.findall(text)))
    if missing:
        raise BadInput(f"the prompt has no place for the {missing[0]}", file=path, expected=f"{{{missing[0]}}}")
    return text


def fill(text: str, **values: str) -> str:
    """Return a prompt with its places filled in, all at once: braces in what is filled in stay as they are."""
    return _PLACE.sub(lambda match: values[match[1]], text)
