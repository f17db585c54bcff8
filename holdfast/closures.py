"""What code a stage depends on: the static import closure of a module inside the library, as one digest.

Imports are read from the source with `ast`, those inside functions too, so that an edited module reruns exactly the
stages that could reach it. Imports under `if TYPE_CHECKING:` do not run and do not count.
"""

import ast
from collections.abc import Iterable
from functools import cache
from importlib import metadata
from pathlib import Path

from holdfast import digests

_ROOT = Path(__file__).resolve().parent
_PACKAGES = (
    "torch",
    "transformers",
    "tokenizers",
    "peft",
    "accelerate",
    "safetensors",
    "numpy",
    "pandas",
    "scipy",
    "scikit-learn",
)


def digest(modules: Iterable[str]) -> str:
    """Return the SHA-256 over the source of every library module that `modules` import, directly or not."""
    return digests.of_json({name: digests.of_file(path) for name, path in closure(modules).items()})


def closure(modules: Iterable[str]) -> dict[str, Path]:
    """Return {module name: file} of `modules`, their packages, and every library module that they import."""
    found: dict[str, Path] = {}
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        path = _file(name)
        if path is None or name in found:
            continue
        found[name] = path
        waiting += _parents(name)
        waiting += _imports(path, _stamp(path))
    return dict(sorted(found.items()))


@cache
def package_versions() -> dict[str, str]:
    """Return the versions of the packages that numbers depend on."""
    return {name: metadata.version(name) for name in _PACKAGES}


def _file(name: str) -> Path | None:
    """Return the file of a dotted module name inside the library, or None when it is not a module of it."""
    first, *rest = name.split(".")
    if first != "holdfast":
        return None
    place = _ROOT.joinpath(*rest)
    candidates = (place.with_suffix(".py"), place / "__init__.py") if rest else (place / "__init__.py",)
    return next((path for path in candidates if path.is_file()), None)


def _parents(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:i]) for i in range(1, len(parts))]


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_mtime_ns, status.st_size


@cache
def _imports(path: Path, stamp: tuple[int, int]) -> tuple[str, ...]:
    names: list[str] = []
    for node in _running_nodes(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return tuple(name for name in names if name.split(".")[0] == "holdfast")


def _running_nodes(tree: ast.AST) -> Iterable[ast.AST]:
    """Yield every node except what stands under `if TYPE_CHECKING:`."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue
        yield node
        yield from _running_nodes(node)
