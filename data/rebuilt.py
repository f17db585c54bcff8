"""Is a bundled decoder that was made again as good as the one that was there? What `data/pretrain.py --check` says.

Its bytes are another machine's, so its shares of right answers are compared: each must be within `TOLERANCE` of the one
known, and at least `STYLES` answer styles must do well, `WELL` or better in addition and subtraction both.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
FOLDER = HERE / "base_model"
TOLERANCE = 0.1
WELL = 0.8
STYLES = 2
_ROUNDING = 1e-9

Metrics = dict[str, Any]


@dataclass(frozen=True)
class Share:
    """One share of right answers, known and made again; None where a file lacks it."""

    name: str
    known: float | None
    again: float | None

    @property
    def complaint(self) -> str:
        """What is wrong with it, nothing where it is within the tolerance."""
        if self.known is None or self.again is None:
            return "only there before" if self.again is None else "not there before"
        return "" if abs(self.again - self.known) <= TOLERANCE + _ROUNDING else f"off by more than {TOLERANCE}"


def shares(metrics: Metrics) -> dict[str, float]:
    """Return every share of right answers, by where it was measured and the task."""
    return {f"{where}, {task}": of["right"] for where, own in metrics["scores"].items() for task, of in own.items()}


def compared(again: Metrics, known: Metrics) -> list[Share]:
    """Return every share of either file, in the order of `known`."""
    old, new = shares(known), shares(again)
    return [Share(name, old.get(name), new.get(name)) for name in {**old, **new}]


def doing_well(metrics: Metrics) -> list[str]:
    """Return the answer styles whose every share is at least `WELL`."""
    styles = {name: own for name, own in metrics["scores"].items() if name.startswith("style ")}
    return [name for name, own in styles.items() if own and min(of["right"] for of in own.values()) >= WELL]


def report(again: Metrics, known: Metrics) -> tuple[bool, str]:
    """Return whether a rebuilt model is as good as the known one, and a table that says so."""
    found, well = compared(again, known), doing_well(again)
    wide = max(len(share.name) for share in found)
    lines = [f"{'share of right answers':{wide}}   known   again  change"]
    for share in found:
        change = "-" if share.known is None or share.again is None else f"{share.again - share.known:+.3f}"
        numbers = f"{_number(share.known):>6}  {_number(share.again):>6}  {change:>6}"
        lines.append(f"{share.name:{wide}}  {numbers}  {share.complaint}".rstrip())
    off = sum(bool(share.complaint) for share in found)
    lines.append(f"within {TOLERANCE} of the known share: {len(found) - off} of {len(found)}")
    names = ", ".join(name.removeprefix("style ") for name in well) or "none"
    lines.append(f"styles that do well ({WELL} or better in every task), at least {STYLES} must: {names}")
    good = not off and len(well) >= STYLES
    lines.append("the same within the tolerance" if good else "NOT the same within the tolerance")
    return good, "\n".join(lines)


def _number(share: float | None) -> str:
    return "-" if share is None else f"{share:.3f}"


def read(path: Path) -> Metrics:
    """Return the metrics in a file, or in a folder's `metrics.json`; a file that is none ends the command."""
    file = path / "metrics.json" if path.is_dir() else path
    try:
        return checked(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise SystemExit(f"{file}: no metrics of a pretraining ({error!r})") from error


def checked(metrics: Metrics) -> Metrics:
    """Return the metrics; raise `ValueError` where they hold no share."""
    if not all(isinstance(share, int | float) for share in shares(metrics).values()) or not shares(metrics):
        raise ValueError("no shares of right answers under `scores`")
    return metrics


def committed() -> Metrics:
    """Return the metrics that git keeps of the shipped model; those in its folder may be a rebuilt one's."""
    asked = ["git", "-C", str(HERE), "show", f"HEAD:./{FOLDER.name}/metrics.json"]
    try:
        shown = subprocess.run(asked, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise SystemExit(f"git cannot show the committed data/base_model/metrics.json ({error})") from error
    return checked(json.loads(shown.stdout))


def check(path: Path) -> int:
    """Compare a rebuilt model's metrics with the committed ones, print the table, return the exit status."""
    good, table = report(read(path), committed())
    print(table)
    return 0 if good else 1


def what_now(out: Path) -> str:
    """Return what must be done before `kelp` can be used again; nothing where its weights are the registered ones."""
    from holdfast import bases, digests

    if out.resolve() != FOLDER:
        return ""
    sha256, known = digests.of_file(out / "model.safetensors"), bases.KNOWN["kelp"].sha256
    if sha256 == known:
        return ""
    return (
        f"The weights have the sha256 {sha256};\n`kelp` is registered with {known}, and is refused until you\n"
        "keep the new ones: write their sha256 for `kelp` in KNOWN in holdfast/bases.py, dvc commit -f base_model;\n"
        "or restore the shipped ones: git checkout -- data/base_model"
    )
