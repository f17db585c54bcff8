"""The reference is kept once, comes back as it was measured, and explains what changed."""

import numpy as np
import pytest

from holdfast import rows as dataset_rows
from holdfast.drift import checks, explain, observe, reference, settings
from holdfast.drift.sample import measure
from holdfast.errors import Corrupt

COLUMNS = settings.Columns()


def looking(given):
    rng = np.random.default_rng(len(given))
    rows = [{**row, "prediction": row["label"], "probabilities": {row["label"]: 0.9}} for row in given]
    return observe.Observed(rows, rng.standard_normal((len(given), 8)).astype(np.float32))


@pytest.fixture
def parts(toy_rows):
    rows = [{**row, "language": "en"} for row in toy_rows]
    return {role: rows[i::3] for i, role in enumerate(("train", "valid", "test"))}


def test_the_reference_comes_back_as_it_was_measured(home, parts):
    dataset = reference.gather(parts, 1000, 7, home)
    kept = reference.build(dataset, looking, COLUMNS, home)
    assert kept == reference.build(dataset, looking, COLUMNS, home)  # the same digests
    found, rows = reference.load(kept, COLUMNS, home), dataset_rows.read(home, dataset)
    seen = looking(rows)
    wanted = measure(seen.rows, COLUMNS, seen.embeddings, [row["judging"] for row in rows])
    for name in ("ids", "texts", "labels", "predictions", "descriptors", "confidences", "judging", "embeddings"):
        assert np.array_equal(getattr(found, name), getattr(wanted, name)), name
    assert (found.terms != wanted.terms).nnz == 0 and found.segments["language"].tolist() == ["en"] * 48
    assert found.judging.sum() == 32


def test_of_many_rows_held_out_ones_are_half(home, parts):
    rows = dataset_rows.read(home, reference.gather(parts, 20, 7, home))
    assert len(rows) == 20 and sum(row["judging"] for row in rows) == 10
    assert sum(row["judging"] for row in dataset_rows.read(home, reference.gather(parts, 40, 7, home))) == 24


def test_statistics_of_other_rows_are_refused(home, parts):
    one = reference.build(reference.gather(parts, 20, 7, home), looking, COLUMNS, home)
    other = reference.gather(parts, 20, 8, home)
    with pytest.raises(Corrupt, match="not those of the reference"):
        reference.load(one.model_copy(update={"dataset": other}), COLUMNS, home)


def test_a_report_says_what_changed(world, worlds):
    rng = np.random.default_rng(6)
    window = worlds.mixed(world, "foreign", 0.3, rng)
    window.segments["source"][:350] = "chat"  # the rows of the pool; the foreign ones keep their sources
    found = checks.run(world.reference, window, worlds.MONITOR)
    told = explain.explain(world.reference, window, found.strangeness, seed=1)
    foreign = {word for text in world.foreign.texts for word in explain.words(text)}
    english = {word for text in world.reference.texts for word in explain.words(text)}
    assert len(told.came) == 10 and sum(one.word in foreign - english for one in told.came) >= 8
    assert all(one.after > one.before for one in told.came) and all(one.after < one.before for one in told.went)
    assert len(told.examples) == 5 and sum(one.id.startswith("foreign") for one in told.examples) >= 4
    chat = next(change for change in told.changes if change.value == "chat")
    assert chat.after - chat.before == max(change.after - change.before for change in told.changes)
    assert chat.accuracy_before is not None and chat.examples[0].segments == {"source": "chat"}
