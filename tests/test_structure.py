"""The shape of the house: arrows between rooms, sizes, and names that must not be shadowed."""

import ast
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
SOURCE = [path for folder in ("holdfast", "tasks", "flows") for path in sorted((ROOT / folder).rglob("*.py"))]
OTHERS = [
    path
    for folder in ("tests", "benchmarks", "data", "mlflow", "infra")
    for path in sorted((ROOT / folder).rglob("*.py"))
]
FORBIDDEN = {
    "holdfast/rows.py": ("tasks", "flows -> tasks -> holdfast"),
    "tasks/gate.py": ("flows", "flows -> tasks -> holdfast"),
    "holdfast/training/rates.py": ("prefect", "the library knows no orchestrator"),
    "holdfast/forgetting/cka.py": ("mlflow.tracking", "only holdfast.registry talks to MLflow"),
    "tasks/prepare.py": ("dvc.repo", "only holdfast.versioning talks to DVC"),
    "holdfast/tables.py": ("great_expectations", "only holdfast.validation talks to Great Expectations"),
    "flows/stages.py": ("evidently", "only holdfast.drift talks to Evidently"),
}


def run(*command: str, cwd: Path = ROOT) -> subprocess.CompletedProcess:
    return subprocess.run([*command], cwd=cwd, capture_output=True, text=True, check=False)


def test_the_rooms_keep_their_import_contracts():
    found = run(str(BIN / "lint-imports"), "--no-cache")
    assert found.returncode == 0 and " 0 broken" in found.stdout, found.stdout


def test_every_broken_import_contract_is_seen(tmp_path):
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for folder in ("holdfast", "tasks", "flows"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file, (module, _) in FORBIDDEN.items():
        with (tmp_path / file).open("a", encoding="utf-8") as stream:
            stream.write(f"\n\ndef late():\n    import {module}\n")
    found = run(str(BIN / "lint-imports"), "--no-cache", cwd=tmp_path)
    assert found.returncode == 1
    broken = {line.removesuffix(" BROKEN") for line in found.stdout.splitlines() if line.endswith(" BROKEN")}
    broken |= {line.partition(" BROKEN (")[0] for line in found.stdout.splitlines() if " BROKEN (" in line}
    assert broken == {contract for _, contract in FORBIDDEN.values()}


@pytest.mark.slow
@pytest.mark.parametrize("command", [("ruff", "check", "."), ("ruff", "format", "--check", "."), ("mypy",)])
def test_linters_and_types_are_clean(command):
    found = run(str(BIN / command[0]), *command[1:])
    assert found.returncode == 0, found.stdout[-4000:] + found.stderr[-1000:]


def test_no_file_is_over_400_lines():
    assert len(SOURCE) > 80
    lines = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8").count("\n") for path in SOURCE + OTHERS}
    assert {name: count for name, count in lines.items() if count > 400} == {}


def lengths() -> dict[str, int]:
    """Return the length in lines of every function of the source."""
    return {
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}": (node.end_lineno or 0) - node.lineno + 1
        for path in SOURCE
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def test_functions_are_short():
    found = lengths()
    assert {name: length for name, length in found.items() if length > 80} == {}
    assert statistics.median(found.values()) <= 12
    assert statistics.quantiles(found.values(), n=10)[-1] <= 35


def test_packages_of_the_library_hold_a_docstring_and_import_nothing():
    packages = [path for path in SOURCE if path.name == "__init__.py" and path.parts[len(ROOT.parts)] == "holdfast"]
    assert len(packages) > 5
    for path in packages:
        body = ast.parse(path.read_text(encoding="utf-8")).body
        assert isinstance(body[0], ast.Expr) and all(isinstance(node, ast.Assign) for node in body[1:]), path


def test_no_package_files_where_a_name_would_be_shadowed():
    assert not list((ROOT / "tests").rglob("__init__.py"))
    assert not list((ROOT / "mlflow").rglob("__init__.py"))


@pytest.mark.parametrize("name", ["mlflow", "dvc"])
def test_the_folders_of_the_repository_shadow_no_library(name):
    code = f"import importlib.util as u; print(u.find_spec({name!r}).origin)"
    found = run(sys.executable, "-c", code)
    assert "site-packages" in Path(found.stdout.strip()).parts, found.stderr


def test_file_names_of_tests_are_distinct():
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert {name for name in names if names.count(name) > 1} == set()
