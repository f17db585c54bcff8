"""An S3-compatible server on loopback."""

from collections.abc import Iterator
from typing import Any

import pytest

BUCKET = "holdfast"


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Any]]:
    """The address of a server that holds an empty bucket, and a client of it; keys as the stack's server has them."""
    pytest.importorskip("moto", reason="S3: moto is not installed")
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    address = "http://{}:{}".format(*server.get_host_and_port())
    given = {"AWS_ACCESS_KEY_ID": "holdfast", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}
    for name, value in (given | {"MLFLOW_S3_ENDPOINT_URL": address}).items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3", endpoint_url=address)
    client.create_bucket(Bucket=BUCKET)
    try:
        yield address, client
    finally:
        server.stop()
