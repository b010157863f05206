"""The commands against an account of the platform on this machine: moto's server over HTTP."""

import json
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.account import FILE, jobs, keys, trained
from tests.tree import photo


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


def test_what_the_folder_no_longer_has_is_not_trained_on(project, account, client):
    jobs(account, project, "train", "--no-wait")
    client("s3").put_object(Bucket="dogs-bucket", Key="project/data/train_lst/x.lst", Body=b"x")
    photos = project / "photos"
    (photos / "ant" / "0.jpg").rename(photos / "bee" / "from-ant.jpg")

    refused = jobs(account, project, "train", "--no-wait", "--new", check=False)
    done = jobs(account, project, "train", "--no-wait", "--new", "--prune")

    assert refused.returncode == 1
    assert "holds 1 files that photos has not: ant/0.jpg" in refused.stderr
    assert len(client("sagemaker").list_training_jobs()["TrainingJobSummaries"]) == 2
    assert "6 were there, 1 deleted" in done.stdout
    assert "project/data/train/ant/0.jpg" not in keys(client, "project/data/train/")
    assert keys(client, "project/data/train_lst/")  # another channel, whose name begins alike


def test_jobs_of_a_project_whose_name_holds_ours_are_not_ours(project, account, client):
    trained(account, client, project)
    text = (project / "dogs.toml").read_text()
    (project / "dogs.toml").write_text(text.replace('"dogs"', '"hot-dogs"'))
    jobs(account, project, "train", "--no-wait")
    (project / "dogs.toml").write_text(text)

    said = jobs(account, project, "status").stdout

    assert "hot-dogs" not in said
    assert said.count("train     dogs-train-") == 1


def test_a_photo_that_is_not_there_is_named(project, account):
    done = jobs(account, project, "invoke", "nowhere.jpg", check=False)

    assert done.returncode == 1
    assert done.stderr == "invoke: nowhere.jpg: No such file or directory\n"


def test_every_mistake_of_a_search_is_named(project, account):
    text = (project / "dogs.toml").read_text()
    (project / "dogs.toml").write_text(f'{text}\n[tune]\nspec = "spec.json"\n')
    (project / "spec.json").write_text('{"Strategy": "Clever", "ParameterRanges": []}')

    done = jobs(account, project, "tune", check=False)

    assert done.returncode == 1
    assert "Strategy: 'Clever'" in done.stderr
    assert "ParameterRanges: expected an object" in done.stderr


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


def test_an_endpoint_that_may_go_to_no_instance_is_woken_by_what_waits(project, account, client):
    (project / "dogs.toml").write_text(FILE.format(deploy='kind = "async"\nto_zero = true'))
    trained(account, client, project)

    jobs(account, project, "deploy")

    scaling, cloudwatch = client("application-autoscaling"), client("cloudwatch")
    target = scaling.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"][0]
    assert (target["MinCapacity"], target["MaxCapacity"]) == (0, 1)
    policies = scaling.describe_scaling_policies(ServiceNamespace="sagemaker")["ScalingPolicies"]
    waking = next(each for each in policies if each["PolicyName"] == "dogs-waking")
    alarm = cloudwatch.describe_alarms(AlarmNames=["dogs-waking"])["MetricAlarms"][0]
    assert alarm["MetricName"] == "HasBacklogWithoutCapacity"
    assert alarm["AlarmActions"] == [waking["PolicyARN"]]

    (project / "dogs.toml").write_text(FILE.format(deploy='kind = "async"\nmost = 2'))
    jobs(account, project, "deploy")
    assert not cloudwatch.describe_alarms(AlarmNames=["dogs-waking"])["MetricAlarms"]

    jobs(account, project, "delete")
    assert not cloudwatch.describe_alarms()["MetricAlarms"]


@pytest.fixture(scope="module")
def gateway(server):
    """The platform's runtime in front of our own server: /endpoints/NAME/invocations."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            answer = server.invoke(body, self.headers["Content-Type"], self.headers["Accept"])
            self.send_response(answer.status_code)
            self.send_header("Content-Type", answer.headers["Content-Type"])
            self.send_header("Content-Length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

        def log_message(self, *words):
            pass

    front = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=front.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{front.server_port}"
    front.shutdown()
    thread.join()
    front.server_close()


def test_photos_are_sent_to_the_endpoint(project, account, gateway):
    environment = {**account, "AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME": gateway}
    photos = [str(project / "photos" / "ant" / f"{at}.jpg") for at in range(2)]

    done = jobs(environment, project, "invoke", *photos)

    for path, line in zip(photos, done.stdout.splitlines(), strict=True):
        assert re.fullmatch(rf"{path}: \S+ \d+\.\d% \(\d+ ms\)", line)


def test_an_asynchronous_endpoint_answers_through_the_bucket(project, account, client):
    (project / "dogs.toml").write_text(FILE.format(deploy='kind = "async"'))
    trained(account, client, project)
    jobs(account, project, "deploy")

    done = jobs(account, project, "invoke", str(project / "photos" / "ant" / "0.jpg"))

    assert "0.jpg: " in done.stdout
    (sent,) = keys(client, "project/async/input/")
    found = client("s3").get_object(Bucket="dogs-bucket", Key=sent)
    assert found["Body"].read() == (project / "photos" / "ant" / "0.jpg").read_bytes()
    assert found["ContentType"] == "image/jpeg"


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
        (("deploy",), "the project 'dogs' has no completed training job"),
        (("diagnose",), "has no training job"),
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
