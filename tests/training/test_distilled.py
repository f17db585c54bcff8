"""Distillation into a smaller student: it comes to answer as its teacher does, which the labels alone do not teach."""

import shutil

import numpy as np
import pytest

from holdfast import bases, inference, models, rows, student
from holdfast.records import HeadInfo, Start
from holdfast.selection import Selection
from holdfast.training import tune as tuning


@pytest.fixture
def teacher(expert, home, tiny_start) -> Start:
    source, tuned = expert
    shutil.copytree(source.store.path(tuned.adapter), home.store.path(tuned.adapter))
    heads = {"mood": HeadInfo(labels=("negative", "positive"))}
    return tiny_start.model_copy(update={"model": "models:/t/1", "adapter": tuned.adapter, "heads": heads})


def test_a_student_of_half_the_layers_learns_its_teachers_answers(setup, teacher, tiny_start, home, tmp_path):
    student.make(tiny_start, 1, home, tmp_path / "student")
    small = Start(model="student", base=bases.resolve(str(tmp_path / "student")))
    chosen = Selection(whole=frozenset(models.load(small, home).encoder_parameters()))
    training = {"learning_rate": 5e-3, "epochs": 16}
    made = setup(chosen, small, objective={"kd": {"teacher": "models:/t@champion"}}, training=training)
    parts = (made.selected, made.assessed, made.validated, made.start, made.recipe, (), home)
    texts = rows.texts(rows.read(home, made.validated.datasets["learn.train"]))
    wanted = answers(teacher, home, texts)
    tuned = tuning.tune(*parts, None, teacher)
    heads = {"mood": HeadInfo(labels=("negative", "positive"))}
    found = answers(small.model_copy(update={"adapter": tuned.adapter, "heads": heads}), home, texts)
    divergence = (wanted * np.log(wanted / found)).sum(1).mean()
    assert divergence < 0.1 * (wanted * np.log(wanted / 0.5)).sum(1).mean()


def answers(start, home, texts):
    model = models.load(start, home)
    model.use_head("mood")
    logits = inference.logits(model, texts, precision="fp32").astype(np.float64)
    odds = np.exp(logits - logits.max(1, keepdims=True))
    return odds / odds.sum(1, keepdims=True)
