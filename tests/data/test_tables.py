"""Formats round trip, and every way a file can be wrong is named with its file, row and column."""

import datetime
import decimal
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast import tables
from holdfast.errors import BadInput

TRICKY = [
    {"id": "1", "text": 'He said "yes, no"', "label": "a"},
    {"id": "2", "text": "two\nlines\r\nthree", "label": "b"},
    {"id": "3", "text": "tab\there, NEL\x85 and line separator\u2028end", "label": "a,b"},
    {"id": "4", "text": "bare\rreturn", "label": "ꦗꦮ 🙂"},
    {"id": "5", "text": "", "label": " spaced "},
]
FORMATS = pytest.mark.parametrize("suffix", tables.SUFFIXES)


@FORMATS
def test_what_is_written_is_read_back(tmp_path, suffix):
    path = tmp_path / f"rows{suffix}"
    tables.write(path, TRICKY)
    assert tables.read(path) == TRICKY
    assert tables.count(path) == len(TRICKY)
    assert [len(chunk) for chunk in tables.chunks(path, size=2)] == [2, 2, 1]
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.lists(st.tuples(text, text), min_size=1, max_size=5), suffix=st.sampled_from(tables.SUFFIXES))
def test_any_text_survives_every_format(tmp_path, values, suffix):
    rows = [{"text": one, "label": two} for one, two in values]
    tables.write(tmp_path / f"x{suffix}", rows)
    assert tables.read(tmp_path / f"x{suffix}") == rows


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_types_survive_where_the_format_has_them(tmp_path, suffix):
    rows = [{"text": "a", "n": 1, "x": 0.5, "ok": True, "many": ["p", "q"], "none": None}, {"text": "b", "n": 2}]
    tables.write(tmp_path / f"x{suffix}", rows)
    whole = [{**dict.fromkeys(rows[0]), **row} for row in rows]
    assert tables.read(tmp_path / f"x{suffix}") == (rows if suffix == ".jsonl" else whole)


def test_csv_writes_what_is_not_text_as_json(tmp_path):
    tables.write(tmp_path / "x.csv", [{"a": 1.5, "b": None, "c": ["é"], "d": True}, {"e": "late"}])
    assert (tmp_path / "x.csv").read_text() == 'a,b,c,d,e\n1.5,,"[""é""]",true,\n,,,,late\n'


def test_plain_values_are_what_json_can_hold():
    day = datetime.datetime(2026, 1, 2, 3, 4, 5)
    value = {"t": day, "d": decimal.Decimal("1.10"), "n": float("nan"), "i": float("inf"), "b": b"\xff", "l": (1, day)}
    plain = {"t": "2026-01-02T03:04:05", "d": "1.10", "n": None, "i": "inf", "b": "ff", "l": [1, "2026-01-02T03:04:05"]}
    assert tables.plain(value) == plain
    with pytest.raises(TypeError, match="object"):
        tables.plain(object())


def test_a_header_lets_csv_be_written_as_rows_come(tmp_path):
    path, seen = tmp_path / "x.csv", []

    def rows():
        for number in range(3):
            seen.append(next(tmp_path.glob(".x.csv.*.tmp")).name)  # the file under way is there already
            yield {"n": str(number)}

    tables.write(path, rows(), header=["n"])
    assert len(seen) == 3 and tables.read(path) == [{"n": "0"}, {"n": "1"}, {"n": "2"}]


@FORMATS
def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, suffix):
    path = tmp_path / f"x{suffix}"
    tables.write(path, [{"text": "old"}])
    before = path.read_bytes()

    def rows():
        yield {"text": "new"}
        raise RuntimeError("the model broke")

    with pytest.raises(RuntimeError, match="the model broke"):
        tables.write(path, rows(), header=["text"])
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@FORMATS
def test_a_column_outside_the_header_is_refused(tmp_path, suffix):
    with pytest.raises(BadInput) as error:
        tables.write(tmp_path / f"x{suffix}", [{"a": "1"}, {"a": "1", "b": "2"}], header=["a"])
    assert (error.value.row, error.value.key) == (2, "b")
    assert not list(tmp_path.iterdir())


def test_parquet_refuses_a_column_of_mixed_types(tmp_path):
    with pytest.raises(BadInput) as error:
        tables.write(tmp_path / "x.parquet", [{"a": "text"}, {"a": {"b": 1}}])
    assert error.value.key == "a"


def test_a_place_that_cannot_be_written_to_is_named(tmp_path):
    with pytest.raises(BadInput, match="No such file or directory") as error:
        tables.write(tmp_path / "nowhere" / "x.csv", [{"a": "1"}])
    assert error.value.file == tmp_path / "nowhere" / "x.csv"


BAD = {
    "empty.csv": (b"", None, "is empty"),
    "blank.jsonl": (b"\n \n", None, "is empty"),
    "header.csv": (b"text,label\n", None, "holds no rows"),
    "mark.csv": (b"\xef\xbb\xbf\n", None, "holds no rows"),
    "binary.csv": (b"\x7fELF\0\0\0", None, "is binary"),
    "utf16.tsv": ("text\tlabel\na\tb\n".encode("utf-16"), None, "UTF-16"),
    "latin.csv": (b"text,label\ngood,a\nna\xefve,b\n", 2, "not UTF-8 (0xef at byte 3 of the line)"),
    "latin.jsonl": (b'{"text": "a"}\n\n{"text": "\xff"}\n', 2, "not UTF-8"),
    "header-latin.csv": (b"t\xe9xt,label\na,b\n", 1, "not UTF-8"),
    "long.csv": (b"text,label\na,b\nc,d,e\n", 2, "the row has 3 fields; expected 2: text, label"),
    "short.tsv": (b"text\tlabel\na\n", 1, "the row has 1 fields; expected 2: text, label"),
    "open.csv": (b'text,label\na,b\n"c,d\ne,f\n', 2, "the quoting is broken"),
    "after.csv": (b'text,label\n"c"d,e\n', 1, "the quoting is broken"),
    "twice.csv": (b"text,text\na,b\n", None, "key `text`: the header has this column more than once"),
    "broken.jsonl": (b'{"text": "a"}\n{"text": "b"\n', 2, "the line is not JSON"),
    "list.jsonl": (b'{"text": "a"}\n["b"]\n', 2, "holds a JSON list; expected one JSON object a line"),
    "nan.jsonl": (b'{"x": NaN}\n', 1, "NaN is not a JSON number"),
    "repeat.jsonl": (b'{"x": 1, "x": 2}\n', 1, "a key occurs twice"),
    "half.jsonl": (b'{"text": "\\ud83d"}\n', 1, "the line is not JSON"),
    "deep.jsonl": (b"[" * 100_000, 1, "the line is not JSON"),
    "pretty.jsonl": (b'[\n {"text": "a"}\n]\n', 1, "expected one JSON object a line"),
    "not.parquet": (b"text,label\na,b\n", None, "cannot be read as Parquet"),
    "sheet.xlsx": (
        b"PK",
        None,
        "cannot tell the format from the suffix '.xlsx'; expected .csv, .tsv, .jsonl, .parquet",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_refused_by_name_and_row(tmp_path, name):
    content, row, message = BAD[name]
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(BadInput) as error:
        tables.read(path)
    assert message in str(error.value)
    assert str(error.value).startswith(str(path))
    assert (error.value.file, error.value.row) == (path, row)


def test_a_truncated_parquet_file_is_refused(tmp_path):
    tables.write(tmp_path / "whole.parquet", TRICKY)
    (tmp_path / "cut.parquet").write_bytes((tmp_path / "whole.parquet").read_bytes()[:-20])
    for use in (tables.read, tables.count):
        with pytest.raises(BadInput, match="cannot be read as Parquet"):
            use(tmp_path / "cut.parquet")


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    (tmp_path / "reviews.csv").write_text("text\na\n")
    with pytest.raises(BadInput, match=r"no such file\. Did you mean reviews\.csv\?"):
        tables.read(tmp_path / "review.csv")
    with pytest.raises(BadInput, match="is a folder; expected a file"):
        tables.read(_folder(tmp_path / "folder.csv"))


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


def test_byte_order_mark_blank_lines_and_carriage_returns_are_no_fault(tmp_path):
    path = tmp_path / "x.csv"
    path.write_bytes(b"\xef\xbb\xbftext,label\r\na,b\r\n\r\nc,d\r\n")
    assert tables.read(path) == [{"text": "a", "label": "b"}, {"text": "c", "label": "d"}]


def test_a_blank_line_of_a_single_column_is_an_empty_value(tmp_path):
    (tmp_path / "x.csv").write_text("text\na\n\nb\n")
    assert [row["text"] for row in tables.read(tmp_path / "x.csv")] == ["a", "", "b"]


def test_a_long_field_is_read_whole(tmp_path):
    tables.write(tmp_path / "x.csv", [{"text": "word " * 100_000}])
    assert len(tables.read(tmp_path / "x.csv")[0]["text"]) == 500_000


def test_messages_name_the_original_of_a_copy(tmp_path):
    (tmp_path / "ab12").write_text('{"text": 1\n')
    with pytest.raises(BadInput, match=r"^reviews\.jsonl, row 1: "):
        tables.read(tmp_path / "ab12", like=Path("reviews.jsonl"))


def test_a_missing_column_names_the_nearest():
    rows = [{"txt": "a", "label": "b"}]
    with pytest.raises(BadInput, match=r"x\.csv, key `text`: no such column; expected `txt`"):
        tables.texts(rows, "text", "x.csv")
    with pytest.raises(BadInput, match="expected one of `txt`, `label`"):
        tables.check_column(rows, "zzzzzz")


def test_a_column_missing_in_one_row_names_the_row():
    with pytest.raises(BadInput, match="row 12, key `text`: the row lacks this column"):
        tables.texts([{"text": "a"}, {"label": "b"}], "text", "x.jsonl", first=11)


@pytest.mark.parametrize(
    ("value", "found"), [(None, "missing"), (3, "int 3"), (["a"], r"list \['a'\]"), (b"a", "bytes")]
)
def test_a_text_that_is_no_string_names_its_row(value, found):
    with pytest.raises(BadInput, match=f"row 2, key `text`: the text is {found}.*expected a string"):
        tables.texts([{"text": "a"}, {"text": value}], "text")


def test_rows_read_from_json_lines_are_rows_json_wrote(tmp_path):
    with (tmp_path / "x.jsonl").open("w") as stream:
        for row in TRICKY:
            stream.write(json.dumps(row) + "\n")
    assert tables.read(tmp_path / "x.jsonl") == TRICKY
