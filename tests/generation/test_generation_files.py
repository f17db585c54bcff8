"""Pipeline files for generation, and what is refused of them."""

from pathlib import Path

import pytest

from holdfast import spec
from holdfast.errors import BadInput

OLD = {"name": "old", "train": "o.jsonl", "valid": "v.jsonl", "test": "t.jsonl"}
SMALL = {"name": "g", "task": "generation", "start": {"model": "base"}, "learn": {"train": "a.jsonl"}}


def parse(**changes) -> spec.Pipeline:
    return spec.parse({**SMALL, **changes}, Path("g.yaml"))


def test_every_task_gets_its_metric_and_no_expectation_of_labels():
    made = parse(learn={"train": "a.jsonl", "metric": "number"}, remember=[OLD, {**OLD, "name": "b", "metric": "f1"}])
    assert [made.learn.metric, *(task.metric for task in made.remember)] == ["number", "number", "f1"]
    assert made.learn.expect == ("no-empty-text", "no-duplicates", "no-leak-into-test", "no-length-outliers")
    assert made.recipe.generates and made.learn.generates
    assert spec.parse(made.resolved(), Path("g.yaml")) == made  # a version's own file can be run again
    assert not spec.parse({**SMALL, "task": "classification"}, Path("c.yaml")).learn.generates


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"learn": {"train": "a.jsonl", "text": "words"}},
            "`learn.text` is never read: `task: generation` reads a prom",
        ),
        ({"remember": [{**OLD, "label": "kind"}]}, "`remember.old.label` is never read"),
        ({"learn": {"train": "a.jsonl", "head": "mood"}}, "`learn.head` is never read: a decoder has no heads"),
        ({"learn": {"train": "a.jsonl", "expect": ["known-labels"]}}, "`known-labels` is about labels"),
        ({"learn": {"train": "a.jsonl", "metric": "choice"}}, "name the column of its choices as `learn.choices`"),
        ({"learn": {"train": "a.jsonl", "metric": "tests"}}, "name the column of its tests as `learn.tests`"),
        ({"learn": {"train": "a.jsonl", "metric": "f1", "choices": "c"}}, "`learn.choices` is never read"),
        ({"remember": [{**OLD, "choices": "options"}]}, "`remember.old.choices` is never read"),
        ({"parameters": "auto"}, "`auto` compares trials by classifying"),
        ({"remember": [OLD], "anchors": "lwf"}, "`lwf` keeps the answers of old heads"),
        (
            {"parameters": "prompt", "training": {"gradient_checkpointing": True}},
            "`prompt` runs a decoder's layer twice",
        ),
        ({"assess": {"measure": "activation"}}, "`activation` is not defined for the norms of decoders"),
        ({"task": "classification", "learn": {"train": "a.csv", "metric": "exact"}}, "`learn.metric` is never read"),
        ({"task": "classification", "learn": {"train": "a.csv", "prompt": "q"}}, "reads a text and a label"),
    ],
)
def test_what_cannot_work_is_refused_with_the_reason(changes, said):
    with pytest.raises(BadInput) as caught:
        parse(**changes)
    assert said in str(caught.value)
