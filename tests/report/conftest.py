"""Records of one run, with hostile text wherever a user's text can come in."""

from types import SimpleNamespace

import pytest

from holdfast import digests
from holdfast.forgetting import intervals, picture
from holdfast.home import Home
from holdfast.records import (
    Artifact,
    Assessed,
    BaseRef,
    ChampionScore,
    Competence,
    DatasetVersion,
    Evaluated,
    Expectation,
    Lineage,
    Prepared,
    RememberedScore,
    Result,
    StageTime,
    Start,
    TargetScore,
    Tuned,
    Validated,
)  # fmt: skip

EVIL = '<script>alert("x")</script>'


def remembered(name: str, negative: int, positive: int, n: int, margin: float = 0.05) -> RememberedScore:
    """Return the score of a task with these flips, right for 90% before."""
    drop, bound = (negative - positive) / n, intervals.drop_upper(negative, positive, n)
    return RememberedScore(
        name=name, metric="accuracy", before=0.9, after=0.9 - drop, drop=drop, bound=bound, margin=margin,
        confidence=0.95, kept=bound < margin, positive_flips=positive, negative_flips=negative, n=n,
    )  # fmt: skip


def target(positive: int, negative: int, n: int) -> TargetScore:
    """Return a target's score with these flips, right for 40% before."""
    gain = (positive - negative) / n
    return TargetScore(
        metric="accuracy", before=0.4, after=0.4 + gain, gain=gain,
        interval=intervals.drop_interval(positive, negative, n), lower=intervals.drop_lower(positive, negative, n),
        positive_flips=positive, negative_flips=negative, n=n,
    )  # fmt: skip


def put(home: Home, kind: str, files: dict[str, bytes]) -> Artifact:
    """Store an artifact with these files."""
    with home.store.scratch() as scratch:
        folder = scratch / kind
        folder.mkdir()
        for name, content in files.items():
            (folder / name).write_bytes(content)
        return home.store.put(folder, kind)


def png(home: Home, name: str) -> bytes:
    """Return a real little PNG."""
    path = home.path / name
    picture.draw(target(5, 1, 50), (), "start", path)
    return path.read_bytes()


@pytest.fixture
def parts(home: Home) -> SimpleNamespace:
    """A refused run: gained on the target, kept english, lost a task whose name is a script."""
    kept, lost = remembered("english", 8, 6, 400), remembered(EVIL, 60, 20, 400)
    gained = target(160, 20, 400)
    change = {"before": 0.4, "after": 0.75, "change": 0.35, "interval": [0.3, 0.4]}
    confusion = {"before": {EVIL: {EVIL: 3, "b": 1}}, "after": {EVIL: {EVIL: 4}}}
    of_task = {"baseline": "start", "macro_f1": change, "nll": change, "retained": 0.97, "mcnemar_p": 0.01}
    summary = {
        "target": {
            "name": "target",
            "confusion": confusion,
            **of_task,
            "baseline": "most frequent label",
            "retained": None,
        },
        "remembered": [{"name": EVIL, "confusion": confusion, **of_task}],
        "overall": {"average_accuracy": 0.8, "backward_transfer": -0.05},
    }
    text = digests.canonical_json({**summary, "kl": {EVIL: 0.25}, "cka": 0.98}).encode()
    evaluation = put(home, "evaluation", {"summary.json": text, "forgetting.png": png(home, "a.png")})
    start = Start(model=EVIL, base=BaseRef(name="tiny", revision=None, sha256="b" * 64))
    rows = put(home, "dataset", {"rows.jsonl": b"{}\n"})
    failed = Expectation(dataset="learn.train", expectation=EVIL, success=False, unexpected=1, severity="quarantine")
    curve = put(home, "curve", {"curve.png": png(home, "c.png"), "curve.json": b'{"steps": []}'})
    dataset = DatasetVersion(
        ref=f"{EVIL}.csv", source="x", digest="d" * 64, dvc_md5="m" * 32, git_revision="g-dirty", rows=40,
        labels={EVIL: 40}, artifact=rows,
    )  # fmt: skip
    row = {"dataset": "learn.train", "row": 7, "id": "6", "text": "a | b\u2028c", "label": EVIL}
    quarantine = digests.canonical_json({**row, "reasons": [f"label {EVIL}", "and more"]}).encode() + b"\n"
    return SimpleNamespace(
        home=home,
        prepared=Prepared(start=start, datasets={"learn.train": dataset}),
        validated=Validated(
            datasets={"learn.train": dataset.model_copy(update={"rows": 39})}, labels=(EVIL,), quarantined=1,
            expectations=(failed,),
            competences=(Competence(name=EVIL, accuracy=0.9, chance=0.5, lower=0.86, n=100),),
            artifact=put(home, "validation", {"quarantine.jsonl": quarantine}),
        ),
        assessed=Assessed(
            measure="fisher", examples=16, artifact=put(home, "importance", {"heatmap.png": png(home, "b.png")})
        ),
        tuned=Tuned(adapter=rows, curve=curve, steps=12, final_loss=0.5),
        evaluated=Evaluated(
            target=gained, remembered=(kept, lost), kl={EVIL: 0.25}, cka=0.98, artifact=evaluation,
            champion=ChampionScore(
                version="3", before=0.7, after=0.75, drop=-0.05, bound=-0.01, confidence=0.95, n=400
            ),
        ),
        result=Result(
            pipeline="sentiment", verdict="refused", reason=f"`{EVIL}` was not kept", version="4", run_id="r1",
            target=gained, remembered=(kept, lost),
            selection={"moved": 1200, "total": 48000, "share": 0.025, "names": [EVIL, "layer 1"], "head": 66},
            stages=(
                StageTime(name="prepare", seconds=1.25, cached=False),
                StageTime(name="tune", seconds=130.0, cached=True),
            ),
            lineage=Lineage(
                start={"model": EVIL, "base": {"name": "tiny"}}, data={}, method={"name": EVIL},
                code={"commit": "c1", "packages": {"torch": "2.13.0"}}, evaluation={},
            ),
            report=str(home.reports / "sentiment" / "version-4" / "report.html"),
            tracking="postgresql://user:secret@db.example/mlflow",
        ),
    )  # fmt: skip


@pytest.fixture
def records(parts: SimpleNamespace) -> dict:
    """What `report.write` takes by name."""
    return {name: getattr(parts, name) for name in ("home", "prepared", "validated", "assessed", "tuned", "evaluated")}
