"""An account of the platform on this machine: moto's server over HTTP, and a project in it."""

import os
import socket
import subprocess
import sys
import time

import boto3
import pytest
import requests

from tests.account import FILE
from tests.tree import ROOT, photo


@pytest.fixture(scope="session")
def account(tmp_path_factory):
    """Environment of an account that nobody else has."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = tmp_path_factory.mktemp("moto")
    log = (folder / "log").open("w")
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        env={**os.environ, "MOTO_RECORDER_FILEPATH": str(folder / "recording")},
        stdout=log, stderr=log,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.1)
        yield {
            **os.environ, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true", "PYTHONPATH": str(ROOT),
        }  # fmt: skip
    finally:
        server.terminate()
        server.wait(30)
        log.close()


@pytest.fixture
def client(account):
    def make(name):
        return boto3.client(
            name, endpoint_url=account["AWS_ENDPOINT_URL"], region_name="us-east-1",
            aws_access_key_id="testing", aws_secret_access_key="testing",
        )  # fmt: skip

    return make


@pytest.fixture
def project(tmp_path, account, client):
    """A folder with the project's file and a few photos, and the bucket; emptied afterwards."""
    requests.post(f"{account['AWS_ENDPOINT_URL']}/moto-api/reset", timeout=10)
    client("s3").create_bucket(Bucket="dogs-bucket")
    for label, colour in (("ant", (60, 40, 30)), ("bee", (220, 180, 40))):
        for at in range(3):
            path = tmp_path / "photos" / label / f"{at}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(photo(colour, at))
    (tmp_path / "dogs.toml").write_text(FILE.format(deploy=""))
    return tmp_path
