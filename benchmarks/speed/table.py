"""The page: every bar with what was reached, and what both sides took."""

from __future__ import annotations

import json
import statistics
from dataclasses import dataclass
from typing import Any

from benchmarks.speed import world

Kept = dict[str, dict[str, list[dict[str, Any]]]]
NOTES = world.ROOT / "benchmarks" / "speed" / "notes.json"


@dataclass(frozen=True)
class Bar:
    """One claim: `faster` a side is so many times faster than another, or `most` its share of the other at most."""

    number: str
    what: str
    section: str
    side: str
    beside: str
    faster: float | None = None
    most: float | None = None
    figure: str = "seconds"


_S, _R = "top-layers", "holdfast, random head"
BARS = (
    Bar("1", "top two layers, 4 epochs, a random head on both sides, against full tuning", _S, _R, "Trainer, full", 8),
    Bar("1", "… grouped by length", _S, _R, "Trainer, full, grouped", 5),
    Bar("1", "… against the same layers", _S, _R, "Trainer, same layers", 5),
    Bar("1", "… the same layers, grouped", _S, _R, "Trainer, same layers, grouped", 2.6),
    Bar("1", "… ours fitted first (the default), against full tuning", _S, "holdfast", "Trainer, full", 8),
    Bar("1", "… grouped by length", _S, "holdfast", "Trainer, full, grouped", 5),
    Bar("1", "… against the same layers", _S, "holdfast", "Trainer, same layers", 5),
    Bar("1", "… the same layers, grouped", _S, "holdfast", "Trainer, same layers, grouped", 2.6),
    Bar("2", "LoRA r=8 on query and value, MiniLM, ours fitted first", "lora", "holdfast", "Trainer + PEFT", 1.8),
    Bar("2", "… grouped", "lora", "holdfast", "Trainer + PEFT, grouped", 1.15),
    Bar("2", "LoRA on a small decoder, against trl, padded", "decoder", "holdfast", "SFTTrainer, padded", 2.2),
    Bar("2", "… grouped", "decoder", "holdfast", "SFTTrainer, grouped", 1.3),
    Bar("2", "… packed", "decoder", "holdfast", "SFTTrainer, packed", 1.5),
    Bar("3", "CT-SFT beside LoRA", "lora", "holdfast, CT-SFT", "holdfast", most=1.0),
    Bar("3", "FISH mask beside LoRA (reported)", "lora", "holdfast, FISH mask", "holdfast"),
    Bar("3", "CT-SFT's memory beside full tuning", "memory", "holdfast, CT-SFT", "Trainer, full", None, 1.0, "MiB"),
    Bar("3", "FISH mask's memory (reported)", "memory", "holdfast, FISH mask", "Trainer, full", figure="MiB"),
    Bar("G", "`compile`, 32 updates of everything (no bar)", "compiled", "compiled", "as it is"),
    Bar("G", "… an update once compiled (no bar)", "compiled", "compiled", "as it is", figure="update"),
    Bar("4", "exact Fisher, fp32", "fisher", "Fisher, fp32", "forward and backward, fp32", most=1.3),
    Bar("4", "exact Fisher, bf16", "fisher", "Fisher, bf16", "forward and backward, bf16", most=1.5),
    Bar("4", "72 heads, 32 rows, fp32", "decomposition", "holdfast", "one head at a time", most=0.25),
    Bar("4", "… bf16", "decomposition", "holdfast, bf16", "one head at a time", most=0.25),
    Bar("5", "classifying 400 rows", "classifying", "holdfast", "Trainer.predict", 1.8),
    Bar("5", "… bf16 weights, batches of 16", "classifying", "holdfast", "Trainer.predict, bf16 weights", 1.8),
    Bar("5", "a second time", "classifying", "holdfast, again", "holdfast", most=0.05),
    Bar("5", "BLiMP, bf16", "minimal pairs", "holdfast", "lm-eval, bf16", 2),
    Bar("5", "BLiMP, fp32", "minimal pairs", "holdfast, fp32", "lm-eval, fp32", 2),
    Bar("5", "BLiMP, bf16 beside lm-eval's fp32 (no bar)", "minimal pairs", "holdfast", "lm-eval, fp32"),
    Bar("5", "multiple choice, bf16", "choices", "holdfast", "lm-eval, bf16", 2),
    Bar("5", "multiple choice, fp32", "choices", "holdfast, fp32", "lm-eval, fp32", 2),
    Bar("6", "arms with a cut above 0, five seeds", "comparison", "together", "apart", most=0.5),
)  # fmt: skip
LIMITS = (
    ("7", "holdfast --help, seconds", "help", "holdfast --help", "seconds", 0.5),
    ("7", "nothing to do, seconds", "adaptation", "nothing to do", "seconds", 10.0),
    ("7", "an adaptation outside its stages, seconds", "adaptation", "wall minus stages", "seconds", 8.0),
    ("4", "Fisher, fp32: worst element from the loop's", "fisher", "Fisher, fp32", "elementwise", 1e-4),
    ("4", "Fisher, bf16: norm of the difference", "fisher", "Fisher, bf16", "norm", 1e-2),
)


def median(kept: Kept, section: str, side: str, figure: str = "seconds") -> float | None:
    """Return the median of what was measured, or None."""
    found = [one[figure] for one in kept.get(section, {}).get(side, []) if figure in one]
    return statistics.median(found) if found else None


def page(document: dict[str, Any]) -> str:
    """Return the whole page."""
    kept: Kept = document["sections"]
    lines = ["# Speed", "", "`benchmarks/speed/run.py` writes this page; its first lines say how it measures.", ""]
    lines += [f"Machine: {json.dumps(document['machine'])}, {world.THREADS} threads.", ""]
    took = document.get("took", {})
    lines += [f"Measuring {len(took)} sections took {sum(took.values()) / 60:.0f} minutes.", ""] if took else []
    lines += ["| | what | bar | reached | ours | theirs |", "|---|---|---|---|---|---|"]
    lines += [_accuracy_lost(kept, *beginning) for beginning in (("random", _R), ("fitted", "holdfast"))]
    lines += [_bar(kept, bar) for bar in BARS]
    lines += [_limit(kept, *limit) for limit in LIMITS]
    lines += [_memory(kept), ""]
    lines += [
        "Seconds (for memory, MiB) are medians; **bold** is a bar that was missed. Of full tuning four runs of five,",
        "and of what is grouped by length all, are one epoch long; its seconds count as often as there are epochs.",
        "",
    ]
    for extra in (_ten, _parts, _accuracy, _scores, _where):
        lines += extra(kept)
    return "\n".join(lines).rstrip() + "\n"


def _cells(met: bool | None, *cells: str) -> str:
    shown = [f"**{cell}**" if met is False and place == 3 else cell for place, cell in enumerate(cells)]
    return f"| {' | '.join(shown)} |"


def _bar(kept: Kept, bar: Bar) -> str:
    a, b = (median(kept, bar.section, side, bar.figure) for side in (bar.side, bar.beside))
    if a is None or b is None:
        return _cells(None, bar.number, bar.what, _wanted(bar), "not measured", "", "")
    met = b / a >= bar.faster if bar.faster else a / b <= bar.most if bar.most else None
    reached = f"{100 * a / b:.0f}%" if bar.most or bar.figure == "MiB" else f"{b / a:.2f}x"
    return _cells(met, bar.number, bar.what, _wanted(bar), reached, _figure(a), _figure(b))


def _wanted(bar: Bar) -> str:
    if bar.faster:
        return f"at least {bar.faster:g}x"
    return f"at most {100 * bar.most:.0f}%" if bar.most else ""


def _figure(value: float) -> str:
    return f"{value:.3g}" if value < 1000 else f"{value:.0f}"


def _limit(kept: Kept, number: str, what: str, section: str, side: str, figure: str, most: float) -> str:
    found = median(kept, section, side, figure)
    if found is None:
        return _cells(None, number, what, f"at most {most:g}", "not measured", "", "")
    return _cells(found <= most, number, what, f"at most {most:g}", f"{found:.2g}", "", "")


def _memory(kept: Kept) -> str:
    a, b = median(kept, "adaptation", "wall minus stages", "MiB"), median(kept, "tuning alone", "tuning alone", "MiB")
    if a is None or b is None:
        return _cells(None, "7", "memory of a run beside tuning alone", "at most 1.3x", "not measured", "", "")
    met = a / b <= 1.3
    return _cells(
        met, "7", "memory of a run beside tuning alone", "at most 1.3x", f"{a / b:.2f}x", _figure(a), _figure(b)
    )


def _accuracy_lost(kept: Kept, beginning: str, side: str) -> str:
    """Points of test accuracy below a Trainer's with the same layers, five seeds each; one is allowed."""
    scores = [
        [100 * one["accuracy"] for one in kept.get(_S, {}).get(name, []) if "accuracy" in one]
        for name in (side, "Trainer, same layers")
    ]
    what = f"accuracy below the same layers under a Trainer, head {beginning}, points"
    if not all(scores):
        return _cells(None, "1", what, "at most 1", "not measured", "", "")
    ours, theirs = (statistics.mean(own) for own in scores)
    return _cells(theirs - ours <= 1, "1", what, "at most 1", f"{theirs - ours:.1f}", f"{ours:.1f}", f"{theirs:.1f}")


def _ten(kept: Kept) -> list[str]:
    """Ten epochs: ours measured; a Trainer's epochs all cost the same, so its four are multiplied."""
    ours = median(kept, "top-layers, 10 epochs", "holdfast")
    if ours is None:
        return []
    found = {side: median(kept, _S, side) for side in kept.get(_S, {}) if not side.startswith("holdfast")}
    said = ", ".join(f"{name} {2.5 * value / ours:.1f}x" for name, value in found.items() if value)
    return [
        f"Ten epochs of the top two layers took Holdfast {ours:.1f} s. Against 2.5 times what four epochs took the "
        f"others (a little more than ten would, for loading the model is in it): {said}.", "",
    ]  # fmt: skip


def _parts(kept: Kept) -> list[str]:
    """Where the time of ours goes: what no lever is left for stands beside what there still may be one for."""
    lines = []
    for side, found in kept.get("parts", {}).items():
        if not found:
            continue
        medians = {part: statistics.median(one[part] for one in found) for part in found[0]}
        whole = medians.pop("seconds")
        said = ", ".join(f"{part} {value:.2f}" for part, value in sorted(medians.items(), key=lambda own: -own[1]))
        lines.append(f"- {side}, {whole:.1f} s: {said}")
    return ["Where Holdfast's own seconds go:", "", *lines, ""] if lines else []


def _accuracy(kept: Kept) -> list[str]:
    lines = []
    for side, found in kept.get(_S, {}).items():
        scores = [one["accuracy"] for one in found if "accuracy" in one]
        if scores:
            mean = 100 * statistics.mean(scores)
            lines.append(f"| {side} | {mean:.1f} | {', '.join(f'{100 * s:.1f}' for s in scores)} |")
    head = ["Test accuracy of the top two layers, 4 epochs, by seed:", "", "| | mean | seeds |", "|---|---|---|"]
    return [*head, *lines, ""] if lines else []


def _scores(kept: Kept) -> list[str]:
    """How far scores are from the same model's in fp32."""
    lines = []
    for section in ("classifying", "minimal pairs", "choices"):
        found = {side: median(kept, section, side, "off") for side in kept.get(section, {})}
        said = ", ".join(f"{side} {value:.2g}" for side, value in found.items() if value is not None)
        if said:
            lines.append(f"- {section}: {said}")
    what = "Largest distance of a score from fp32's (of likelihoods, from lm-eval's in fp32, in nats):"
    return [what, "", *lines, ""] if lines else []


def _where(kept: Kept) -> list[str]:
    """What explains a bar that was missed, written by hand beside the figures."""
    if not NOTES.is_file():
        return []
    notes: dict[str, str] = json.loads(NOTES.read_text(encoding="utf-8"))
    return ["Where a bar was missed:", "", *(f"- {what}: {why}" for what, why in notes.items()), ""]
