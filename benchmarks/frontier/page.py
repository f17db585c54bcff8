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
    "restyled": "Exercises, from a start model that paraphrases in other words than its own (generation, made)",
    "sundanese": "NusaX, English, then Sundanese: the eight arms that did best on Javanese `valid`",
    "minangkabau": "NusaX, English, then Minangkabau: the same eight",
    "equal-size": "NusaX, English, then Javanese: heads of the circuit beside LoRA with as many weights",
}
_AGAIN = ("equal-size",)  # whose arms are judged by another part
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
    """Return the first sentences about a method: whether its arm, or each of several that ran, beats plain tuning.

    It beats its baseline where target or memory is better than that of `sft` beyond chance and neither is worse.
    """
    said = {name: found for name in arms.split() if (found := _of_arm(documents, name))}
    if len(said) > 1:
        return " ".join(f"`{name}`: {sentences}" for name, sentences in said.items())
    return next(iter(said.values()), "Not yet measured against its baseline.")


_Both = tuple[claims.Difference, claims.Difference | None]


def _of_arm(documents: Documents, name: str) -> str:
    """Return what is said of an arm: figures of the first part on which it ran, and whether it is so on the others."""
    found = {part: _against_sft(documents[part], name) for part in TITLES if part in documents and part not in _AGAIN}
    seen = [(part, both[0], both[1]) for part, both in found.items() if both is not None]
    if not seen:
        return ""
    beat = [(part, _beats(learned, kept)) for part, learned, kept in seen]
    return _sentence(*seen[0]) + _elsewhere(beat[0][1], beat[1:])


def _against_sft(document: dict[str, Any], name: str) -> _Both | None:
    """Return how much more an arm learned and kept than `sft`."""
    learned = claims.learns_more(name)(document)
    return None if learned is None else (learned, claims.keeps_more(name)(document))


def _beats(target: claims.Difference, kept: claims.Difference | None) -> bool:
    both = [target, *([kept] if kept else [])]
    return any(low > 0 for _, low, _ in both) and not any(high < 0 for _, _, high in both)


def _sentence(part: str, target: claims.Difference, kept: claims.Difference | None) -> str:
    beats = "Beats" if _beats(target, kept) else "Does not beat"
    said = f"target {_interval(target)}" + (f", remembered {_interval(kept)}" if kept else "")
    return f"{beats} plain tuning on {part}, in points against `sft`: {said}."


def _elsewhere(beat: bool, others: list[tuple[str, bool]]) -> str:
    """Return on which other parts an arm beat `sft` and on which not, what is as on the first part before the rest."""
    said = ""
    for wanted in (beat, not beat):
        parts = [part for part, beaten in others if beaten is wanted]
        if parts:
            verb = "Beats it" if wanted else "Does not beat it"
            said += f" {verb} on {_listed(parts)}{' either' if not wanted and not beat else ''}."
    return said


def _listed(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _interval(points: claims.Difference) -> str:
    return f"{points[0]:+.1f} ({points[1]:+.1f} to {points[2]:+.1f})"


_MAKERS: dict[str, Callable[[Documents, str], str]] = {
    "tables": tables, "reproduction": reproduction, "verdict": verdict
}  # fmt: skip
