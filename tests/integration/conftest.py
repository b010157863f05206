"""An account of the platform on this machine: moto's server over HTTP, and a project in it."""

import os

import boto3
import pytest
import requests

from tests.account import FILE, KEYS, answering
from tests.serving import free_port
from tests.tree import ROOT, photo


@pytest.fixture(scope="session")
def account(tmp_path_factory):
    """Environment of an account that nobody else has."""
    port, folder = free_port(), tmp_path_factory.mktemp("moto")
    recording = str(folder / "recording")
    words = ("moto.server", "-H", "127.0.0.1", "-p", str(port))
    with answering(folder, port, *words, MOTO_RECORDER_FILEPATH=recording):
        yield {
            **os.environ, **KEYS, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "PYTHONPATH": str(ROOT),
        }  # fmt: skip


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
