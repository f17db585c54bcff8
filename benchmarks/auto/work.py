"""What a unit of the benchmark does, by library functions: start models, `auto`, tunings, scores. No Prefect."""

from __future__ import annotations

import csv
import json
import logging
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import numpy as np
import torch

from benchmarks.auto import shifts
from holdfast import adapters, bases, choices, models, rows, selection, spec
from holdfast.auto import candidates, choose
from holdfast.forgetting.scorer import Scorer
from holdfast.home import Home
from holdfast.importance import assess, read
from holdfast.records import Artifact, Assessed, DatasetVersion, Selected, Start, Validated
from holdfast.training import tune
from holdfast.versioning import prepare

ROOT = Path(__file__).resolve().parents[2]
LABELS = ("negative", "neutral", "positive")
HEAD = "sentiment"
ARMS = ("full", "high", "attention", "norms", "low")  # the five fixed selections of the NusaX part
NOTHING = Artifact(kind="none", digest="0" * 64)

torch.set_num_threads(1)
logging.getLogger("transformers").setLevel(logging.ERROR)


@dataclass(frozen=True)
class Settings:
    """The recipes: the same for `auto` and every fixed selection of a part."""

    start: dict[str, Any]
    shift: dict[str, Any]
    nusax: dict[str, Any]
    auto: dict[str, dict[str, Any]]


def recipe(training: dict[str, Any], seed: int, remember: tuple[spec.Remember, ...] = ()) -> spec.Recipe:
    """Return the recipe of a plain tuning; the controller is off, for it would hide what a selection does."""
    raw = {"name": "b", "start": {"model": "x"}, "learn": {"train": "a.csv", "head": HEAD}}
    control = {"control": {"enabled": False}}
    return spec.parse({**raw, **control, "training": {**training, "seed": seed}}, ROOT / "b.yaml").recipe


def validated(datasets: dict[str, Any]) -> Validated:
    """Return the record of data that needs no validation here."""
    return Validated(datasets=datasets, labels=LABELS, quarantined=0, expectations=(), competences=(), artifact=NOTHING)


def english(part: str, seed: int, settings: Settings, home: Home) -> Start:
    """Return MiniLM tuned on English of a part (`made` or `nusax`), made once per seed and kept in the home."""
    kept = home.path / "starts" / f"{part}-{seed}.json"
    if kept.is_file():
        return Start.model_validate_json(kept.read_text())
    base = bases.resolve("all-MiniLM-L6-v2")
    start = Start(model="all-MiniLM-L6-v2", base=base)
    data = _made(home) if part == "made" else _nusax("english", home)
    found = {f"learn.{role}": data[role] for role in ("train", "valid")}
    adapter, _ = tuned("full", validated(found), start, (), recipe(settings.start, seed), home)
    start = start.model_copy(update={"adapter": adapter, "heads": adapters.info(home.store.open(adapter))})
    kept.parent.mkdir(exist_ok=True)
    kept.write_text(start.model_dump_json())
    return start


def _made(home: Home) -> dict[str, Any]:
    found = {}
    for role in ("train", "valid"):
        with (ROOT / "data" / "made" / "english" / f"{role}.csv").open(encoding="utf-8", newline="") as stream:
            found[role] = rows.version(home, list(csv.DictReader(stream)))
    return found


def _nusax(language: str, home: Home) -> dict[str, Any]:
    """Return the dataset versions of a NusaX language by role; looked up once and kept in the home."""
    kept = home.path / "starts" / f"data-{language}.json"
    if not kept.is_file():
        refs = {role: f"nusax/{language}/{role}" for role in ("train", "valid", "test")}
        found = prepare.prepare(spec.Learn(**refs), (), 7, home)
        kept.parent.mkdir(exist_ok=True)
        kept.write_text(json.dumps({key: version.model_dump(mode="json") for key, version in found.items()}))
    read_back = json.loads(kept.read_text())
    return {key.removeprefix("learn."): DatasetVersion(**value) for key, value in read_back.items()}


def task(part: str, seed: int, settings: Settings, home: Home) -> tuple[Validated, Start, tuple, spec.Recipe]:
    """Return data, start model, what is remembered, and recipe of a shift (`input`, `output`) or a NusaX language."""
    if part in shifts.RIGHT:
        found = {f"learn.{role}": rows.version(home, own) for role, own in shifts.rows(part, seed).items()}
        return validated(found), english("made", seed, settings, home), (), recipe(settings.shift, seed)
    found = {f"learn.{role}": version for role, version in _nusax(part, home).items()}
    found |= {f"remember.english.{role}": version for role, version in _nusax("english", home).items()}
    remember = spec.Remember(name="english", train="a.csv", valid="a.csv", test="a.csv", head=HEAD, margin=0.05)
    return validated(found), english("nusax", seed, settings, home), (remember,), recipe(settings.nusax, seed)


def fixed(part: str, seed: int, family: str, settings: Settings, home: Home) -> dict[str, Any]:
    """Tune a fixed family of a part and score it on test."""
    data, start, remember, how = task(part, seed, settings, home)
    adapter, seconds = tuned(family, data, start, remember, how, home)
    found = {"seconds": seconds, **scores(adapter, data, start, how, home)}
    home.store.discard(adapter)  # up to 90 MB each; the answers on test are kept
    return found


def auto(part: str, seed: int, settings: Settings, home: Home) -> dict[str, Any]:
    """Let `auto` choose; return what it chose, the evidence in brief and the seconds of assessing and choosing."""
    data, start, remember, how = task(part, seed, settings, home)
    begun = time.perf_counter()
    learn = spec.Learn(train="a.csv", head=HEAD)
    measured = assess.assess(data, start, spec.Assess(), learn, remember, how.training, False, home)
    assessed_at = time.perf_counter()
    parameters = choices.parse("parameters", {"auto": settings.auto["shift" if part in shifts.RIGHT else "nusax"]}, "p")
    selected = choose.choose(measured, data, start, parameters, how, remember, home)
    evidence = json.loads((home.store.open(selected.artifact) / choose.EVIDENCE).read_text())
    done = time.perf_counter()
    return {
        "chosen": evidence["chosen"],
        "why": evidence["why"],
        "work": evidence["work"],
        "candidates": [_brief(row) for row in evidence["candidates"]],
        "seconds": {"assess": round(assessed_at - begun, 1), "choose": round(done - assessed_at, 1)},
    }


def _brief(row: dict[str, Any]) -> dict[str, Any]:
    looks = [(one["updates"], one["look"], one["worth"]) for one in row["trials"]]
    seen = [[n, look and round(look["target"]["gain"], 4), look and look["kept"], worth] for n, look, worth in looks]
    return {"family": row["family"], "score": row["importance"]["score"], "verdict": row["verdict"], "trials": seen}


def tuned(
    family: str, data: Validated, start: Start, remember: tuple, how: spec.Recipe, home: Home
) -> tuple[Artifact, float]:
    """Tune a family's selection by the recipe; return the adapter and the seconds of the tuning."""
    model = models.load_with_head(start, home, HEAD, LABELS, how.training.seed)
    (found,) = candidates.ranked(model, _flat(model), (family,))
    selected: Selected = selection.keep(found.selection, model, {}, home)
    begun = time.perf_counter()
    assessed = Assessed(measure="fisher", examples=0, artifact=NOTHING)
    made = tune.tune(selected, assessed, data, start, how, remember, home)
    return made.adapter, round(time.perf_counter() - begun, 1)


def _flat(model: models.Model) -> read.Importance:
    """Return an importance that says nothing: a family is a family without one, only `block` is not."""
    levels = {"tensor": dict.fromkeys(model.encoder_parameters(), 1.0), "head": {}, "layer": {}}
    return read.Importance("none", 0, levels, None)


def scores(adapter: Artifact, data: Validated, start: Start, how: spec.Recipe, home: Home) -> dict[str, Any]:
    """Return test accuracy of the start model and the tuned one, on the target and on what is remembered."""
    version = start.model_copy(update={"adapter": adapter, "heads": adapters.info(home.store.open(adapter))})
    found = {}
    for key, dataset in data.datasets.items():
        if key.endswith(".test"):
            name = "target" if key == "learn.test" else key.split(".")[1]
            before, after = (_accuracy(one, dataset, how, home) for one in (start, version))
            found[name] = {"before": before, "after": after}
    return {"test": found}


def _accuracy(version: Start, dataset: Any, how: spec.Recipe, home: Home) -> float:
    scorer = Scorer(version, how.training, home)
    known = rows.label_ids(rows.read(home, dataset), scorer.labels(HEAD))
    return round(float(np.mean(scorer.logits(dataset, HEAD).argmax(1) == np.array(known))), 5)
