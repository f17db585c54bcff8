"""Registering: a version keeps everything, is not seen before it is whole, and is the same when registered again."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from holdfast import inference, models, predictions
from holdfast.errors import BadInput, Corrupt
from holdfast.home import Home
from holdfast.records import Lineage, Start
from holdfast.registry import catalogue, ledger, package, runs, tracking, versions

TEXTS = ["the movie was good", "a very awful service", "food", "not a nice movie and a poor service"]
PICKLE_HEADS = {b"\x80" + bytes([protocol]) for protocol in range(2, 6)}


@pytest.fixture(scope="module", autouse=True)
def empty_folder(tmp_path_factory: pytest.TempPathFactory):
    """Work in an empty folder, and find it empty afterwards: a run creates nothing outside its home."""
    here, folder = Path.cwd(), tmp_path_factory.mktemp("elsewhere")
    os.chdir(folder)
    yield
    os.chdir(here)
    assert list(folder.iterdir()) == []


@pytest.fixture(scope="module")
def registered(make):
    return make("kept", seed=1).register()


@pytest.fixture(scope="module")
def loaded(registered, place: Home):
    import mlflow

    tracking.client(place)
    return mlflow.pyfunc.load_model(f"models:/{registered.name}/{registered.version}")


def _frame(texts: list[str] = TEXTS):
    import pandas as pd

    return pd.DataFrame({"text": texts}, index=[10 + i for i in range(len(texts))])


def _model_folder(place: Home, registered) -> Path:
    uri = tracking.client(place).get_model_version_download_uri(registered.name, registered.version)
    return Path(uri.removeprefix("file://"))


def test_a_version_answers_for_its_whole_lineage(registered, make, place: Home, tiny_start: Start) -> None:
    work = make("kept", seed=1)
    shown = versions.show("kept", "1", place)
    lineage = Lineage(**shown["lineage"])
    assert lineage.start["base"]["sha256"] == tiny_start.base.sha256
    train = work.prepared.datasets["learn.train"]
    assert lineage.data["learn.train"]["digest"] == train.digest
    assert lineage.method["file"] == work.pipeline.digest
    assert lineage.code["seed"] == 7 and lineage.code["packages"]["torch"] and len(lineage.code["library"]) == 64
    assert lineage.evaluation["target"]["gain"] == 0.2
    assert [part.partition("-")[0] for part in shown["title"].split(".")] == ["start", "data", "method", "evaluation"]
    assert shown["digest"] == work.tuned.adapter.digest == registered.digest
    assert shown["heads"] == {"sentiment": ["negative", "positive"]}
    assert shown["verdict"] == "not decided" and shown["place"] == ""
    json.dumps(shown)


def test_the_run_holds_parameters_curve_scores_inputs_and_pictures(registered, place: Home) -> None:
    client = tracking.client(place)
    run = client.get_run(registered.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params["training.max_length"] == "32" and run.data.params["remember.old.margin"] == "0.05"
    assert run.data.metrics["target.lower"] == 0.05 and run.data.metrics["remembered.old.bound"] == 0.02
    losses = client.get_metric_history(registered.run_id, "tune.loss")
    assert [(point.step, round(point.value, 3)) for point in losses] == [(1, 1.0), (2, 0.5), (3, 0.333)]
    assert run.data.metrics["valid.accuracy"] == 0.75
    inputs = {i.tags[0].value: i.dataset.name for i in run.inputs.dataset_inputs}
    assert inputs["learn.train"] == "train" and inputs["remember.old.test"] == "old"
    logged = {f"{f.path}" for top in client.list_artifacts(registered.run_id) for f in _below(client, registered, top)}
    assert {
        "importance/heatmap.png",
        "evaluation/forgetting.png",
        "curve/curve.png",
        "validation/quarantine.csv",
    } <= logged
    assert {"pipeline.yaml", "MODEL_CARD.md", "lineage.json"} <= logged
    assert not [path for path in logged if path.endswith(".safetensors")]


def _below(client, registered, top):
    return client.list_artifacts(registered.run_id, top.path) if top.is_dir else [top]


def test_the_version_holds_library_card_and_file_and_no_pickle(registered, make, place: Home) -> None:
    folder = _model_folder(place, registered)
    assert (folder / "code" / "holdfast" / "adapters.py").is_file() and not list(folder.rglob("__pycache__"))
    assert yaml.safe_load((folder / package.PIPELINE).read_text()) == make("kept").pipeline.resolved()
    pinned = (folder / "requirements.txt").read_text().splitlines()
    assert set(package.requirements()) <= set(pinned) and all("==" in line for line in pinned)
    files = [path for path in place.path.rglob("*") if path.is_file()]
    assert not [path for path in files if path.suffix in {".pkl", ".pickle", ".pt", ".bin", ".npy"}]
    assert not [path for path in files if path.read_bytes()[:2] in PICKLE_HEADS]


def test_the_card_tells_the_numbers_and_the_limits(registered, place: Home) -> None:
    card = (_model_folder(place, registered) / package.CARD).read_text()
    assert "0.500 before, 0.700 after; gain +0.200" in card
    assert "| old | 0.900 | 0.890 | +0.010 | +0.020 at 95% | 0.050 | yes | 2 | 100 |" in card
    assert "2 of 100 old items that the start model had right are wrong now" in card
    assert "holdfast rollback kept --why" in card and "models:/kept@champion" in card
    assert "not registered: ask its owner" in card
    assert str(place.path) not in card


def test_a_pyfunc_predicts_what_the_model_in_memory_does(registered, loaded, place: Home) -> None:
    answer = loaded.predict(_frame())
    model = models.load(versions.fetch("kept", registered.version, place), place)
    expected = predictions.softmax(inference.logits(model, TEXTS, max_length=32))
    assert np.array_equal(answer[["probability_negative", "probability_positive"]].to_numpy(), expected)
    assert answer["prediction"].tolist() == [model.labels[i] for i in expected.argmax(1)]
    assert answer.index.tolist() == [10, 11, 12, 13]
    named = loaded.predict(_frame(), params={"head": "sentiment"})
    assert named.equals(answer)


def test_a_pyfunc_loads_in_another_process_with_the_library_it_carries(
    registered, loaded, place: Home, tmp_path
) -> None:
    script = (
        "import sys, mlflow, pandas as pd\n"
        "sys.path = [p for p in sys.path if p != sys.argv[2]]\n"
        "model = mlflow.pyfunc.load_model(sys.argv[1])\n"
        "import holdfast; print(holdfast.__file__)\n"
        "print(model.predict(pd.DataFrame({'text': sys.argv[3:]})).to_json())\n"
    )
    root = str(Path(package.__file__).resolve().parents[2])
    # Without the finder of the editable install and the checkout on the path, only the carried copy can be imported.
    script = "import sys; sys.meta_path = [f for f in sys.meta_path if 'editable' not in repr(f).lower()]\n" + script
    folder = _model_folder(place, registered)
    line = [sys.executable, "-I", "-c", script, str(folder), root, *TEXTS]
    environment = {**os.environ, "MLFLOW_TRACKING_URI": place.tracking_uri}
    done = subprocess.run(line, capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=120)
    assert done.returncode == 0, done.stderr
    where, answer = done.stdout.splitlines()[-2:]
    assert Path(where).is_relative_to(folder)
    told = json.loads(answer)["probability_positive"]
    expected = loaded.predict(_frame())["probability_positive"].tolist()
    assert [told[str(i)] for i in range(len(TEXTS))] == pytest.approx(expected, abs=1e-9)
    assert list(tmp_path.iterdir()) == []


def test_registering_again_gives_the_same_version_whatever_the_gate_asks(registered, make, place: Home) -> None:
    assert make("kept", seed=1).register() == registered
    assert make("kept", seed=1, gate={"target_gain": 0.9}).register() == registered
    assert len(versions.list("kept", place)) == 1


def test_other_scores_or_another_adapter_are_another_version(make, place: Home) -> None:
    first = make("several", seed=1).register()
    assert [make("several", seed=1, lower=0.01).register().version, make("several", seed=2).register().version] == [
        "2",
        "3",
    ]
    assert first.version == "1"
    listed = versions.list("several", place)
    assert [line["version"] for line in listed] == ["1", "2", "3"]
    assert listed[0]["kept"] == "1/1" and listed[0]["gain"] == 0.2


def test_killed_before_the_version_leaves_nothing_visible_and_is_completed(make, place: Home, monkeypatch) -> None:
    client = tracking.client(place)
    work = make("killed", seed=1)

    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(type(client), "create_model_version", die)
        with pytest.raises(KeyboardInterrupt):
            work.register()
    assert catalogue.ready(client, "killed") == []
    (half,) = client.search_runs([client.get_experiment_by_name("killed").experiment_id])
    with monkeypatch.context() as patched:
        patched.setattr(type(client), "set_terminated", die)
        with pytest.raises(KeyboardInterrupt):
            work.register()
    assert client.get_run(half.info.run_id).info.status == "RUNNING"
    registered = work.register()
    assert (registered.version, registered.run_id) == ("1", half.info.run_id)
    assert client.get_run(half.info.run_id).info.status == "FINISHED"
    assert len(client.get_metric_history(half.info.run_id, "tune.loss")) == 3
    assert len(client.search_runs([half.info.experiment_id])) == 1
    (model,) = client.search_logged_models([half.info.experiment_id])
    assert catalogue.get(client, "killed", "1").source == f"models:/{model.model_id}"
    kept = Path(model.artifact_location.removeprefix("file://"))
    logged = [path for path in kept.parent.parent.rglob("*") if path.is_file()]
    assert all(path.is_relative_to(kept) for path in logged), "what the killed ones logged is gone"


def test_a_killed_registration_is_completed_whatever_the_gate_asks_by_then(make, place: Home, monkeypatch) -> None:
    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(runs, "log_folders", die)
        with pytest.raises(KeyboardInterrupt):
            make("regated", seed=1).register()
    client = tracking.client(place)
    (half,) = client.search_runs([client.get_experiment_by_name("regated").experiment_id])
    assert half.info.status == "FAILED", "a process that could still speak has said so"
    registered = make("regated", seed=1, gate={"target_gain": 0.5}).register()
    assert registered.run_id == half.info.run_id
    assert client.get_run(registered.run_id).info.status == "FINISHED"


def test_a_run_left_running_whose_work_came_out_otherwise_is_closed(make, place: Home) -> None:
    client = tracking.client(place)
    experiment = tracking.experiment(client, "otherwise", place)
    left = client.create_run(experiment, tags={runs.KEY: "of a killed process, scored against another champion"})
    someone_elses = client.create_run(experiment)
    registered = make("otherwise", seed=1).register()
    found = {run.info.run_id: run.info.status for run in client.search_runs([experiment])}
    assert found == {left.info.run_id: "KILLED", someone_elses.info.run_id: "RUNNING", registered.run_id: "FINISHED"}


def test_a_name_without_a_version_is_not_offered(make, place: Home) -> None:
    tracking.client(place).create_registered_model("half-made")
    make("whole", seed=1).register()
    with pytest.raises(BadInput, match="nothing is registered as `half-made`") as told:
        versions.list("half-made", place)
    assert "half-made" not in (told.value.expected or "") + (told.value.remedy or "")


def test_a_version_that_is_not_ready_is_not_listed(registered, make, place: Home) -> None:
    client = tracking.client(place)
    make("foreign", seed=1).register()
    client.create_model_version("foreign", source="file:///somewhere/else")
    assert [line["version"] for line in versions.list("foreign", place)] == ["1"]
    with pytest.raises(Exception, match="has no version 2"):
        versions.fetch("foreign", "2", place)


def test_of_two_that_register_the_same_work_at_once_one_version_stays(make, place: Home, monkeypatch) -> None:
    client = tracking.client(place)
    work = make("twice", seed=1)
    with monkeypatch.context() as patched:  # the second process looked before the first was done
        work.register()
        looks = iter([[], *(None for _ in range(9))])
        seen = catalogue.by_key
        patched.setattr(catalogue, "by_key", lambda *given: seen(*given) if next(looks) is None else [])
        second = work.register()
    assert second.version == "1"
    assert len(catalogue.ready(client, "twice")) == 1


def test_every_scoring_of_the_test_set_is_counted_and_shown(make, place: Home) -> None:
    work = make("counted", seed=3)
    digest = work.validated.datasets["learn.test"].digest
    before = len(ledger.at(place).scorings(digest))
    work.register()
    work.register()
    assert len(ledger.at(place).scorings(digest)) == before + 1
    assert versions.show("counted", "1", place)["scorings"]["learn.test"] == before + 1


def test_a_damaged_adapter_is_refused_wherever_it_is_loaded(make, place: Home) -> None:
    import mlflow

    registered = make("damaged", seed=4).register()
    path = _model_folder(place, registered) / package.ADAPTER / "adapter_model.safetensors"
    good = path.read_bytes()
    path.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    with pytest.raises(Corrupt, match="does not match the version's digest"):
        mlflow.pyfunc.load_model("models:/damaged/1")
    place.store.discard(make("damaged", seed=4).tuned.adapter)
    with pytest.raises(Corrupt, match="not the one that was registered"):
        versions.fetch("damaged", "1", place)
    path.write_bytes(good)
    start = versions.fetch("damaged", "1", place)
    assert place.store.holds(start.adapter) and start.adapter.digest == registered.digest


def test_parameters_are_flattened_with_plain_names() -> None:
    flat = runs.params({"a": {"b": 1, "c": {}}, "tasks": [{"name": "x/y", "m": None}], "l": [1, 2], "t": "text"})
    assert flat == {"a.b": "1", "a.c": "{}", "tasks.x_y.name": "x/y", "tasks.x_y.m": "null", "l": "[1, 2]", "t": "text"}
