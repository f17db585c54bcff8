"""What the terminal shows: the same words as a table and as plain lines."""

import io

import pytest
from rich.console import Console

from holdfast import report
from holdfast.reports import words

from .conftest import EVIL, remembered, target


def shown(result, width=200, **console):
    stream = io.StringIO()
    Console(file=stream, width=width, **console).print(report.summary_table(result))
    return stream.getvalue()


def test_table_and_lines_say_the_same(parts):
    table, lines = shown(parts.result), "\n".join(report.summary_lines(parts.result))
    for expected in (
        "target", "english", EVIL, "kept", "NOT KEPT", "learned", "REFUSED", "+35.0", "+29.3..+40.6",
        "160/20", "worst -2.2",
        "1,200 of 48,000", "r1 at postgresql://db.example/mlflow", "prepare 1.2 s, tune 130 s (reused); together 131 s",
    ):  # fmt: skip
        assert expected in table, expected
        assert expected in lines, expected
    assert parts.result.report in lines


def test_the_table_fits_eighty_columns(parts):
    tasks = parts.result.remembered[:1]
    text = shown(parts.result.model_copy(update={"remembered": tasks}), width=80).replace(EVIL, "")
    rows = [line.split() for line in text.splitlines()]
    assert ["english", "90.0%", "89.5%", "-0.5", "worst", "-2.2", "-5.0", "6/8", "400", "kept"] in rows


def test_lines_are_plain_and_aligned(parts):
    lines = report.summary_lines(parts.result)
    assert all("\x1b" not in line and "\n" not in line for line in lines)
    starts = [line.index("items") if "items" in line else None for line in lines[1:2]]
    assert [line[starts[0] : starts[0] + 3] for line in lines[2:5]] == ["400"] * 3


def test_markup_in_a_name_is_not_interpreted(parts):
    result = parts.result.model_copy(update={"remembered": (remembered("[bold]x[/bold] [/]", 0, 0, 400),)})
    assert "[bold]x[/bold] [/]" in shown(result, force_terminal=True)


@pytest.mark.parametrize(
    ("score", "verdict", "mood"),
    [
        (target(160, 20, 400), "learned", "good"),
        (target(5, 5, 400), "no gain shown", "bad"),
        (target(0, 0, 400), "no gain shown", "bad"),
        (target(20, 160, 400), "got worse", "bad"),
        (remembered("x", 8, 6, 400), "kept", "good"),
        (remembered("x", 0, 0, 40), "NOT KEPT", "bad"),  # nothing flipped, but 40 items cannot show it
        (remembered("x", 60, 20, 400), "NOT KEPT", "bad"),
    ],
)
def test_verdicts_in_words(score, verdict, mood):
    lines = words.table(target(9, 0, 10), (score,)) if hasattr(score, "name") else words.table(score, ())
    assert (lines[-1].cells[-1], lines[-1].mood) == (verdict, mood)


def test_numbers_in_words():
    assert words.points(0.0) == words.points(-0.0) == "+0.0"
    assert words.points(-0.0351) == "-3.5"
    assert words.percent(0.8849) == "88.5%"
    assert (words.seconds(0.04), words.seconds(99.94), words.seconds(123.4)) == ("0.0 s", "99.9 s", "123 s")
    assert words.address("sqlite:////a/b@c.db") == "sqlite:////a/b@c.db"
    assert words.address("https://u:p@host/x") == "https://host/x"


def test_a_result_without_stages_tells_no_time(parts, records, tmp_path):
    result = parts.result.model_copy(update={"stages": ()})
    assert not any(line.startswith("time") for line in report.summary_lines(result))
    assert "together" not in shown(result)
    page = report.write(tmp_path / "report", result, **records)
    assert "Seconds per stage" not in page.read_text()
