"""A student is some of its teacher's layers, and learns the teacher's answers by distillation."""

import pytest
import torch

from holdfast import bases, models, student
from holdfast.errors import BadInput
from holdfast.records import Start


def started(folder):
    return Start(model=str(folder), base=bases.resolve(str(folder)))


def test_half_of_the_layers_are_spread_as_distilberts_are():
    assert student.spread(6, 3) == [0, 2, 4] and student.spread(12, 6) == [0, 2, 4, 6, 8, 10]
    assert student.spread(2, 1) == [0]


@pytest.mark.parametrize(("layers", "kept"), [(1, [0]), ([1], [1])])
def test_it_computes_what_the_chosen_layers_compute(tiny_start, home, inputs, tmp_path, layers, kept):
    assert student.make(tiny_start, layers, home, tmp_path / "student") == kept
    small, large = models.load_base(started(tmp_path / "student")), models.load_base(tiny_start)
    assert small.network.config.num_hidden_layers == len(kept) == len(small.encoder.encoder.layer)
    with torch.no_grad():
        states = large.encoder.embeddings(inputs["input_ids"][:1])
        for number in kept:
            states = large.encoder.encoder.layer[number](states)
        found = small.encoder(input_ids=inputs["input_ids"][:1]).last_hidden_state
    torch.testing.assert_close(found, states)


def test_a_version_is_shortened_with_what_it_learned(tune, tiny_start, every_kind, home, tmp_path):
    version = tune(tiny_start, every_kind)
    student.make(version.start, [1], home, tmp_path / "student")
    small = models.load_base(started(tmp_path / "student"))
    wanted = version.model.encoder.encoder.layer[1].output.LayerNorm.weight
    assert torch.equal(small.encoder.encoder.layer[0].output.LayerNorm.weight, wanted) and not small.heads


@pytest.mark.parametrize("layers", [0, 2, [0, 1], [1, 0], [5], [-1], [0, 0]])
def test_layers_that_cannot_be_taken_are_refused_and_nothing_is_left(tiny_start, home, tmp_path, layers):
    with pytest.raises(BadInput, match="cannot take the layers"):
        student.make(tiny_start, layers, home, tmp_path / "student")
    assert not (tmp_path / "student").exists()
    (tmp_path / "student").mkdir()
    (tmp_path / "student" / "mine.txt").write_text("mine")
    with pytest.raises(BadInput, match="is not empty"):
        student.make(tiny_start, 1, home, tmp_path / "student")
