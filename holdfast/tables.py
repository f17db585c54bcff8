"""Tables as rows: CSV, TSV, JSON lines and Parquet in and out, by suffix, with errors that name file, row and column.

`read(path)` gives every row as a dict, `chunks(path)` the same in pieces for files that should not be held whole, and
`write(path, rows)` writes the file whole or not at all. CSV and TSV (with a header, quoted as spreadsheets do) hold
text only, so every value comes back as a string; JSON lines and Parquet keep their types.
"""

from __future__ import annotations

import csv
import datetime
import decimal
import difflib
import json
import math
import sys
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

from holdfast import faults
from holdfast.errors import BadInput

Row = dict[str, Any]
SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")
_CHUNK = 1000


def read(path: Path, like: Path | None = None) -> list[Row]:
    """Return every row of a table, in order.

    `like` is the file that `path` is a copy of: its suffix decides the format, and messages name it. Raises `BadInput`
    for a file that is missing, empty, binary, not UTF-8, of unknown suffix, or broken in a row; nothing is skipped.
    """
    return [row for chunk in chunks(path, like=like) for row in chunk]


def chunks(path: Path, size: int = _CHUNK, like: Path | None = None) -> Iterator[list[Row]]:
    """Give the rows of a table in lists of at most `size`; raises `BadInput` as `read` does, when it gets there."""
    shown = like or path
    suffix = suffix_of(shown)
    check_file(path, shown)
    rows = _READERS[suffix](path, shown)
    empty = True
    while chunk := list(islice(rows, size)):
        empty = False
        yield chunk
    if empty:
        raise BadInput("holds no rows", file=shown, expected="at least one row of data")


def count(path: Path) -> int:
    """Return the number of rows; reads the whole file except for Parquet, which knows it."""
    if suffix_of(path) != ".parquet":
        return sum(len(chunk) for chunk in chunks(path))
    check_file(path, path)
    return int(_open_parquet(path, path).metadata.num_rows)


def suffix_of(path: Path) -> str:
    """Return the path's suffix in lower case; raises `BadInput` where it is none of the four formats."""
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise BadInput(f"cannot tell the format from the suffix {suffix!r}", file=path, expected=", ".join(SUFFIXES))
    return suffix


def columns(rows: Iterable[Row]) -> list[str]:
    """Return every column that occurs in `rows`, in order of first appearance."""
    return list(dict.fromkeys(name for row in rows for name in row))


def check_column(rows: Sequence[Row], column: str, file: object = None, first: int = 1) -> None:
    """Raise `BadInput` where a row lacks `column`: with the nearest column if none has it, else naming the row.

    `first` is the number of the first of `rows` in its file, for files read in chunks.
    """
    for number, row in enumerate(rows, first):
        if column not in row:
            known = columns(rows)
            if column in known:
                raise BadInput("the row lacks this column", file=file, row=number, key=column)
            raise BadInput("no such column", file=file, key=column, expected=nearest(column, known))


def texts(rows: Sequence[Row], column: str, file: object = None, first: int = 1) -> list[str]:
    """Return the text of every row; raises `BadInput` where the column is missing or a value is not a string."""
    check_column(rows, column, file, first)
    for number, row in enumerate(rows, first):
        if not isinstance(row[column], str):
            found = "missing" if row[column] is None else f"{type(row[column]).__name__} {row[column]!r:.40}"
            raise BadInput(f"the text is {found}", file=file, row=number, key=column, expected="a string")
    return [row[column] for row in rows]


def nearest(name: str, known: Iterable[str]) -> str:
    """Return what to suggest where `name` is unknown: the closest of `known`, else the first eight of them."""
    known = list(known)
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    if close:
        return " or ".join(f"`{name}`" for name in close)
    return "one of " + ", ".join(f"`{name}`" for name in known[:8]) + (", ..." if len(known) > 8 else "")


def plain(value: Any) -> Any:
    """Return `value` as JSON can hold it: dates as ISO text, decimals and infinities as text, NaN as None."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None if math.isnan(value) else str(value)
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, decimal.Decimal | datetime.timedelta | uuid.UUID):
        return str(value)
    if isinstance(value, bytes):
        return value.hex()
    raise TypeError(f"a {type(value).__name__} cannot be written as JSON")


def write(path: Path, rows: Iterable[Row], header: Sequence[str] | None = None) -> None:
    """Write rows in the format of the suffix, beside the place first, so that the file is whole or not there.

    Columns are those that occur, or `header`, which lets CSV and TSV be written row by row as they come. In CSV and TSV
    a missing value is empty and any other than text is JSON. Raises `BadInput` for an unknown suffix, a folder that
    cannot be written to, a row with a column outside `header`, or a Parquet column of mixed types; `DiskFull`.
    """
    suffix = suffix_of(path)
    scratch = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        _WRITERS[suffix](scratch, rows if header is None else _checked(rows, header, path), header, path)
        scratch.replace(path)
    except OSError as error:
        if faults.full(error):
            raise faults.disk_full(error, path.parent) from error
        raise BadInput(f"cannot be written ({error.strerror or error})", file=path) from error
    finally:
        scratch.unlink(missing_ok=True)


def check_file(path: Path, shown: Path) -> None:
    """Raise `BadInput` for what can be seen before a table is opened: missing, a folder, unreadable, empty, binary."""
    if path.is_dir():
        raise BadInput("is a folder", file=shown, expected="a file")
    if not path.exists():
        beside = [other.name for other in path.parent.iterdir()] if path.parent.is_dir() else []
        close = difflib.get_close_matches(path.name, beside, n=1)
        raise BadInput("no such file", file=shown, remedy=f"Did you mean {close[0]}?" if close else None)
    try:
        with path.open("rb") as stream:
            start = stream.read(8192)
    except OSError as error:
        raise BadInput(f"cannot be read ({error.strerror})", file=shown) from error
    if not start.strip():
        raise BadInput("is empty", file=shown, expected="at least one row of data")
    if shown.suffix.lower() != ".parquet" and b"\0" in start:
        raise BadInput("is binary, or text in UTF-16", file=shown, expected="text in UTF-8")


def _lines(path: Path) -> Iterator[str]:
    """Give the lines of a UTF-8 file with their ends; only a line feed ends a line. Raises `UnicodeDecodeError`."""
    with path.open("rb") as stream:
        for number, line in enumerate(stream):
            yield line.decode("utf-8" if number else "utf-8-sig")


def _not_utf8(error: UnicodeDecodeError, shown: Path, row: int | None) -> BadInput:
    byte = error.object[error.start]
    return BadInput(
        f"the bytes are not UTF-8 (0x{byte:02x} at byte {error.start + 1} of the line)",
        file=shown,
        row=row,
        remedy="Save the file again as UTF-8.",
    )


def _read_delimited(path: Path, shown: Path, delimiter: str) -> Iterator[Row]:
    csv.field_size_limit(sys.maxsize)
    reader = csv.reader(_lines(path), delimiter=delimiter, strict=True)
    number = 0
    try:
        header = next((fields for fields in reader if fields), [])
        _check_header(header, shown)
        for fields in reader:
            if not fields and len(header) > 1:  # a blank line is no row; with one column it is an empty value
                continue
            fields = fields or [""]
            number += 1
            if len(fields) != len(header):
                wanted = f"{len(header)}: {', '.join(header)}"
                raise BadInput(f"the row has {len(fields)} fields", file=shown, row=number, expected=wanted)
            row = dict(zip(header, fields, strict=True))
            _check_text(row, shown, number)
            yield row
    except UnicodeDecodeError as error:
        raise _not_utf8(error, shown, number + 1) from error
    except csv.Error as error:
        remedy = "A field that holds quotation marks, separators or line ends must be quoted; JSON lines avoid this."
        raise BadInput(f"the quoting is broken ({error})", file=shown, row=number + 1, remedy=remedy) from error


def _check_text(row: Row, shown: Path, number: int) -> None:
    column = next((name for name, value in row.items() if "\0" in value), None)
    if column is not None:
        remedy = "The file is damaged, or not text: save it again as text in UTF-8."
        raise BadInput("the value holds a NUL byte", file=shown, row=number, key=column, remedy=remedy)


def _check_header(header: list[str], shown: Path) -> None:
    twice = [name for name, times in Counter(header).items() if times > 1]
    if twice:
        raise BadInput("the header has this column more than once", file=shown, key=twice[0])


def _read_csv(path: Path, shown: Path) -> Iterator[Row]:
    return _read_delimited(path, shown, ",")


def _read_tsv(path: Path, shown: Path) -> Iterator[Row]:
    return _read_delimited(path, shown, "\t")


def _read_jsonl(path: Path, shown: Path) -> Iterator[Row]:
    number = 0
    try:
        for line in _lines(path):
            if line.strip():
                number += 1
                yield _json_row(line, shown, number)
    except UnicodeDecodeError as error:
        raise _not_utf8(error, shown, number + 1) from error


def _json_row(line: str, shown: Path, number: int) -> Row:
    """Return one line's object; refuses what `json` lets through: NaN, a key twice, half a surrogate pair."""
    try:
        row = json.loads(line, parse_constant=_no_constant, object_pairs_hook=_no_key_twice)
        if "\\u" in line:
            json.dumps(row, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        what = f"the line is not JSON ({error})"
        raise BadInput(what, file=shown, row=number, expected="one JSON object a line") from error
    if not isinstance(row, dict):
        found = f"the line holds a JSON {type(row).__name__}"
        raise BadInput(found, file=shown, row=number, expected="one JSON object a line")
    return row


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")


def _no_key_twice(pairs: list[tuple[str, Any]]) -> Row:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key occurs twice")
    return found


def _open_parquet(path: Path, shown: Path) -> Any:
    import pyarrow
    from pyarrow import parquet

    try:
        opened = parquet.ParquetFile(path)
    except (pyarrow.ArrowException, OSError) as error:
        raise BadInput(f"cannot be read as Parquet ({error})", file=shown) from error
    _check_header(opened.schema_arrow.names, shown)
    return opened


def _read_parquet(path: Path, shown: Path) -> Iterator[Row]:
    import pyarrow

    opened = _open_parquet(path, shown)
    number = 0
    try:
        for batch in opened.iter_batches(batch_size=_CHUNK):
            yield from batch.to_pylist()
            number += batch.num_rows
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise BadInput(f"cannot be read as Parquet ({error})", file=shown, row=number + 1) from error
    finally:
        opened.close()


def _write_delimited(scratch: Path, rows: Iterable[Row], header: Sequence[str] | None, delimiter: str) -> None:
    if header is None:
        rows = list(rows)
        header = columns(rows)
    with scratch.open("x", encoding="utf-8", newline="") as stream:
        as_needed = csv.writer(stream, delimiter=delimiter, lineterminator="\n")
        quoted = csv.writer(stream, delimiter=delimiter, lineterminator="\n", quoting=csv.QUOTE_ALL)
        for fields in chain([header], ([_cell(row.get(name)) for name in header] for row in rows)):
            # The csv module leaves a bare carriage return unquoted, and then cannot read it.
            (quoted if any("\r" in field for field in fields) else as_needed).writerow(fields)


def _checked(rows: Iterable[Row], header: Sequence[str], path: Path) -> Iterator[Row]:
    """Give `rows`, refusing one with a column that would be dropped."""
    known = set(header)
    for number, row in enumerate(rows, 1):
        if not known.issuperset(row):
            extra = next(name for name in row if name not in known)
            raise BadInput("the row has a column that the header lacks", file=path, row=number, key=extra)
        yield row


def _cell(value: Any) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    return json.dumps(plain(value), ensure_ascii=False)


def _write_csv(scratch: Path, rows: Iterable[Row], header: Sequence[str] | None, shown: Path) -> None:
    _write_delimited(scratch, rows, header, ",")


def _write_tsv(scratch: Path, rows: Iterable[Row], header: Sequence[str] | None, shown: Path) -> None:
    _write_delimited(scratch, rows, header, "\t")


def _write_jsonl(scratch: Path, rows: Iterable[Row], header: Sequence[str] | None, shown: Path) -> None:
    with scratch.open("x", encoding="utf-8", newline="\n") as stream:
        for row in rows:
            stream.write(json.dumps(plain(row), ensure_ascii=False, allow_nan=False) + "\n")


def _write_parquet(scratch: Path, rows: Iterable[Row], header: Sequence[str] | None, shown: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    rows = list(rows)
    arrays = {}
    for name in header if header is not None else columns(rows):
        try:
            arrays[name] = pyarrow.array([row.get(name) for row in rows])
        except pyarrow.ArrowException as error:
            what = f"the column's values are of several types ({error})"
            raise BadInput(what, file=shown, key=name, remedy="Write JSON lines, which may mix types.") from error
    parquet.write_table(pyarrow.table(arrays), scratch)


_Reader = Callable[[Path, Path], Iterator[Row]]
_Writer = Callable[[Path, Iterable[Row], Sequence[str] | None, Path], None]
_READERS: dict[str, _Reader] = {".csv": _read_csv, ".tsv": _read_tsv, ".jsonl": _read_jsonl, ".parquet": _read_parquet}
_WRITERS: dict[str, _Writer] = {
    ".csv": _write_csv,
    ".tsv": _write_tsv,
    ".jsonl": _write_jsonl,
    ".parquet": _write_parquet,
}
