"""What arms tune beside the updates that all of them make is said."""

from holdfast import spec
from holdfast.comparison import arms, updates

OLD = {"name": "old", "train": "o.csv", "valid": "o.csv", "test": "o.csv"}
FILE = {"name": "f", "start": {"model": "base"}, "learn": {"train": "a.csv"}, "remember": [OLD]}


def made(tmp_path, *texts: str) -> dict[str, spec.Pipeline]:
    return {arm.name: arms.pipeline(arm, FILE, tmp_path / "f.yaml") for text in texts for arm in arms.parse(text)}


def test_what_is_not_counted_is_said(tmp_path):
    gated = "diff-pruning:parameters.diff-pruning.epochs=0.5"
    watched = "sft:control.enabled=true"
    assert updates.beside(made(tmp_path, "sft", gated, "file:parameters=auto", watched, "psft")) == [
        f"the arm `{gated}` goes on from a gated tuning (epochs: 0.5), which is not counted among its updates",
        "the arm `file:parameters=auto` is chosen by short trials, which are not counted among its updates",
        f"the arm `{watched}` may be tuned 2 times, of which the updates of one are counted",
    ]
