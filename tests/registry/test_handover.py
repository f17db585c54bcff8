"""A tuning handed over: only what a tuning reads leaves, and nothing is taken that is not what its digest says."""

import json
from pathlib import Path

import pytest

from holdfast import home as homes
from holdfast import rows, spec
from holdfast.errors import BadInput, Corrupt, Fenced
from holdfast.home import Home
from holdfast.records import Artifact, Assessed, BaseRef, HeadInfo, Selected, Start, Tuned, Validated
from holdfast.registry import fencing, handover, tracking
from holdfast.registry.handover import Address, Job
from tests.registry.test_fencing import LATER, NOW, begin


def kept(home: Home, kind: str, text: str | None = None) -> Artifact:
    """An artifact of one file, by default another for every kind."""
    with home.store.scratch() as scratch:
        (scratch / kind / "deep").mkdir(parents=True)
        (scratch / kind / "deep" / "file.json").write_text(f'"{kind}"' if text is None else text)
        return home.store.put(scratch / kind, kind)


@pytest.fixture
def job(home: Home, tiny_base: Path, tiny_start: Start, tmp_path: Path) -> Job:
    data = {
        f"learn.{role}": rows.version(home, [{"id": "1", "text": role, "label": "a"}], ref=role)
        for role in ("train", "valid", "test")
    }
    data = {key: one.model_copy(update={"source": str(tmp_path / "rows.csv")}) for key, one in data.items()}
    selected = Selected(moved=1, total=1, share=1.0, names=(), head=1, artifact=kept(home, "selection"))
    file = {"name": "toy", "start": {"model": str(tiny_base)}, "learn": {"train": "x.csv"}}
    return Job(
        selected=selected,
        assessed=Assessed(measure="fisher", examples=1, artifact=kept(home, "importance")),
        validated=Validated(
            datasets=data, labels=("a",), quarantined=0, expectations=(), competences=(), artifact=kept(home, "checked")
        ),
        start=tiny_start.model_copy(
            update={"adapter": kept(home, "adapter", "[]"), "heads": {"label": HeadInfo(labels=("a",))}}
        ),
        recipe=spec.parse(file, tmp_path / "toy.yaml").recipe,
        remember=(),
    )


@pytest.fixture
def other(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """Another home; both know one MLflow."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/shared.db")
    return homes.make(tmp_path / "other")


def folders(home: Home, address: Address) -> Path:
    return Path(tracking.client(home).get_run(address.run_id).info.artifact_uri.removeprefix("file://"))


def test_a_job_names_no_path_no_test_set_and_only_what_is_read(home: Home, job: Job, tiny_base: Path) -> None:
    given = handover.job(job, home)
    assert "/" not in json.dumps(given.model_dump(mode="json")).replace("://", "")
    assert sorted(given.validated.datasets) == ["learn.train", "learn.valid"]
    assert given.start.base == BaseRef(name=tiny_base.name, revision=None, sha256=job.start.base.sha256)
    assert sorted(one.kind for one in given.needed) == ["adapter", "base", "dataset", "dataset", "selection"]
    base = home.store.open(given.folders[job.start.base.sha256]) / tiny_base.name
    assert (base / "model.safetensors").read_bytes() == (tiny_base / "model.safetensors").read_bytes()
    ewc = job.recipe.model_copy(update={"anchors": {"ewc": {}}})
    assert "importance" in {one.kind for one in handover.job(job.model_copy(update={"recipe": ewc}), home).needed}


def test_a_method_that_reads_a_file_of_this_machine_is_refused(home: Home, job: Job) -> None:
    recipe = job.recipe.model_copy(update={"examples": {"self": {"paraphrase": "/prompts/mine.txt"}}})
    with pytest.raises(BadInput, match=r"run\.workers.*mine\.txt"):
        handover.job(job.model_copy(update={"recipe": recipe}), home)


@pytest.mark.slow
def test_a_job_and_what_was_tuned_arrive_whole_and_once(home: Home, other: Home, job: Job, tiny_base: Path) -> None:
    given = handover.job(job, home)
    address = handover.hand(given, home)
    assert handover.hand(given, home) == address, "the same open job keeps its place"
    taken = handover.take(address, other)
    assert all(other.store.holds(one) for one in given.needed)
    assert not other.store.holds(job.validated.artifact)
    place = Path(taken.start.base.name)
    assert place.is_relative_to(other.path) and place.name == tiny_base.name
    named = taken.start.model_copy(update={"base": given.start.base})
    assert taken.model_copy(update={"start": named}) == given

    tuned = Tuned(adapter=kept(other, "adapter", "1"), curve=kept(other, "curve", "2"), steps=3, final_loss=0.5)
    back = handover.give(tuned, address.run_id, other)
    assert handover.fetch(back, home) == tuned and home.store.holds(tuned.adapter)
    handover.close(address.run_id, home)
    assert [one.name for one in folders(home, address).iterdir() if one.is_dir()] == []
    assert handover.hand(given, home).run_id != address.run_id, "a job that was done is handed over anew"


@pytest.mark.slow
def test_nothing_is_taken_that_is_not_what_its_digest_says(home: Home, other: Home, job: Job) -> None:
    address = handover.hand(handover.job(job, home), home)
    with pytest.raises(Corrupt, match=r"job\.json"):
        handover.take(address.model_copy(update={"digest": "0" * 64}), other)
    place = folders(home, address)
    adapter = place / "artifacts" / job.start.adapter.digest / "deep" / "file.json"
    adapter.write_text("[1]")
    with pytest.raises(Corrupt, match="adapter"):
        handover.take(address, other)
    assert not other.store.holds(job.start.adapter)
    (place / "job.json").write_text((place / "job.json").read_text().replace('"learn.train"', '"learn.other"'))
    with pytest.raises(Corrupt, match=r"job\.json"):
        handover.take(address, other)


@pytest.mark.slow
def test_a_worker_that_nobody_waits_for_any_more_writes_nothing(home: Home, other: Home, job: Job) -> None:
    first = fencing.under(home, "toy", begin(home.ledger_url, NOW).token)
    given = handover.job(job, home)
    address = handover.hand(given, first)
    worker = handover.lent(address.run_id, other)
    worker.check_fence()
    second = fencing.under(home, "toy", begin(home.ledger_url, LATER).token)
    assert handover.hand(given, second) == address, "who takes over the same work waits for the same worker"
    worker.check_fence()

    training = given.recipe.training.model_copy(update={"seed": 8})
    changed = given.model_copy(update={"recipe": given.recipe.model_copy(update={"training": training})})
    newer = handover.lent(handover.hand(changed, second).run_id, other)
    with pytest.raises(Fenced, match=f"MLflow run {address.run_id}, which is killed: nobody waits for it"):
        worker.check_fence()
    tuned = Tuned(adapter=kept(other, "adapter", "1"), curve=kept(other, "curve", "2"), steps=3, final_loss=0.5)
    with pytest.raises(Fenced, match="killed"):
        handover.give(tuned, address.run_id, worker)
    with pytest.raises(Fenced, match="took over under token 2"):
        handover.hand(given, first)
    newer.check_fence()
    handover.close(newer.fence.run_id, home, "FAILED")
    with pytest.raises(Fenced, match="which is failed"):
        newer.check_fence()
