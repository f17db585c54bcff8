"""The validation artifact: `results.json`, `quarantine.jsonl`, `docs/index.html`; the same findings, the same bytes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holdfast import digests
from holdfast.records import Artifact, Competence
from holdfast.validation import page
from holdfast.validation.finding import Finding
from holdfast.validation.suite import Outcome

if TYPE_CHECKING:
    from holdfast.home import Home

_SHOWN = 20


def put(findings: Sequence[Finding], competences: Sequence[Competence], home: Home) -> Artifact:
    """Put the evidence into the store."""
    with home.store.scratch() as scratch:
        return home.store.put(_write(findings, competences, scratch / "validation"), "validation")


def keep(findings: Sequence[Finding], home: Home) -> Path:
    """Keep the evidence of a run that stops, below the home's reports; return its folder."""
    place = home.reports / "quarantine"
    place.mkdir(parents=True, exist_ok=True)
    with home.store.scratch() as scratch:
        folder = _write(findings, (), scratch / "validation")
        kept = place / digests.of_json(digests.of_folder(folder))[:12]
        if not kept.exists():
            folder.rename(kept)
    return kept


def _write(findings: Sequence[Finding], competences: Sequence[Competence], folder: Path) -> Path:
    results, rows = summary(findings, competences), [row for found in findings for row in found.quarantine()]
    (folder / "docs").mkdir(parents=True)
    _text(folder / "results.json", json.dumps(results, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
    _text(folder / "quarantine.jsonl", "".join(digests.canonical_json(row) + "\n" for row in rows))
    _text(folder / "docs" / "index.html", page.render(results, rows))
    return folder


def _text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")


def summary(findings: Sequence[Finding], competences: Sequence[Competence]) -> dict[str, Any]:
    """Return what `results.json` holds: per dataset its counts and outcomes, and the competences."""
    return {
        "datasets": {found.scope.key: _dataset(found) for found in findings},
        "competences": [competence.model_dump(mode="json") for competence in competences],
    }


def _dataset(found: Finding) -> dict[str, Any]:
    return {
        "digest": found.version.digest,
        "rows": len(found.rows),
        "quarantined": len(found.reasons),
        "labels": found.version.labels,
        "expectations": [_outcome(outcome) for outcome in found.outcomes],
    }


def _outcome(outcome: Outcome) -> dict[str, Any]:
    return {
        "name": outcome.rule,
        "severity": outcome.severity,
        "expectation": outcome.expectation,
        "arguments": outcome.arguments,
        "success": outcome.success,
        "unexpected": len(outcome.rows),
        "rows": list(outcome.rows[:_SHOWN]),
        "observed": outcome.observed,
    }
