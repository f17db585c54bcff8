"""Every point at which a process is killed, for every method: the same bytes afterwards, and nothing lost.

    .venv/bin/python -m benchmarks.kill.run                         # every point and method, and one through Prefect
    .venv/bin/python -m benchmarks.kill.run --methods anchors/ewc   # some methods
    .venv/bin/python -m benchmarks.kill.run --flow parameters/lora  # which methods go through the whole flow

On a tiny random encoder that has learned one task and learns another, its opposite, or on a tiny decoder that has
learned to answer some prompts and learns to answer others. An uninterrupted run says what the bytes should be. Then
processes kill themselves (SIGKILL) at one point after the other, each going on from where the last one died; what is
visible right after a kill must be whole, and there must be a champion at all times. The last process runs to the end,
and its `adapter_model.safetensors` and `adapter_config.json` must be the same bytes. Methods are the choices found on
the axes, each beside defaults, the presets of `holdfast methods` and some crossings on the decoder (`rows.py`): a later
one is in the table without being named.

Writes `kill.json` and `kill.md` into `benchmarks/results`, and exits with 1 where anything was wrong, or where a
process never came to its point. Most pictures are left out: drawing them would take most of the time.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from matplotlib.figure import Figure

from benchmarks.kill import rows, spine, trials, world
from holdfast.home import Home

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results"
FLOW = ("parameters/layers",)
_SPINE, _FLOW = "The stages, process by process", "The whole flow, with Prefect"
_MARKS = {trials.SAME: "=", trials.ABSENT: "o"}


def main() -> int:
    """Run what is asked for, write the table, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="*", default=rows.every(), help="axis/choice; all where left out")
    parser.add_argument("--flow", nargs="*", default=FLOW, help="methods that also go through the whole flow")
    parser.add_argument("--go-on", action="store_true", help="keep the rows of the last run, which was stopped")
    parser.add_argument("--out", type=Path, default=RESULTS, help="where the tables go")
    options = parser.parse_args()
    mock.patch.object(Figure, "savefig", _no_picture).start()
    place = Path(tempfile.mkdtemp(prefix="holdfast-kill-"))
    kept = options.out / "kill.json"
    found: dict[str, Any] = json.loads(kept.read_text()) if options.go_on and kept.exists() else {"seconds": 0}
    found |= {"command": " ".join(["python -m benchmarks.kill.run", *sys.argv[1:]]), "machine": _machine()}
    before = found["seconds"]
    for title, of, methods in ((_SPINE, _spine, options.methods), (_FLOW, _flow, options.flow)):
        done = found.get(title, {"found": {}})["found"]
        found[title] = {"methods": len({*methods, *done}), "found": done}
        for method, said in of(place / of.__name__, [method for method in methods if method not in done]):
            done[method] = said
            found["seconds"] = before + round(sum(os.times()[:4]))
            _write(found, options.out)
    print((options.out / "kill.md").read_text())
    every = [said for title in (_SPINE, _FLOW) for row in found[title]["found"].values() for said in row.values()]
    return 0 if all(said in _MARKS for said in every) else 1


def _write(found: dict[str, Any], out: Path) -> None:
    """Write what is found so far, so that a run that is stopped has not been for nothing."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "kill.json").write_text(json.dumps(found, indent=1) + "\n")
    (out / "kill.md").write_text(_text(found))


def _no_picture(figure: Figure, place: Any, **options: Any) -> None:
    """Stand in for matplotlib's drawing."""
    write = place.write if hasattr(place, "write") else Path(place).write_bytes
    write(b"a picture")


def _flow(place: Path, methods: list[str]) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield (method, {point: what became of it}) for the whole flow."""
    for method in methods:
        yield method, trials.flow(place / method.replace("/", "-"), method)


def _spine(place: Path, methods: list[str]) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield (method, {point: what became of it}) for the flow's body without Prefect."""
    if not methods:
        return
    from flows.cli import common

    home = common.enter(place / "home")

    (place / "world").mkdir()
    wanted = {words: [method for method in methods if rows.generates(method) == words] for words in (False, True)}
    firsts = [spine.child(world.make, place / "world", words)[1] for words in wanted if wanted[words]]
    spine.prepare(firsts, home)
    validated: dict[str, dict[str, Any]] = {}
    for number, method in enumerate((method for own in wanted.values() for method in own), 1):
        file = world.pipeline(place / "world", method)
        learned = json.dumps(world.learned(file))
        if learned not in validated:
            validated[learned] = _validated(file, home)
        said = trials.method(place / "world", method, home, validated[learned])
        print(f"{number} of {len(methods)}: {method}: {said}", file=sys.stderr, flush=True)
        yield method, said


def _validated(file: Path, home: Home) -> dict[str, Any]:
    """Return the record of the data's validation, which all methods with the same data share."""
    _, known = spine.child(spine.run, file, [], home, {}, "validate")
    return {"validate": known["validate"]}


def _text(found: dict[str, Any]) -> str:
    """Return the two tables as Markdown: a row per method, a column per point."""
    lines = [
        "# Killed at every point, for every method",
        "",
        f"`{found['command']}`, {found['seconds']} s of processor time, on {found['machine']}.",
        "",
        "**=**: the run after the kill gave the bytes of an uninterrupted one. **o**: so did this one, and right after",
        "the kill the adapter (from the MLflow run on: its version) was absent, rather than half there. Neither parts,",
        "half versions, checkpoints, runs left RUNNING, a lost champion nor a wrong alias remained in any of them.",
    ]
    for title in (_SPINE, _FLOW):
        table = found.get(title, {"found": {}})
        if table["found"]:
            lines += [
                "",
                f"## {title}: {len(table['found'])} of {table['methods']} methods",
                "",
                *_table(table["found"]),
            ]
    return "\n".join(lines) + "\n"


def _table(table: dict[str, dict[str, str]]) -> list[str]:
    names = max((list(row) for row in table.values()), key=len)
    lines = ["| method (preset) | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for method, row in table.items():
        cells = [_MARKS.get(row.get(name, ""), row.get(name, "")) for name in names]
        presets = [name for name in rows.named(method) if name != method.rpartition("/")[2]]
        named = f"`{method}`" + (f" ({', '.join(presets)})" if presets else "")
        lines.append("| " + " | ".join([named, *cells]) + " |")
    return lines


def _machine() -> str:
    import torch

    processor = f"{os.cpu_count()} cores of {platform.machine()} ({torch.backends.cpu.get_cpu_capability()})"
    return f"{processor}, threads: {torch.get_num_threads()}, torch {torch.__version__}"


if __name__ == "__main__":
    sys.exit(main())
