"""Finding pickled bytes, whatever they are wrapped in, without ever loading them.

`pickled_files(folder)` looks through a folder, such as a home after a run; `offences(source)` through Python source.
"""

import ast
import base64
import bz2
import io
import json
import lzma
import pickletools
import re
import sqlite3
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

_SUFFIXES = {".pkl", ".pickle", ".joblib", ".dill", ".pt", ".pth", ".ckpt", ".bin"}
_BASE64 = re.compile(rb'"(gA[I-X][A-Za-z0-9+/=\\n]{6,})"')  # a JSON string that begins like a pickle in base64
_LARGE = 1 << 20  # text-like pickles (protocols 0 and 1) are looked for in smaller files only
_MOST = 1 << 26  # of a compressed file, this many bytes are looked at

_MODULES = {
    "pickle",
    "_pickle",
    "cPickle",
    "cloudpickle",
    "dill",
    "joblib",
    "shelve",
    "marshal",
    "jsonpickle",
    "pickle5",
}
_CALLS = {
    "torch.save", "torch.load", "torch.jit.save", "torch.jit.load", "numpy.save", "numpy.savez", "numpy.load",
    "pandas.read_pickle", "yaml.load", "yaml.full_load", "yaml.unsafe_load", "sklearn.externals.joblib.dump",
}  # fmt: skip
_METHODS = {"to_pickle", "read_pickle", "unsafe_load"}
_KEYWORDS = {"allow_pickle": True, "weights_only": False, "safe_serialization": False}
_ALIASES = {"np": "numpy", "pd": "pandas"}


def pickled_files(folder: Path) -> list[str]:
    """Return `relative path: why` of every file below `folder` that is, or holds, pickled bytes."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    reasons = ((path, in_file(path)) for path in files)
    return [f"{path.relative_to(folder).as_posix()}: {why}" for path, why in reasons if why]


def in_file(path: Path) -> str | None:
    """Return why a file counts as pickled, or None."""
    if path.suffix.lower() in _SUFFIXES:
        return f"named {path.suffix}"
    data = path.read_bytes()
    if data.startswith(b"SQLite format 3\0"):
        return _in_database(path)
    return in_bytes(data)


def in_bytes(data: bytes, depth: int = 0) -> str | None:
    """Return why bytes count as pickled: a pickle, an object array, or an archive or base64 text that holds one."""
    if _is_pickle(data):
        return "a pickle"
    if data.startswith(b"\x93NUMPY") and b"|O" in data[:512]:
        return "an array of objects"
    if data.startswith(b"PK\x03\x04"):
        return _in_zip(data, depth)
    inner = _decompressed(data)
    if inner is not None and depth < 3:
        found = in_bytes(inner, depth + 1)
        return f"compressed, {found}" if found else None
    encoded = any(_is_pickle(_unbase64(match)) for match in _BASE64.findall(data))
    return "a pickle in base64" if encoded else None


def _is_pickle(data: bytes) -> bool:
    """Say whether bytes begin as a pickle of protocol 2 or later, or are one of protocol 0 or 1 from end to end."""
    if _is_safetensors(data):
        return False
    if len(data) > 2 and data[0] == 0x80 and 2 <= data[1] <= 5:
        return _opcodes(data) >= 3
    if 1 < len(data) < _LARGE and data.endswith(b"."):
        try:
            pickletools.dis(data, out=io.StringIO())
        except Exception:
            return False
        return True
    return False


def _is_safetensors(data: bytes) -> bool:
    """Say whether bytes have a safetensors header, whose length may look like the beginning of a pickle."""
    length = int.from_bytes(data[:8], "little")
    if len(data) < 10 or data[8:9] != b"{" or length > len(data) - 8:
        return False
    try:
        return isinstance(json.loads(data[8 : 8 + length]), dict)
    except ValueError:
        return False


def _opcodes(data: bytes) -> int:
    """Return how many of the first three opcodes can be read."""
    count = 0
    try:
        for _ in pickletools.genops(data):
            count += 1
            if count == 3:
                break
    except Exception:
        return count
    return count


def _in_zip(data: bytes, depth: int) -> str | None:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for name in archive.namelist():
                if Path(name).suffix.lower() in _SUFFIXES:
                    return f"a zip with {name}"
                found = in_bytes(archive.read(name), depth + 1) if depth < 3 else None
                if found:
                    return f"a zip in which {name} is {found}"
    except zipfile.BadZipFile:
        return None
    return None


def _decompressed(data: bytes) -> bytes | None:
    """Return the beginning of what gzip, zlib, bzip2 or xz data hold, or None for anything else."""
    magic = {b"\x1f\x8b": zlib.decompressobj(31), b"x\x01": zlib.decompressobj(), b"x\x9c": zlib.decompressobj()}
    magic |= {b"x\xda": zlib.decompressobj(), b"BZh": bz2.BZ2Decompressor(), b"\xfd7zXZ": lzma.LZMADecompressor()}
    for start, machine in magic.items():
        if data.startswith(start):
            try:
                return machine.decompress(data, _MOST)
            except (zlib.error, OSError, EOFError, lzma.LZMAError):
                return None
    return None


def _unbase64(text: bytes) -> bytes:
    text = text.replace(b"\\n", b"").rstrip(b"=")
    try:
        return base64.b64decode(text + b"=" * (-len(text) % 4))
    except ValueError:
        return b""


def _in_database(path: Path) -> str | None:
    """Return the first column of an SQLite file with a pickled value."""
    connection = sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)
    try:
        connection.text_factory = bytes
        for (table,) in connection.execute("select name from sqlite_master where type = 'table'").fetchall():
            for column, value in _values(connection, table.decode()):
                if in_bytes(value, 1):
                    return f"a pickle in {table.decode()}.{column}"
    except sqlite3.DatabaseError:
        return None
    finally:
        connection.close()
    return None


def _values(connection: sqlite3.Connection, table: str) -> Iterator[tuple[str, bytes]]:
    quoted = table.replace('"', '""')
    cursor = connection.execute(f'select * from "{quoted}"')
    names = [column[0] for column in cursor.description]
    for row in cursor:
        for name, value in zip(names, row, strict=True):
            if isinstance(value, bytes) and len(value) > 2:
                yield name, value


def offences(source: str) -> list[str]:
    """Return `line N: what` of everything in Python source that could read or write a pickle."""
    tree = ast.parse(source)
    names = dict(_ALIASES)
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names |= {a.asname: a.name for a in node.names if a.asname}
            found += [(node.lineno, f"imports {name}") for name in _imported(node) if name.split(".")[0] in _MODULES]
            found += [(node.lineno, f"imports {name}") for name in _imported(node) if name in _CALLS]
        elif isinstance(node, ast.Call):
            found += [(node.lineno, what) for what in _calls(node, names)]
    return [f"line {line}: {what}" for line, what in sorted(found)]


def _imported(node: ast.Import | ast.ImportFrom) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [f"{node.module}.{alias.name}" for alias in node.names]


def _calls(node: ast.Call, names: dict[str, str]) -> Iterator[str]:
    called = ast.unparse(node.func)
    first, _, rest = called.partition(".")
    called = f"{names.get(first, first)}.{rest}" if rest else called
    keywords = {k.arg: k.value.value for k in node.keywords if isinstance(k.value, ast.Constant)}
    harmless = called.startswith("numpy.") and keywords.get("allow_pickle") is False
    if (called in _CALLS and not harmless) or called.rpartition(".")[2] in _METHODS:
        yield f"calls {called}"
    for name, value in _KEYWORDS.items():
        if name in keywords and keywords[name] is value:
            yield f"passes {name}={value}"
