"""What the report says of the controller: the choice in a line, every candidate, the picture; nothing without one."""

import json

import pytest

from holdfast import report
from holdfast.control import picture
from holdfast.forgetting.watch import Look, Seen

pytestmark = pytest.mark.pictures


def candidate(name: str, share: float, gain: float, drop: float, chosen: bool = False) -> dict:
    target = Seen("target", 100, 0.3, 0.3 + gain, 1.0, 0.5)
    look = Look(target, (Seen("old", 100, 0.9, 0.9 - drop, 0.3, 0.3, 0.05),))
    place = {"name": name, "attempt": 1, "step": 84, "share": share, "chosen": chosen, "seconds": 1.0, "work": 10}
    return {**place, **look.document()}


@pytest.fixture
def controlled(records: dict) -> dict:
    """The records of a run whose controller chose the second of two candidates."""
    home = records["home"]
    candidates = [candidate("update 84", 1.0, 0.4, 0.3), candidate("update 84, 25% of the way", 0.25, 0.2, 0.0, True)]
    spent = {"work": {"share": 0.21}, "seconds": {"controller": 8.25, "tuning": 40.5}}
    found = {
        "said": "update 84 of 84, 25% of the way: the largest gain",
        "candidates": candidates,
        "attempts": [{"rows": {"target": [60, 100], "old": [100, 100]}}],
        "spent": spent,
    }
    with home.store.scratch() as scratch:
        folder = scratch / "trajectory"
        folder.mkdir()
        (folder / "trajectory.json").write_text(json.dumps(found))
        picture.draw(found, folder / "trajectory.png")
        artifact = home.store.put(folder, "trajectory")
    return records | {"tuned": records["tuned"].model_copy(update={"trajectory": artifact})}


def test_every_candidate_is_in_the_report(controlled: dict, parts, tmp_path) -> None:
    page = report.write(tmp_path, parts.result, **controlled)
    text = page.with_suffix(".md").read_text()
    assert "Update 84 of 84, 25% of the way: the largest gain." in text
    assert "60 of 100 of target, 100 of 100 of old" in text
    assert "21.0% of the tuning's work, 8.2 s beside 40.5 s" in text
    assert "| update 84 | 70.0% | +40.0 | old -30.0 | -2.5 | breaks a contract |" in text
    assert "| update 84, 25% of the way | 50.0% | +20.0 | old +0.0 | -2.5 | chosen |" in text
    assert page.read_text().count("data:image/png") > 2


def test_without_a_contract_the_report_has_no_such_section(records: dict, parts, tmp_path) -> None:
    assert "controller" not in report.write(tmp_path, parts.result, **records).read_text()


def test_the_choice_is_a_line_on_the_terminal(parts) -> None:
    told = parts.result.model_copy(update={"controller": "update 84 of 168, 75% of the way: why"})
    assert "controller: update 84 of 168, 75% of the way: why" in report.summary_lines(told)
    assert not [line for line in report.summary_lines(parts.result) if line.startswith("controller")]
