"""Commands of `jobs` in an account of the platform on this machine, and what jobs leave in it."""

import io
import os
import socket
import subprocess
import sys
import tarfile
import time
from contextlib import contextmanager

from tests.tree import ROOT

KEYS = {
    "AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}  # fmt: skip
"""Of an account that nobody else has."""

FILE = """
name = "dogs"
image = "123456789012.dkr.ecr.us-east-1.amazonaws.com/photos:1"
role = "arn:aws:iam::123456789012:role/sagemaker"
bucket = "s3://dogs-bucket/project"
prices = {{"ml.c5.2xlarge" = 0.5, "ml.c5.xlarge" = 0.25}}

[data]
train = "photos"

[train]
hyperparameters = {{network = "small_cnn", epochs = 2}}

[deploy]
{deploy}
"""


@contextmanager
def answering(folder, port, *words, **environment):
    """A program of this environment, `python -m WORDS`, once it listens on `port`; ended after."""
    log = folder / "log"
    with log.open("w") as lines:
        server = subprocess.Popen(
            [sys.executable, "-m", *words], cwd=ROOT, stdout=lines, stderr=lines,
            env={**os.environ, **KEYS, "PYTHONPATH": str(ROOT), **environment},
        )  # fmt: skip
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert server.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.1)
        yield
    finally:
        server.terminate()
        server.wait(30)


def jobs(account, project, command, *more, check=True):
    done = subprocess.run(
        [sys.executable, "-m", "jobs", command, str(project / "dogs.toml"), *more],
        env=account, cwd=project, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    if check:
        assert done.returncode == 0, done.stdout + done.stderr
    return done


def keys(client, prefix):
    pages = client("s3").list_objects_v2(Bucket="dogs-bucket", Prefix=prefix)
    return {each["Key"] for each in pages.get("Contents", [])}


def leave_outputs(client, name):
    """What the platform would upload at the end of a job."""
    for archive, inside in (("model.tar.gz", "model.json"), ("output.tar.gz", "report.html")):
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w:gz") as tar:
            member = tarfile.TarInfo(inside)
            member.size = 2
            tar.addfile(member, io.BytesIO(b"{}"))
        client("s3").put_object(
            Bucket="dogs-bucket", Key=f"project/output/{name}/output/{archive}",
            Body=stream.getvalue(),
        )  # fmt: skip


def trained(account, client, project):
    """The name of a completed job with what it has left."""
    jobs(account, project, "train", "--no-wait")
    name = client("sagemaker").list_training_jobs()["TrainingJobSummaries"][0]["TrainingJobName"]
    leave_outputs(client, name)
    return name
