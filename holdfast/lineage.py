"""A version's lineage: start, data, method, evaluation, and the code that made it, as plain JSON."""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path
from typing import Any

from holdfast import __version__, closures, digests
from holdfast.records import Evaluated, Lineage, Prepared, Selected, Start, Tuned, Validated
from holdfast.spec import Pipeline

_LIBRARY = Path(__file__).resolve().parent


def trace(
    pipeline: Pipeline,
    prepared: Prepared,
    validated: Validated,
    selected: Selected,
    tuned: Tuned,
    evaluated: Evaluated,
) -> Lineage:
    """Return the whole lineage of a tuned version; every part of it is a digest, a setting or a score."""
    return Lineage(
        start=of_start(prepared.start),
        data=_data(prepared, validated),
        method=_method(pipeline, prepared, selected, tuned),
        code=of_code(pipeline.training.seed),
        evaluation=_evaluation(evaluated),
    )


def of_start(start: Start) -> dict[str, Any]:
    """Return the start model's part: name as written, version, base with revision and digest, and its own digest."""
    base = start.base.model_dump()
    return {"model": start.model, "version": start.version, "base": base, "digest": start.digest}


def of_code(seed: int) -> dict[str, Any]:
    """Return the commit of this checkout (None outside git), the library's digest, package versions and the seed."""
    return {
        "holdfast": __version__,
        "commit": _commit(),
        "library": digests.of_json({k: v for k, v in digests.of_folder(_LIBRARY).items() if k.endswith(".py")}),
        "python": platform.python_version(),
        "packages": closures.package_versions(),
        "seed": seed,
    }


def _data(prepared: Prepared, validated: Validated) -> dict[str, Any]:
    fields = ("ref", "digest", "dvc_md5", "git_revision", "rows")
    used = {key: version.digest for key, version in validated.datasets.items()}
    return {
        key: {**{name: getattr(version, name) for name in fields}, "used": used.get(key, version.digest)}
        for key, version in prepared.datasets.items()
    }


def _method(pipeline: Pipeline, prepared: Prepared, selected: Selected, tuned: Tuned) -> dict[str, Any]:
    teacher, merge = prepared.teacher, prepared.merge
    axes = {name: getattr(pipeline, name) for name in ("examples", "parameters", "objective", "anchors", "schedule")}
    name = f"merge by {merge.how}" if merge else pipeline.method
    if merge:
        axes = {"merged": [of_start(parent) for parent in merge.parents], "weights": list(merge.weights)}
        axes |= {"density": merge.density} if merge.density is not None else {}
    settings: dict[str, Any] = {"head": pipeline.learn.head, "training": pipeline.training.model_dump(mode="json")}
    taught = {"teacher": of_start(teacher)} if teacher else {}
    made = {"selection": selected.artifact.digest, "adapter": tuned.adapter.digest}
    moved = {"moved": selected.moved, "total": selected.total}
    if pipeline.task == "generation":
        settings |= {"task": pipeline.task, "max_new_tokens": pipeline.learn.max_new_tokens}
    return {"name": name, "file": pipeline.digest, **axes, **settings, **taught, **moved, **made}


def _evaluation(evaluated: Evaluated) -> dict[str, Any]:
    return {
        "digest": evaluated.artifact.digest,
        "target": evaluated.target.model_dump(mode="json"),
        "remembered": [task.model_dump(mode="json") for task in evaluated.remembered],
        "champion": evaluated.champion.model_dump(mode="json") if evaluated.champion else None,
        "kl": evaluated.kl,
        "cka": evaluated.cka,
    }


def _commit() -> str | None:
    command = ["git", "-C", str(_LIBRARY), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None
