"""What comparisons keep in a home ends when nobody uses it, with what only it names; datasets and the rest stay."""

import json
import os
import time

import pytest

from holdfast import leftovers
from holdfast.comparison import kept, units
from holdfast.records import Artifact


@pytest.fixture
def artifact(home):
    """Return a function that puts an artifact of a kind into the store."""

    def make(kind: str, content: str) -> Artifact:
        with home.store.scratch() as scratch:
            (scratch / "folder").mkdir()
            (scratch / "folder" / "file").write_text(content)
            return home.store.put(scratch / "folder", kind)

    return make


def record(place, name, days, *artifacts):
    path = place / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    named = {f"a{number}": one.model_dump() for number, one in enumerate(artifacts)}
    path.write_text(json.dumps({"record": {"within": [named]}, "seconds": 1.0}))
    then = time.time() - days * 24 * 60 * 60
    os.utime(path, (then, then))
    return path


def test_a_record_that_nobody_uses_ends_with_what_only_it_names(home, artifact):
    own, shared, cached = (artifact("importance", content) for content in ("own", "shared", "in a run's result"))
    data = artifact("dataset", "rows")
    old = record(kept.stages(home), "old", 31, own, shared, cached, data)
    young = record(kept.stages(home), "young", 29, shared)
    home.results.mkdir()
    (home.results / "of-a-run").write_text(json.dumps({"artifact": cached.model_dump()}))
    assert kept.records(home) == [old, young] and kept.records(home, kept.DAYS) == [old]
    leftovers.remove_old(home)
    assert not old.exists() and young.exists() and not home.store.holds(own)
    assert all(home.store.holds(one) for one in (shared, cached, data))
    assert kept.remove(home, days=0) == 1
    assert not young.exists() and not home.store.holds(shared) and home.store.holds(cached) and home.store.holds(data)
    assert kept.remove(home, days=0) == 0


def test_a_judged_unit_names_its_evaluation_by_its_digest_alone(home, artifact):
    evaluation = artifact("evaluation", "items")
    shared = {"arm": "sft", "factor": 1.0, "rate": 1e-3, "seed": 7, "seconds": 1.0}
    judged = units.Judged(
        **shared, steps=1, prepared=0.0, moved=1, total=2, share=0.5, kl={}, target=None, evaluation=evaluation.digest
    )
    units.keep("key", judged, home)
    assert units.found("key", home) == judged and units.found("other", home) is None
    assert kept.remove(home, days=0) == 1 and units.found("key", home) is None
    assert not home.store.holds(evaluation)


def test_using_a_unit_keeps_it_longer(home):
    looked = units.Looked(arm="sft", factor=1.0, rate=1e-3, seed=7, seconds=1.0, look=None, tuned=None, failed="no")
    units.keep("key", looked, home)
    path = kept.units(home) / "key.json"
    then = time.time() - 31 * 24 * 60 * 60
    os.utime(path, (then, then))
    assert units.found("key", home) == looked
    assert kept.remove(home) == 0 and path.exists()
