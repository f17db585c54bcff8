"""The server's settings name variables that the pinned MLflow reads; the addresses stay the home's own."""

import os
import re
from pathlib import Path

import pytest

import mlflow
from holdfast import home as homes
from holdfast.errors import HoldfastError
from holdfast.home import Home
from holdfast.registry import tracking

ROOT = Path(__file__).resolve().parents[2]


def test_every_setting_of_the_server_is_one_that_mlflow_reads() -> None:
    lines = (ROOT / "mlflow" / "server.env").read_text().splitlines()
    names = [line.partition("=")[0] for line in lines if line and not line.startswith("#")]
    package = Path(mlflow.__file__).parent
    sources = [package / "environment_variables.py", package / "utils" / "cli_args.py"]
    read = set(re.findall(r"\"(MLFLOW_\w+)\"", "\n".join(path.read_text() for path in sources)))
    assert names and [name for name in names if name not in read] == []
    assert "MLFLOW_HOST=127.0.0.1" in lines, "loopback unless someone decides otherwise"


def test_the_policy_names_the_gate_s_settings() -> None:
    policy = (ROOT / "mlflow" / "promotion-policy.md").read_text()
    assert "gate.target_gain" in policy and "gate.champion_margin" in policy


def test_two_homes_in_one_process_keep_apart(place: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    first, second = place, homes.make(tmp_path / "b")
    for home in (first, second, first):
        client = tracking.client(home)
        assert client.tracking_uri == home.tracking_uri == f"sqlite:///{home.path}/mlflow.db"
        assert "MLFLOW_TRACKING_URI" not in os.environ
    kept = tracking.experiment(tracking.client(first), "mine", first)
    assert tracking.experiment(tracking.client(first), "mine", first) == kept
    assert tracking.client(second).get_experiment_by_name("mine") is None
    place = tracking.client(first).get_experiment(kept).artifact_location
    assert place == (first.path / "mlartifacts" / "mine").as_uri()


def test_an_address_is_shown_without_its_password(place: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    assert tracking.address(place) == place.tracking_uri
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://me:secret@mlflow.example:5000")
    assert "secret" not in tracking.address(place) and "mlflow.example:5000" in tracking.address(place)


def test_a_deleted_experiment_is_told(place: Home) -> None:
    client = tracking.client(place)
    client.delete_experiment(tracking.experiment(client, "gone", place))
    with pytest.raises(HoldfastError, match="`gone` is deleted"):
        tracking.experiment(client, "gone", place)
