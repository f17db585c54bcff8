"""Manifests: an adapter folder's list of files with a digest for each, checked before anything in it is read.

The manifest names the base model and every file, and carries the digest of itself; its text is canonical, so that not
one byte of the folder can change without being seen. A digest guards against damage, not against an author: whoever can
write the folder can write its manifest, which is why the kinds of files are limited too, and none can hold a pickle.
"""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath
from typing import Any

from holdfast import bases, digests
from holdfast.errors import Corrupt
from holdfast.records import BaseRef

NAME = "manifest.json"
_KINDS = {".json", ".safetensors", ".txt", ".model", ".jinja", ".md"}
_PICKLE_HEADS = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"PK\x03\x04")


def write(folder: Path, base: BaseRef) -> None:
    """Write `manifest.json` for every file below `folder`; an older one is replaced."""
    files = {path: digest for path, digest in digests.of_folder(folder).items() if path != NAME}
    named = {"name": bases.portable_name(base), "revision": base.revision, "sha256": base.sha256}
    (folder / NAME).write_text(_text({"base": named, "files": files}), encoding="utf-8", newline="\n")


def _text(content: dict[str, Any]) -> str:
    """Return the canonical text of a manifest, its own digest included."""
    whole = {"base": content["base"], "files": content["files"]}
    whole["digest"] = digests.of_json(whole)
    return json.dumps(whole, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def read(folder: Path) -> dict[str, Any]:
    """Return the manifest {"base": {name, revision, sha256}, "files": {path: SHA-256}, "digest"}, itself verified.

    Raises `Corrupt` when it is missing, not a manifest, not canonical, or names a path outside the folder.
    """
    path = folder / NAME
    _refuse_link(path)
    try:
        data = path.read_bytes()
        content = json.loads(data)
        canonical = _text(content)
        paths, named = list(content["files"]), {*content["base"]}
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise Corrupt(f"{path}: is missing or not a manifest ({type(error).__name__})") from error
    if data != canonical.encode() or named != {"name", "revision", "sha256"}:
        raise Corrupt(f"{path}: its text does not match its own digest")
    for name in paths:
        parts = PurePosixPath(name)
        if parts.is_absolute() or ".." in parts.parts or "\\" in name or not parts.parts or name == NAME:
            raise Corrupt(f"{path}: names `{name}`, which is not a path inside the folder")
    return dict(content)


def verify(folder: Path, base: BaseRef | None = None) -> dict[str, Any]:
    """Return the manifest after checking every byte of the folder; `base` is the model that it is to be applied to.

    Raises `Corrupt`, naming the file, for a changed, missing, extra or linked file, for one that could hold a pickle,
    and for an adapter of another base.
    """
    content = read(folder)
    for path in sorted(folder.rglob("*")):
        _refuse_link(path)
        if not path.is_dir():
            _check(path, path.relative_to(folder).as_posix(), content["files"])
    missing = sorted(name for name in content["files"] if not (folder / name).is_file())
    if missing:
        raise Corrupt(f"{folder / missing[0]}: is named in the manifest and missing")
    if base is not None and base.sha256 != content["base"]["sha256"]:
        raise Corrupt(
            f"{folder / NAME}: the adapter belongs to the base {content['base']['name']} with sha256 "
            f"{content['base']['sha256']}, the model is {base.name} with sha256 {base.sha256}"
        )
    return content


def verify_file(folder: Path, name: str) -> Path:
    """Return the path of one file after checking it and the manifest, the other files unread. Raises `Corrupt`."""
    path = folder / name
    _refuse_link(path)
    files = read(folder)["files"]
    if not path.is_file() or name not in files:
        raise Corrupt(f"{path}: is missing from the folder or its manifest")
    _check(path, name, files)
    return path


def _refuse_link(path: Path) -> None:
    if path.is_symlink():
        raise Corrupt(f"{path}: is a link; an adapter folder holds plain files only")


def _check(path: Path, name: str, files: dict[str, str]) -> None:
    if name == NAME:
        return
    if not path.is_file() or path.suffix not in _KINDS or _may_be_pickle(path):
        raise Corrupt(f"{path}: is not a kind of file that an adapter holds; pickles are never loaded")
    if name not in files:
        raise Corrupt(f"{path}: is not named in the manifest")
    if digests.of_file(path) != files[name]:
        raise Corrupt(f"{path}: its bytes do not match the manifest")


def _may_be_pickle(path: Path) -> bool:
    """Say whether a file begins as a pickle or a zip does; safetensors must begin with a length and a brace."""
    with path.open("rb") as stream:
        head = stream.read(9)
    return head[8:9] != b"{" if path.suffix == ".safetensors" else head.startswith(_PICKLE_HEADS)
