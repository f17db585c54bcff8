"""Bad input and faults cost nothing: told what, where, what to do; nothing is half-made; the next run succeeds."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.badinput.cases import BAD_INPUT, Case, text_of
from tests.badinput.faults import MACHINE, later, seeded
from tests.badinput.house import House, no_room
from tests.badinput.page import line

pytestmark = [pytest.mark.slow, pytest.mark.pictures]  # a disk is full where a picture is drawn

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "errors.md").read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("case", [*BAD_INPUT, *MACHINE], ids=lambda case: case.wrong)
def test_it_is_told_and_costs_nothing(house: House, case: Case, record_property: Callable) -> None:
    told, before, after = house.suffer(case)
    said = told.message if told.code in (1, 2) else text_of(told.answer)
    assert (told.code, [part for part in case.says if part not in said]) == (case.code, []), said
    assert after == before or told.code in (0, 3), "something became visible"
    assert ("Traceback" in told.stderr) == (case.wrong == "defect"), told.stderr
    if told.code in (1, 2):
        record_property("told", (case.wrong, told.code, house.plain(said)))  # for docs/errors.py
        assert line(case.wrong, told.code, house.plain(said)) in PAGE, "the page is old: run python docs/errors.py"


def test_after_a_full_disk_tuning_goes_on_to_the_same_bytes(house: House) -> None:
    line = seeded(21)(house)
    whole = house.call(*line).answer
    house.forget()
    with later("holdfast.training.checkpoints", "_fill", no_room)(house):
        assert "of step 5, is kept" in house.call(*line).message
    resumed = house.call(*line).answer
    assert resumed["version"] == whole["version"], "other bytes would be another version"
    assert "tune" in [stage["name"] for stage in resumed["stages"] if not stage["cached"]]
