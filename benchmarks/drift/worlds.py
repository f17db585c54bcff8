"""Worlds to watch: a reference, a pool of rows like it and disjoint from it, and rows of kinds that may come.

`made()` needs nothing: messages by data/make.py, and texts hashed and projected in the place of an encoder.
`real(folder)` takes the SemEval tweets of 2013 and MiniLM; the rows that may come are Indonesian reviews (SmSA) and
tweets of 2015 and 2016. In both, a logistic regression on the embeddings of one part of the reference is the champion,
judged on the other.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from scipy.sparse import csr_matrix, vstack

from holdfast.drift import checks, terms
from holdfast.drift.sample import Sample, measure
from holdfast.drift.settings import Columns, Monitor

DATA = Path(__file__).resolve().parents[2] / "data"
sys.path.insert(0, str(DATA))

import make  # noqa: E402

Row = dict[str, Any]
Seen = tuple[bool, set[str]]
Embed = Callable[[Sequence[str]], np.ndarray]
DIMENSIONS = 64
RAMP = 10
MONITOR = Monitor()


@dataclass(frozen=True)
class World:
    """`foreign` rows are of another language, `shifted` ones of the same with other subjects."""

    name: str
    reference: Sample
    pool: Sample
    foreign: Sample
    shifted: Sample


def made(seed: int = 7, sizes: tuple[int, int, int] = (2000, 4000, 1500)) -> World:
    """Return the made world; `sizes` are the rows of the reference, the pool, and either kind that may come."""
    words = yaml.safe_load((DATA / "words.yaml").read_text(encoding="utf-8"))
    rng = random.Random(seed)
    seen: set[str] = set()
    makers = {language: make.Maker(words, language, seen) for language in make.LANGUAGES}

    def rows(language: str, count: int, held_out: float) -> list[Row]:
        found = []
        for _ in range(count):
            label = rng.choice(make.LABELS)
            text = makers[language].message(label, rng.random() < held_out, rng)
            found.append({"text": text, "label": label, "source": rng.choice(("email", "chat", "form"))})
        return found

    kinds = {
        "reference": rows("english", sizes[0], 0.3),
        "pool": rows("english", sizes[1], 0.3),
        "foreign": rows("lirian", sizes[2], 0.3),
        "shifted": rows("english", sizes[2], 1.0),
    }
    return _world("made", kinds, _projected)


def _projected(texts: Sequence[str]) -> np.ndarray:
    """Return hashed n-grams projected at random, float32 [texts, DIMENSIONS]: like texts lie near each other."""
    counted = terms.count(texts)
    folded = csr_matrix((counted.data, counted.indices % 1024, counted.indptr), shape=(len(texts), 1024))
    found: np.ndarray = folded @ np.random.default_rng(0).standard_normal((1024, DIMENSIONS), dtype=np.float32)
    return found


def real(seed: int = 7) -> World:
    """Return the real world; needs HOLDFAST_DATA and the MiniLM package."""
    import tempfile

    from holdfast import bases, home, inference, models
    from holdfast.records import Start
    from holdfast.versioning import registry

    with tempfile.TemporaryDirectory() as scratch:
        place = home.make(Path(scratch) / "home")

        def rows(*names: str) -> list[Row]:
            return [row for name in names for row in registry.rows(registry.find(name), registry.fetch(name, place))]

        tweets = _distinct(rows("semeval/2013/train", "semeval/2013/test"))
        later = _distinct(rows("semeval/2015/train", "semeval/2015/test", "semeval/2016/test"))
        reviews = _distinct(rows("smsa/train"))
    random.Random(seed).shuffle(tweets)
    random.Random(seed).shuffle(later)
    known = {row["text"] for row in tweets}
    kinds = {"reference": tweets[:3000], "pool": tweets[3000:8000], "foreign": reviews[:2000]}
    kinds["shifted"] = [row for row in later if row["text"] not in known][:4000]
    base = bases.resolve("all-MiniLM-L6-v2", None)
    model = models.load_base(Start(model=base.name, base=base))
    return _world("real", kinds, lambda texts: inference.features(model, texts, max_length=64))


def _distinct(rows: list[Row]) -> list[Row]:
    found = {row["text"]: {"text": row["text"], "label": str(row["label"])} for row in rows}
    return list(found.values())


def _world(name: str, kinds: dict[str, list[Row]], embed: Embed) -> World:
    embedded = {kind: embed([row["text"] for row in rows]) for kind, rows in kinds.items()}
    half = len(kinds["reference"]) // 2
    champion = _champion(embedded["reference"][:half], [row["label"] for row in kinds["reference"][:half]])
    samples = {}
    for kind, rows in kinds.items():
        chances = champion.predict_proba(embedded[kind])
        for i, (row, chance) in enumerate(zip(rows, chances, strict=True)):
            best = str(champion.classes_[int(chance.argmax())])
            row |= {"id": f"{kind}-{i}", "prediction": best, "probabilities": {best: float(chance.max())}}
        judging = [kind != "reference" or i >= half for i in range(len(rows))]
        samples[kind] = measure(rows, Columns(segments=("source",)), embedded[kind], judging)
    return World(name, **samples)


def _champion(embeddings: np.ndarray, labels: list[str]) -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=300)).fit(embeddings, labels)


def joined(*samples: Sample) -> Sample:
    """Return the rows of all samples, one after the other."""
    values: dict[str, Any] = {}
    for field in fields(Sample):
        parts = [getattr(sample, field.name) for sample in samples]
        if field.name == "terms":
            values["terms"] = vstack(parts, format="csr")
        elif field.name == "segments":
            values["segments"] = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
        else:
            values[field.name] = np.concatenate(parts)
    return Sample(**values)


def drawn(sample: Sample, count: int, rng: np.random.Generator) -> Sample:
    """Return `count` rows, none twice."""
    return sample.take(rng.choice(len(sample), count, replace=False))


def mixed(world: World, kind: str, share: float, rng: np.random.Generator, rows: int = 500) -> Sample:
    """Return a window of which a `share` of the rows is of another kind, the rest from the pool."""
    other = round(rows * share)
    return joined(drawn(world.pool, rows - other, rng), drawn(getattr(world, kind), other, rng))


def tilted(world: World, points: float, rng: np.random.Generator, rows: int = 500) -> Sample:
    """Return a window from the pool in which the rarest label has `points` more of the rows, the commonest fewer."""
    names, counts = np.unique(world.pool.labels.astype(str), return_counts=True)
    shares = counts / counts.sum()
    shares[counts.argmin()] += points
    shares[counts.argmax() if counts.argmax() != counts.argmin() else -1] -= points
    wanted = rng.multinomial(rows, np.clip(shares, 0, 1) / np.clip(shares, 0, 1).sum())
    parts = [np.flatnonzero(world.pool.labels == name) for name in names]
    chosen = [rng.choice(part, count, replace=False) for part, count in zip(parts, wanted, strict=True)]
    return world.pool.take(rng.permutation(np.concatenate(chosen)))


def alarm(world: World, window: Sample) -> Seen:
    """Return whether a window alarms, and the checks that drifted."""
    found = checks.run(world.reference, window, MONITOR)
    return found.alarm, set(found.drifted)


def sudden(world: World, strength: float, rng: np.random.Generator) -> Seen:
    """See one changed window."""
    return alarm(world, mixed(world, "foreign", strength, rng))


def covariate(world: World, strength: float, rng: np.random.Generator) -> Seen:
    """See one window with other subjects."""
    return alarm(world, mixed(world, "shifted", strength, rng))


def label(world: World, strength: float, rng: np.random.Generator) -> Seen:
    """See one window with other shares of labels."""
    return alarm(world, tilted(world, strength, rng))


def gradual(world: World, strength: float, rng: np.random.Generator) -> Seen:
    """See a ramp by its middle."""
    seen = [sudden(world, strength * step / RAMP, rng) for step in range(1, RAMP // 2 + 1)]
    alarms = [hit for hit, _ in seen]
    return any(sum(alarms[i : i + 3]) >= 2 for i in range(len(alarms))), set().union(*(by for _, by in seen))


def recurring(world: World, strength: float, rng: np.random.Generator) -> Seen:
    """See a change, its end, and its return."""
    stretches = [[sudden(world, share, rng) for _ in range(3)] for share in (strength, 0.0, strength)]
    first, between, last = (sum(hit for hit, _ in stretch) for stretch in stretches)
    changed = [by for stretch in (stretches[0], stretches[2]) for _, by in stretch]
    return first >= 2 and last >= 2 and between < 2, set().union(*changed)


SEEN = {"sudden": sudden, "gradual": gradual, "recurring": recurring, "covariate": covariate, "label": label}
