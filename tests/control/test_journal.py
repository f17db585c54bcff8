"""What was seen is there for the next process, unless it was seen on another kind of machine or is damaged."""

from holdfast.control.journal import Journal


def test_a_journal_is_taken_up_in_order(tmp_path) -> None:
    first = Journal(tmp_path / "new", {"threads": 1})
    first.spend("controller", 1.5)
    first.add("b", {"x": 1})
    first.spend("controller", 2.0)
    first.add("a", {"x": 2})
    again = Journal(tmp_path / "new", {"threads": 1})
    assert list(again.entries.items()) == [("b", {"x": 1}), ("a", {"x": 2})]
    assert again.seconds == {"controller": 3.5}


def test_another_machine_starts_afresh(tmp_path) -> None:
    Journal(tmp_path, {"threads": 1}).add("a", {})
    assert Journal(tmp_path, {"threads": 2}).entries == {}


def test_half_a_journal_is_none(tmp_path) -> None:
    Journal(tmp_path, {}).add("a", {})
    (tmp_path / "journal.json").write_text('{"machine": {}, "entr')
    assert Journal(tmp_path, {}).entries == {}
