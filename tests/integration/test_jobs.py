"""The commands against an account of the platform on this machine: moto's server over HTTP."""

import io
import json
import os
import socket
import subprocess
import sys
import tarfile
import time

import boto3
import pytest

from tests.tree import ROOT, photo

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


@pytest.fixture(scope="module")
def account(tmp_path_factory):
    """Environment of an account that nobody else has."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = (tmp_path_factory.mktemp("moto") / "log").open("w")
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
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
    reset = client("s3")
    urllib_reset(account)
    reset.create_bucket(Bucket="dogs-bucket")
    for label, colour in (("ant", (60, 40, 30)), ("bee", (220, 180, 40))):
        for at in range(3):
            path = tmp_path / "photos" / label / f"{at}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(photo(colour, at))
    (tmp_path / "dogs.toml").write_text(FILE.format(deploy=""))
    return tmp_path


def urllib_reset(account):
    import urllib.request

    request = urllib.request.Request(f"{account['AWS_ENDPOINT_URL']}/moto-api/reset", method="POST")
    urllib.request.urlopen(request, timeout=10).close()


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


def test_a_dry_run_prints_the_request_and_asks_nobody(project, account):
    nowhere = {**account, "AWS_ENDPOINT_URL": "http://127.0.0.1:9"}

    for command in ("train", "tune", "deploy"):
        done = jobs(nowhere, project, command, "--dry-run")
        request = next(iter(json.loads(done.stdout).values()))
        assert any(str(value).startswith("dogs-") for value in request.values())


def test_training_uploads_starts_waits_and_fetches(project, account, client):
    done = jobs(account, project, "train")

    assert keys(client, "project/data/train/") == {
        f"project/data/train/{label}/{at}.jpg" for label in ("ant", "bee") for at in range(3)
    }
    assert "train: 6 files sent" in done.stdout
    job = client("sagemaker").list_training_jobs()["TrainingJobSummaries"][0]
    described = client("sagemaker").describe_training_job(TrainingJobName=job["TrainingJobName"])
    assert described["HyperParameters"]["network"] == "small_cnn"
    assert described["EnableNetworkIsolation"] is True
    assert f"{job['TrainingJobName']}: started" in done.stdout


def test_an_upload_goes_on_with_what_is_missing_or_changed(project, account, client):
    jobs(account, project, "train", "--no-wait")
    client("s3").delete_object(Bucket="dogs-bucket", Key="project/data/train/ant/0.jpg")
    (project / "photos" / "bee" / "1.jpg").write_bytes(photo((1, 2, 3), 9))

    done = jobs(account, project, "train", "--no-wait", "--new")

    assert "train: 2 files sent" in done.stdout
    assert "4 were there" in done.stdout


def test_what_a_job_left_is_fetched_and_its_state_shown(project, account, client):
    name = trained(account, client, project)

    done = jobs(account, project, "diagnose")

    assert (project / "jobs-output" / name / "model" / "model.json").is_file()
    assert (project / "jobs-output" / name / "output" / "report.html").is_file()
    assert "report: " in done.stdout
    assert f"train     {name}: Completed" in jobs(account, project, "status").stdout


def test_the_log_of_a_job(project, account, client):
    name = trained(account, client, project)
    logs, group = client("logs"), "/aws/sagemaker/TrainingJobs"
    logs.create_log_group(logGroupName=group)
    logs.create_log_stream(logGroupName=group, logStreamName=f"{name}/algo-1-1")
    now = int(time.time() * 1000)
    logs.put_log_events(
        logGroupName=group, logStreamName=f"{name}/algo-1-1",
        logEvents=[{"timestamp": now + at, "message": f"epoch={at} x=1"} for at in range(3)],
    )  # fmt: skip

    assert jobs(account, project, "logs").stdout == "epoch=0 x=1\nepoch=1 x=1\nepoch=2 x=1\n"
    done = jobs(account, project, "logs", "nobody", check=False)
    assert done.returncode == 1
    assert "no log of nobody" in done.stderr


@pytest.mark.parametrize("kind", ["realtime", "serverless", "async", "multi-model"])
def test_an_endpoint_is_made_found_again_and_taken_away(project, account, client, kind):
    (project / "dogs.toml").write_text(FILE.format(deploy=f'kind = "{kind}"\nmost = 3'))
    trained(account, client, project)
    sagemaker = client("sagemaker")

    first = jobs(account, project, "deploy")
    again = jobs(account, project, "deploy")

    assert "dogs: made for s3://dogs-bucket/project/" in first.stdout
    assert "already" in again.stdout
    assert len(sagemaker.list_endpoints()["Endpoints"]) == 1
    alarms = client("cloudwatch").describe_alarms()["MetricAlarms"]
    assert len(alarms) == (0 if kind == "serverless" else 2)
    scaled = client("application-autoscaling").describe_scaling_policies(
        ServiceNamespace="sagemaker"
    )["ScalingPolicies"]
    assert len(scaled) == (0 if kind == "serverless" else 1)

    gone = jobs(account, project, "delete")

    assert "on now    nothing" in gone.stdout
    assert not sagemaker.list_endpoints()["Endpoints"]
    assert not sagemaker.list_models()["Models"]
    assert not sagemaker.list_endpoint_configs()["EndpointConfigs"]
    assert not client("cloudwatch").describe_alarms()["MetricAlarms"]
    assert "deleted endpoint" not in jobs(account, project, "delete").stdout  # safe to repeat


def test_photos_are_sent_to_the_endpoint(project, account, client):
    trained(account, client, project)
    jobs(account, project, "deploy")

    done = jobs(account, project, "invoke", str(project / "photos" / "ant" / "0.jpg"))

    assert "0.jpg: " in done.stdout


def test_a_batch_over_a_prefix(project, account, client):
    trained(account, client, project)

    done = jobs(account, project, "transform", "s3://dogs-bucket/photos")

    assert "answers: s3://dogs-bucket/project/transform/dogs-transform-" in done.stdout


def test_a_search(project, account, client):
    done = jobs(account, project, "tune", "--no-wait")

    found = client("sagemaker").list_hyper_parameter_tuning_jobs()
    assert len(found["HyperParameterTuningJobSummaries"]) == 1
    assert "started" in done.stdout


def test_what_costs_money_is_listed(project, account, client):
    trained(account, client, project)
    jobs(account, project, "deploy")

    done = jobs(account, project, "cost")

    assert "on now    endpoint dogs: 1 x ml.c5.xlarge" in done.stdout
    assert "0.25 an hour" in done.stdout
    assert "stored    8 objects" in done.stdout


def test_data_is_deleted_only_where_asked(project, account, client):
    trained(account, client, project)
    client("s3").put_object(Bucket="dogs-bucket", Key="other/file", Body=b"x")

    jobs(account, project, "delete")
    assert keys(client, "project/")

    jobs(account, project, "delete", "--data")
    assert not keys(client, "project/")
    assert keys(client, "other/")


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("deploy",), "no completed training job has 'dogs' in its name"),
        (("diagnose",), "no completed training job"),
        (("train",), "make the bucket first"),
    ],
)
def test_what_is_missing_is_named(project, account, client, command, said):
    if command == ("train",):
        text = (project / "dogs.toml").read_text().replace("dogs-bucket", "no-such-bucket")
        (project / "dogs.toml").write_text(text)

    done = jobs(account, project, *command, check=False)

    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_no_way_to_the_platform_is_named(project, account):
    nowhere = {**account, "AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_MAX_ATTEMPTS": "1"}

    done = jobs(nowhere, project, "status", check=False)

    assert done.returncode == 1
    assert "can this machine reach it" in done.stderr
