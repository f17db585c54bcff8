"""How long does a window take? Writes results/drift-speed.json and .md (and prints the table).

    .venv/bin/python benchmarks/drift/speed.py

A window of texts with embeddings given (384 numbers a row; the encoder's own time is not part of this) is checked
against a reference whose statistics were measured and kept before: all eight checks, what changed, and the report. Each
row of the table is a process of its own, which first imports what it needs; the parts are:

    imports    Python's start, NumPy, SciPy, scikit-learn, Evidently
    reference  read and verified from the store
    window     the descriptors and hashed n-grams of its texts
    checks     the eight checks, judged as a set
    changes    words, segments, strangest rows
    report     Evidently's report, HTML and JSON

Texts are 18 words drawn from 30,000 made ones as often as Zipf's law says, a tenth of the window's from 5000 others;
embeddings are Gaussian and move as much. Needs nothing. All settings are the defaults of `monitor:`, but for the size
of the reference where that is above 10,000 rows.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from holdfast.drift.reference import Reference
    from holdfast.home import Home

RESULTS = Path(__file__).resolve().parents[1] / "results"
CASES = ((10_000, 10_000), (100_000, 10_000), (100_000, 100_000))  # rows of the window and of the reference
LIMITS = {10_000: 15.0, 100_000: 90.0}
PARTS = ("imports", "reference", "window", "checks", "changes", "report")
DIMENSIONS, WORDS, OTHERS, LENGTH = 384, 30_000, 5000, 18
LABELS, SOURCES, LANGUAGES = ("positive", "neutral", "negative"), ("email", "chat", "form", "app"), ("en", "id")


def main() -> None:
    """Measure every case in a process of its own; write the table and the numbers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--rows", type=int, help="only windows of so many rows")
    options = parser.parse_args()
    if options.case:
        folder, rows, begun = options.case
        print(json.dumps(one(Path(folder), int(rows), float(begun))))
        return
    found: dict[str, Any] = {
        "cases": [],
        "threads": threads(),
        "machine": f"{platform.machine()}, {platform.platform()}",
    }
    for rows, reference in CASES:
        if options.rows in (None, rows):
            found["cases"].append(case(rows, reference))
            print(table(found).splitlines()[-1], flush=True)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "drift-speed.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    (RESULTS / "drift-speed.md").write_text(table(found) + "\n", encoding="utf-8")
    print(table(found))


def threads() -> int:
    """Return how many cores a case may use: two, where there are as many."""
    return min(2, len(os.sched_getaffinity(0)))


def case(rows: int, reference: int) -> dict[str, Any]:
    """Keep a reference, then time a window of `rows` against it in a new process on two cores."""
    from holdfast import home as homes

    with tempfile.TemporaryDirectory() as folder:
        place = homes.make(Path(folder) / "home")
        kept = keep(reference, place)
        (Path(folder) / "reference.json").write_text(kept.model_dump_json(), encoding="utf-8")
        given = {**os.environ, **{f"{name}_NUM_THREADS": str(threads()) for name in ("OMP", "OPENBLAS", "MKL")}}
        cores = set(sorted(os.sched_getaffinity(0))[: threads()])
        line = [sys.executable, __file__, "--case", folder, str(rows), repr(time.time())]
        done = subprocess.run(
            line,
            env=given,
            capture_output=True,
            text=True,
            check=False,
            preexec_fn=lambda: os.sched_setaffinity(0, cores),
        )
    if done.returncode:
        raise SystemExit(done.stderr)
    return {"rows": rows, "reference": reference, **json.loads(done.stdout)}


def keep(rows: int, home: Home) -> Reference:
    """Measure a reference and keep its statistics."""
    from holdfast import rows as dataset_rows
    from holdfast.drift import observe, reference
    from holdfast.drift.settings import Columns

    made, embeddings = production(rows, 0.0, 1)
    made = [{**row, reference.JUDGING: i % 2 == 0} for i, row in enumerate(made)]
    version = dataset_rows.version(home, made, ref="reference")
    return reference.build(version, lambda given: observe.Observed([*given], embeddings), Columns(), home)


def production(rows: int, moved: float, seed: int) -> tuple[list[dict[str, Any]], np.ndarray]:
    """Return rows as the champion sees them and their embeddings; a share `moved` of them is of another kind."""
    rng = np.random.default_rng(seed)
    other = rng.random(rows) < moved
    common = np.cumsum(1 / np.arange(1, WORDS + 1))
    drawn = np.asarray(np.searchsorted(common, rng.random((rows, LENGTH)) * common[-1]))
    drawn[other] = WORDS + drawn[other] % OTHERS
    words = [spelled(i) for i in range(WORDS + OTHERS)]
    labels, answers = rng.integers(0, 3, (2, rows))
    answers = np.where(rng.random(rows) < 0.8, labels, answers)
    sure = rng.uniform(0.4, 1.0, rows)
    embeddings = rng.standard_normal((rows, DIMENSIONS), dtype=np.float32)
    embeddings[other, :64] += 3
    made = [
        {
            "id": f"{seed}-{i}",
            "text": " ".join(words[j] for j in drawn[i]),
            "label": LABELS[labels[i]],
            "prediction": LABELS[answers[i]],
            "probabilities": {LABELS[answers[i]]: float(sure[i])},
            "language": LANGUAGES[int(other[i])],
            "source": SOURCES[i % 4],
            "time": 1.7e9 + i,
        }
        for i in range(rows)
    ]
    return made, embeddings


def spelled(number: int) -> str:
    """Return a made word for a number, another for each; common words are short."""
    consonants, vowels, word = "bdfgklmnprstvz", "aeiou", ""
    number += 1
    while number:
        number, rest = divmod(number, 70)
        word += consonants[rest // 5] + vowels[rest % 5]
    return word


def one(folder: Path, rows: int, begun: float) -> dict[str, Any]:
    """Check a window of `rows` against the kept reference; return the seconds that each part took."""
    import scipy.stats  # noqa: F401
    import sklearn.feature_extraction.text
    import sklearn.linear_model  # noqa: F401

    from holdfast.drift import checks, evidently_report, explain, reference, sample
    from holdfast.drift.settings import Monitor
    from holdfast.home import Home

    seconds = {"imports": time.time() - begun}
    monitor, place = Monitor(), Home(folder / "home")
    kept = reference.Reference.model_validate_json((folder / "reference.json").read_text(encoding="utf-8"))
    made, embeddings = production(rows, 0.1, 2)

    def timed(part: str, work: Any) -> Any:
        start = time.perf_counter()
        found = work()
        seconds[part] = time.perf_counter() - start
        return found

    old = timed("reference", lambda: reference.load(kept, monitor.columns, place))
    new = timed("window", lambda: sample.measure(made, monitor.columns, embeddings))
    found = timed("checks", lambda: checks.run(old, new, monitor))
    told = timed("changes", lambda: explain.explain(old, new, found.strangeness, monitor.seed))
    timed("report", lambda: evidently_report.write(old, new, found.findings, told, folder / "report"))
    return {
        "seconds": round(sum(seconds.values()), 2),
        "parts": {part: round(seconds[part], 2) for part in PARTS},
        "checks": {finding.check: "drifted" if finding.drifted else "quiet" for finding in found.findings},
        "sampled": {finding.check: [finding.n, finding.reference_n] for finding in found.findings},
        "peak_MiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def table(found: dict[str, Any]) -> str:
    """Return the numbers as a table in Markdown."""
    lines = [
        f"| rows | reference | {' | '.join(PARTS)} | seconds | allowed | peak MiB |",
        f"|{'---|' * (len(PARTS) + 5)}",
    ]
    for row in found["cases"]:
        parts = " | ".join(f"{row['parts'][part]:.1f}" for part in PARTS)
        sizes, allowed = f"{row['rows']:,} | {row['reference']:,}", f"{LIMITS[row['rows']]:.0f}"
        lines.append(f"| {sizes} | {parts} | **{row['seconds']:.1f}** | {allowed} | {row['peak_MiB']:,} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
