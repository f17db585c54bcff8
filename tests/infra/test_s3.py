"""On an S3-compatible server on loopback (moto's): MLflow's artifacts, and a DVC remote of the home's repository."""

from pathlib import Path
from typing import Any

import pytest

from holdfast import home as homes
from holdfast.home import Home
from holdfast.registry import tracking
from holdfast.versioning import repository

pytestmark = [pytest.mark.service, pytest.mark.slow]
BUCKET = "holdfast"


def _held(client: Any, below: str) -> dict[str, bytes]:
    found = client.list_objects_v2(Bucket=BUCKET, Prefix=f"{below}/")
    keys = [entry["Key"] for entry in found.get("Contents", [])]
    return {key: client.get_object(Bucket=BUCKET, Key=key)["Body"].read() for key in keys}


def test_mlflow_keeps_artifacts_in_the_bucket(store: tuple[str, Any], home: Home, tmp_path: Path) -> None:
    """As the stack's MLflow server does with MLFLOW_ARTIFACTS_DESTINATION=s3://holdfast/mlflow."""
    client = tracking.client(home)
    run = client.create_run(client.create_experiment("smoke", artifact_location=f"s3://{BUCKET}/mlflow"))
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "weights.safetensors").write_bytes(bytes(range(256)))
    client.log_artifacts(run.info.run_id, str(tmp_path / "adapter"), "adapter")
    held = _held(store[1], "mlflow")
    assert [key.rpartition("/")[2] for key in held] == ["weights.safetensors"]
    assert bytes(range(256)) in held.values()
    (tmp_path / "back").mkdir()
    found = client.download_artifacts(run.info.run_id, "adapter", str(tmp_path / "back"))
    assert (Path(found) / "weights.safetensors").read_bytes() == bytes(range(256))


def test_what_one_home_pushes_to_a_dvc_remote_another_pulls(
    store: tuple[str, Any], home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in homes.environment(home).items():
        if name.startswith("DVC_"):
            monkeypatch.setenv(name, value)
    source = tmp_path / "rows.csv"
    source.write_text("id,text,label\n1,a good film,positive\n")
    held = repository.imported(home, [source])[source]
    other = homes.make(tmp_path / "other")
    repository.imported(other, [])
    for place in (home, other):
        _add_remote(place, store[0])
    assert _repo(home).push() == 1
    assert list(_held(store[1], "dvc").items()) == [
        (f"dvc/files/md5/{held.md5[:2]}/{held.md5[2:]}", source.read_bytes())
    ]
    stage = next((home.data / "imports").glob("*.dvc"))
    (other.data / "imports").mkdir(exist_ok=True)
    (other.data / "imports" / stage.name).write_text(stage.read_text())
    source.unlink()
    _repo(other).pull()
    assert (other.data / "imports" / stage.stem).read_text().endswith("1,a good film,positive\n")


def _repo(home: Home) -> Any:
    from dvc.repo import Repo

    return Repo(str(home.data))


def _add_remote(home: Home, address: str) -> None:
    with _repo(home).config.edit() as config:
        config["remote"] = {"s3": {"url": f"s3://{BUCKET}/dvc", "endpointurl": address}}
        config["core"]["remote"] = "s3"
