"""Bad input costs nothing: told with what, where, what was expected and what to do; the next run succeeds."""

import pytest

from tests.badinput.cases import BAD_INPUT, Case, text_of
from tests.badinput.house import House


@pytest.mark.parametrize("case", BAD_INPUT, ids=lambda case: case.wrong)
def test_bad_input_is_told_and_costs_nothing(house: House, case: Case) -> None:
    told, before, after = house.suffer(case)
    said = told.message if told.code in (1, 2) else text_of(told.answer)
    assert (told.code, [part for part in case.says if part not in said]) == (case.code, []), said
    assert after == before or told.code in (0, 3), "something became visible"
