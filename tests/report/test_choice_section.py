"""What a report says about a choice by trial."""

import json

import pytest

from holdfast import report
from holdfast.auto import picture
from holdfast.auto.candidates import Candidate
from holdfast.forgetting.watch import Look, Seen
from holdfast.records import Artifact, Selected

pytestmark = pytest.mark.pictures


def look(gain: float, drop: float) -> dict:
    target = Seen("target", 100, 0.4, 0.4 + gain, 1.2, 0.8)
    return Look(target, (Seen("english", 100, 0.9, 0.9 - drop, 0.3, 0.3, 0.05),)).document()


def evidence() -> dict:
    def row(rank: int, family: str, verdict: str, *looks: dict | None) -> dict:
        one = Candidate(family, ("layer 1",), frozenset({"a"}), 50, 0.5, 0.6, 0.4, 1.5 / rank)
        trials = [{"updates": 5 * (i + 1), "tokens": 100, "look": each} for i, each in enumerate(looks)]
        return {"rank": rank, **one.document(), "verdict": verdict, "trials": trials}

    return {
        "chosen": "low",
        "why": "auto chose `low`: it gained",
        "work": {"full": {"updates": 60, "tokens": 1000}, "spent": {"tokens": 400, "share": 0.4}},
        "candidates": [
            row(1, "high", "tried: broke a contract", look(0.2, 0.01), look(0.3, 0.08)),
            row(2, "low", "chosen", look(0.1, 0.0), look(0.25, 0.01)),
            row(3, "norms", "diverged", None),
            row(4, "full", "not tried: moves too much"),
        ],
    }


def selected(home, **files: bytes) -> Selected:
    with home.store.scratch() as scratch:
        folder = scratch / "selection"
        folder.mkdir()
        for name, data in {"selection.json": b"{}", **files}.items():
            (folder / name).write_bytes(data)
        artifact: Artifact = home.store.put(folder, "selection")
    return Selected(moved=50, total=100, share=0.5, names=("low (chosen by auto)",), head=2, artifact=artifact)


def test_the_report_shows_every_candidate_and_the_picture(parts, records, tmp_path):
    found = evidence()
    files = {"auto.json": json.dumps(found).encode(), "auto.png": picture.draw(found)}
    plain = report.write(tmp_path / "plain", parts.result, **records).read_text()
    page = report.write(tmp_path, parts.result, selected=selected(parts.home, **files), **records)
    text, markdown = page.read_text(), page.with_suffix(".md").read_text()
    assert "How it was chosen" in text and "How it was chosen" not in plain
    assert text.count("data:image/png") == plain.count("data:image/png") + 1
    assert "Auto chose \\`low\\`: it gained. The trials saw 400 training tokens, 40.0%" in markdown
    assert "| 1 | high | layer 1 | 50.0% | 1.50 | 5, then 10 | 40.0% to 70.0% | 1.20 to 0.80 | +8.0 |" in markdown
    for family in ("high", "low", "norms", "full"):
        assert f"| {family} |" in markdown


def test_a_plain_selection_has_no_such_section(parts, records, tmp_path):
    page = report.write(tmp_path, parts.result, selected=selected(parts.home), **records)
    assert "How it was chosen" not in page.read_text()


def test_the_picture_is_the_same_twice_and_bears_untried_candidates():
    found = evidence()
    assert picture.draw(found) == picture.draw(json.loads(json.dumps(found)))
    alone = {**found, "candidates": [{**found["candidates"][1], "trials": []}]}
    assert picture.draw(alone).startswith(b"\x89PNG")
