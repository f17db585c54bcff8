"""The circuit as the assess stage leaves it: its file, its picture, its place in the cache key, and what is refused."""

import json

import pytest
import torch

from holdfast import models, rows, selection, spec
from holdfast.circuits import find, picture, reading
from holdfast.circuits.settings import Circuit
from holdfast.errors import BadInput
from holdfast.importance import assess, probe, read
from holdfast.records import Artifact, Validated
from holdfast.reports import sections

LABELS = ("negative", "positive")
SMALL = Circuit(examples=8, held_out=8, top=0.2, correct=False, close=0.0)


def run(home, start, data, circuit=SMALL):
    validated = Validated(
        datasets={"learn.train": rows.version(home, data)}, labels=LABELS, quarantined=0, expectations=(),
        competences=(), artifact=Artifact(kind="validation", digest="0"),
    )  # fmt: skip
    settings, training = spec.Assess(examples=8, circuit=circuit), spec.Training(max_length=32)
    learn = spec.Learn(train="toy/train", head="mood")
    return assess.assess(validated, start, settings, learn, (), training, False, home)


@pytest.mark.pictures
def test_a_circuit_is_kept_beside_the_importances_and_part_of_their_digest(home, tiny_start, toy_rows):
    first, again = (run(home, tiny_start, toy_rows) for _ in range(2))
    without = run(home, tiny_start, toy_rows, None)
    assert first == again and without.circuit is None and first.artifact != without.artifact
    found = read.load(home, first).circuit
    folder = home.store.open(first.circuit)
    assert json.loads((folder / "circuit.json").read_text()) == found
    assert sorted(p.name for p in folder.iterdir()) == ["circuit.json", "circuit.png"]
    assert found["task"] == "target" and found["examples"] == found["held_out"] == 8
    assert sorted(found["ranking"]) == [f"{layer}.{head}" for layer in range(2) for head in range(4)]
    assert found["ranking"][: len(found["heads"])] == found["heads"] and set(found["scores"]) == set(found["ranking"])
    assert [point["size"] for point in found["curve"]] == sorted({1, 2, 4, len(found["heads"])})
    assert all(len(point["random"]) == 10 for point in found["curve"])
    assert found["settings"] == SMALL.model_dump(mode="json") and len(found["rows"]["examples"]) == 64
    assert found["start"] == tiny_start.digest
    assert picture.draw(found) == (folder / "circuit.png").read_bytes()
    chosen = selection.select(first, tiny_start, {"circuit": {"heads": 2}}, "mood", LABELS, 7, home)
    assert chosen.names[:2] == tuple(sorted(f"head {name}" for name in found["ranking"][:2]))
    shown = sections._circuit(first.circuit, home)
    assert "circuit of `target`" in shown[0].text and shown[1].png[:4] == b"\x89PNG"


def test_rows_that_are_answered_wrong_are_left_out_and_their_lack_is_named(home, tiny_start, toy_rows):
    model = models.load_with_head(tiny_start, home, "mood", LABELS, 7)
    probe.fit(model, toy_rows, LABELS, 32, 7)
    settings = SMALL.model_copy(update={"correct": True})
    finding, judging = find._rows(reading.of(model, toy_rows, 32), find.Task("t", "d", toy_rows), settings, 7)
    ids = [row["id"] for row in finding + judging]
    assert len(set(ids)) == len(ids) == 16
    model.network.classifier.bias.data.copy_(torch.tensor([-99.0, 99.0]))
    with pytest.raises(BadInput, match=r"the start model answers 0 rows of `negative` in d right"):
        find._rows(reading.of(model, toy_rows, 32), find.Task("t", "d", toy_rows), settings, 7)


def test_a_task_that_heads_do_not_carry_is_refused(home, tiny_start, toy_rows):
    model = models.load_with_head(tiny_start, home, "mood", LABELS, 7)
    model.network.classifier.weight.data.zero_()
    with pytest.raises(BadInput, match="the heads do not carry the task"):
        find.find(model, find.Task("t", "d", toy_rows), SMALL, 32, 7)
