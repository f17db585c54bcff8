"""The picture of a search is drawn, the same for the same trajectory, with every candidate and the contract in it."""

from typing import Any

import pytest

from holdfast.control import picture

pytestmark = pytest.mark.pictures


def candidate(
    step: int, gain: float, drop: float, share: float = 1.0, attempt: int = 1, chosen: bool = False
) -> dict[str, Any]:
    kept = drop <= 0.025
    return {
        "name": f"update {step}", "attempt": attempt, "step": step, "share": share, "kept": kept, "chosen": chosen,
        "target": {"gain": gain},
        "remembered": [
            {"name": "easy", "drop": drop / 9, "margin": 0.05}, {"name": "$x$ <b>", "drop": drop, "margin": 0.05},
        ],
    }  # fmt: skip


TRAJECTORY = {
    "candidates": [
        candidate(32, 0.02, 0.44),
        candidate(64, 0.24, 0.33),
        candidate(96, 0.31, 0.30),
        candidate(128, 0.38, 0.29),
        candidate(128, 0.34, 0.09, 0.5),
        candidate(128, 0.22, -0.01, 0.25, chosen=True),
        candidate(64, 0.1, 0.05, attempt=2),
    ]
}


def test_the_same_trajectory_gives_the_same_picture(tmp_path) -> None:
    for name in ("a.png", "b.png"):
        picture.draw(TRAJECTORY, tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_the_task_shown_is_the_one_that_uses_up_most_of_its_margin() -> None:
    assert picture._tightest(TRAJECTORY["candidates"]) == ("$x$ <b>", 2.5)
