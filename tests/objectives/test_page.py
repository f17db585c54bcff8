"""docs/objectives.md says what the code says."""

from holdfast import choices
from holdfast.objectives import _page


def test_the_page_is_the_one_that_the_code_writes() -> None:
    remedy = "run: python -m holdfast.objectives._page"
    assert _page.PAGE.read_text(encoding="utf-8") == _page.text(), remedy


def test_every_objective_names_its_source() -> None:
    sources = {name: choices.load("objectives", name).ROW.source for name in choices.names("objectives")}
    assert {name for name, source in sources.items() if "arXiv" not in source} == {"sft"}
