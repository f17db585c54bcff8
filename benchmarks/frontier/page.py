"""The generated parts of `docs/methods.md`: tables, the first sentence of every method, and what papers claim.

A part lies between `<!-- generated: NAME -->` and `<!-- end -->`; what stands there is replaced, all else stays.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.frontier import claims
from holdfast.comparison import table

Documents = dict[str, dict[str, Any]]
TITLES = {
    "javanese": "NusaX, English, then Javanese (classification, real)",
    "made": "English, then Lirian (classification, made)",
    "exercises": "Exercises (generation, made)",
    "sundanese": "NusaX, English, then Sundanese: the eight arms that did best on Javanese `valid`",
    "minangkabau": "NusaX, English, then Minangkabau: the same eight",
}
_MARKED = re.compile(r"<!-- generated: (?P<name>[^>]+?) -->.*?<!-- end -->", re.DOTALL)


def write(documents: Documents, path: Path, results: Path) -> None:
    """Replace every generated part of a page by what the results say now; raise `LookupError` for an unknown part."""
    path.write_text(rendered(path.read_text(encoding="utf-8"), documents), encoding="utf-8")
    print(f"wrote {path} from {len(documents)} parts in {results}")


def rendered(text: str, documents: Documents) -> str:
    """Return a page with its generated parts made anew."""

    def made(match: re.Match[str]) -> str:
        name = match["name"]
        kind, _, what = name.partition(" ")
        if kind not in _MAKERS:
            raise LookupError(f"nothing makes the generated part `{name}`")
        inside = _MAKERS[kind](documents, what)
        gap = "\n" if kind != "verdict" else ""
        return f"<!-- generated: {name} -->{gap}{inside}{gap}<!-- end -->"

    return _MARKED.sub(made, text)


def tables(documents: Documents, _: str) -> str:
    """Return a table and a picture for every part."""
    lines = []
    for part, title in TITLES.items():
        lines += [f"### {title}", ""]
        if part in documents:
            lines += [table.markdown(documents[part]), f"![Gain against loss](frontier-{part}.png)", ""]
        else:
            lines += ["Not yet measured.", ""]
    return "\n".join(lines).rstrip()


def reproduction(documents: Documents, _: str) -> str:
    """Return the table of what papers claim."""
    return "\n".join(claims.table(documents))


def verdict(documents: Documents, arms: str) -> str:
    """Return the first sentence about a method: whether its arm (the first that ran) beats plain tuning.

    It beats its baseline where target or memory is better than that of `sft` beyond chance and neither is worse.
    """
    for part in TITLES:
        for name in arms.split():
            found = claims.learns_more(name)(documents[part]) if part in documents else None
            kept = claims.keeps_more(name)(documents[part]) if part in documents else None
            if found is not None:
                return _sentence(part, found, kept)
    return "Not yet measured against its baseline."


def _sentence(part: str, target: claims.Difference, kept: claims.Difference | None) -> str:
    both = [target, *([kept] if kept else [])]
    beats = any(low > 0 for _, low, _ in both) and not any(high < 0 for _, _, high in both)
    said = f"target {_interval(target)}" + (f", remembered {_interval(kept)}" if kept else "")
    return f"{'Beats' if beats else 'Does not beat'} plain tuning on {part}, in points against `sft`: {said}."


def _interval(points: claims.Difference) -> str:
    return f"{points[0]:+.1f} ({points[1]:+.1f} to {points[2]:+.1f})"


_MAKERS: dict[str, Callable[[Documents, str], str]] = {
    "tables": tables, "reproduction": reproduction, "verdict": verdict
}  # fmt: skip
