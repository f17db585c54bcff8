"""The start model itself says whether the answer is as right as the gold answer.

That it is the same model is S3FT's; the prompt's wording and how its verdict is read are inferred.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from holdfast import choices
from holdfast.generation import prompts
from holdfast.judges._case import Ask, Case

SHORTHAND = "prompt"
_WORD = re.compile(r"[^\W\d_]+")


class Options(choices.Options):
    """`prompt`: a file of one's own in place of the shipped one, with {prompt}, {answer} and {gold} where they go."""

    prompt: Path | None = None


def judge(cases: Sequence[Case], options: Options, ask: Ask) -> list[bool]:
    """Return whether the model's verdict on each answer begins with `yes` or `correct`."""
    text = prompts.read("judge", options.prompt)
    asked = [prompts.fill(text, prompt=case.prompt, answer=case.answer, gold=case.gold) for case in cases]
    return [says_yes(verdict) for verdict in ask(asked)]


def says_yes(verdict: str) -> bool:
    """Say whether a verdict's first word is `yes` or `correct`, whatever comes behind it."""
    first = _WORD.search(verdict)
    return first is not None and first[0].lower() in ("yes", "correct")
