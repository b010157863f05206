"""The examples of local_test/sdk by the real SDK, v2 and v3, each in an environment of its own.

Local mode has real containers and no way out; the rest runs against an account on this machine.
"""

import json
import os
import re
import shutil
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

import boto3
import pytest

from tests import account, readme, sdk_account
from tests.compose import remove_containers
from tests.serving import free_port
from tests.tree import COLOURS, ROOT, Tree

EXAMPLES = ROOT / "local_test" / "sdk"
ROLE = "arn:aws:iam::123456789012:role/sagemaker"
BUCKET = "s3://photos-bucket"
NOWHERE = "http://127.0.0.1:9"

# Python's own record of the names that a program asks the resolver for
LOOKUPS = """
import os, sys
def note(event, arguments):
    if event == "socket.getaddrinfo":
        with open(os.environ["LOOKUPS"], "a") as file:
            file.write(f"{arguments[0]}\\n")
sys.addaudithook(note)
"""


@dataclass
class SDK:
    version: str
    python: Path
    environment: dict[str, str]
    lookups: Path

    def run(
        self, example: str, *arguments: object, **more: str
    ) -> "subprocess.CompletedProcess[str]":
        done = subprocess.run(
            [str(self.python), str(EXAMPLES / f"{self.version}_{example}.py"),
             *map(str, arguments)],
            env={**self.environment, **more}, capture_output=True, text=True, timeout=600,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-6000:]
        return done

    def looked_up(self) -> set[str]:
        return set(self.lookups.read_text().split()) if self.lookups.exists() else set()


def readme_command(part: str) -> str:
    """The one command of the README with `part` in it."""
    found = [each for each in readme.commands() if part in each]
    assert len(found) == 1, found
    return found[0]


@pytest.fixture(scope="module", params=["v2", "v3"])
def sdk(request, docker, image, tmp_path_factory):
    """An SDK in its environment, which is made here where it is not there yet."""
    done = subprocess.run(
        readme_command("make sdk"), shell=True, cwd=ROOT, capture_output=True, text=True,
        timeout=850,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    folder = tmp_path_factory.mktemp(request.param)
    (folder / "hook").mkdir()
    (folder / "hook" / "sitecustomize.py").write_text(LOOKUPS)
    environment = {
        **os.environ,
        **account.KEYS,
        "HOME": str(folder),
        "PYTHONPATH": str(folder / "hook"),
        "PYTHONUNBUFFERED": "1",
        "LOOKUPS": str(folder / "lookups"),
        "SAGEMAKER_USER_CONFIG_OVERRIDE": str(EXAMPLES / "config.yaml"),
        # v3 asks IAM what the role may do, which the account here does not know
        "SAGEMAKER_VALIDATE_ROLE": "false",
    }
    python = ROOT / f".venv-sdk-{request.param}" / "bin" / "python"
    return SDK(request.param, python, environment, folder / "lookups")


@pytest.fixture
def compose():
    """Local mode starts containers by it."""
    plugin = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False)
    if plugin.returncode and not shutil.which("docker-compose"):
        missing = "no Docker Compose: tests/install_compose.sh gets it where it can"
        if os.environ.get("REQUIRE_COMPOSE") == "1":
            pytest.fail(missing, pytrace=False)
        pytest.skip(missing)


@pytest.fixture(scope="module")
def here(sdk, tmp_path_factory):
    """An account with a bucket that holds a model and photos."""
    with sdk_account.running(tmp_path_factory.mktemp("account")) as found:
        s3 = client("s3", found)
        s3.create_bucket(Bucket="photos-bucket")
        for key in ("job/output/model.tar.gz", "photos/train/ants/0.jpg"):
            s3.put_object(Bucket="photos-bucket", Key=key, Body=b"x")
        yield found


def client(name, here):
    return boto3.client(
        name, endpoint_url=here.url, region_name="us-east-1",
        aws_access_key_id="testing", aws_secret_access_key="testing",
    )  # fmt: skip


def printed(done, what: str) -> str:
    """The rest of the line that starts with `what`."""
    found = re.search(rf"^{what}: (.+)$", done.stdout.replace("\r", ""), re.MULTILINE)
    assert found, f"no line {what!r} in\n{done.stdout[-3000:]}"
    return found[1]


@pytest.fixture
def folder(docker, image, tmp_path):
    """A folder for photos and everything that local mode writes; its containers go with it."""
    yield tmp_path
    remove_containers(docker, tmp_path)
    # of the container's user, whom this machine may not know
    docker("run", "--rm", "--network=none", f"--volume={tmp_path}:/folder", "--entrypoint=/bin/sh",
           image, "-c", "rm -rf /folder/*", check=True)  # fmt: skip


@pytest.fixture(scope="module")
def jobs(sdk, image, here):
    """What the example of training and tuning printed."""
    return sdk.run(
        "jobs", f"{BUCKET}/photos", f"{BUCKET}/output", ROLE, image, AWS_ENDPOINT_URL=here.url
    )


@pytest.fixture(scope="module")
def described(docker, image):
    return json.loads(docker("run", "--rm", image, "describe", check=True).stdout)


def test_local_mode_trains_answers_and_takes_a_batch(sdk, image, compose, folder):
    tree = Tree(folder)
    tree.channel("train", 6)
    tree.channel("validation", 3)
    (folder / "input" / "data").rename(folder / "photos")
    results = folder / "results"
    results.mkdir()
    sdk.lookups.unlink(missing_ok=True)
    environment = {
        **sdk.environment, "HOME": str(folder), "IMAGE": image, "TMPDIR": str(results),
        "SERVING_PORT": str(free_port()), "AWS_ENDPOINT_URL": NOWHERE,
    }  # fmt: skip
    # the example brings its own
    del environment["SAGEMAKER_USER_CONFIG_OVERRIDE"]

    done = subprocess.run(
        readme_command(f"{sdk.version}_local.py"), shell=True, cwd=ROOT, env=environment,
        capture_output=True, text=True, timeout=600,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-6000:]
    with tarfile.open(printed(done, "model").removeprefix("file://")) as model:
        assert {"model.json", "weights.safetensors"} <= {
            Path(name).name for name in model.getnames()
        }
    assert "epoch=2 " in done.stdout
    answer = json.loads(printed(done, "answer"))
    assert answer["label"] in COLOURS
    assert 0 < answer["probability"] <= 1
    batch = re.findall(r"^batch: (\S+) (\S+)$", done.stdout.replace("\r", ""), re.MULTILINE)
    assert len({name for name, _ in batch}) == 6
    assert {label for _, label in batch} <= set(COLOURS)
    # no account, and no word to the SDK's maker
    assert sdk.looked_up() <= {"localhost", "127.0.0.1", "::1"}


def test_the_names_that_an_sdk_looks_up_are_seen(sdk):
    sdk.lookups.unlink(missing_ok=True)

    subprocess.run(
        [str(sdk.python), "-c", "import socket; socket.getaddrinfo('127.0.0.9', 1)"],
        env=sdk.environment, check=True,
    )  # fmt: skip

    assert sdk.looked_up() == {"127.0.0.9"}


def test_a_training_job_is_what_the_image_says_of_itself(jobs, image, described, here):
    job = asked(here, "CreateTrainingJob", printed(jobs, "training job"))

    assert job["AlgorithmSpecification"]["TrainingImage"] == image
    assert job["AlgorithmSpecification"]["MetricDefinitions"] == described["MetricDefinitions"]
    assert job["EnableNetworkIsolation"] is True
    assert [each["ChannelName"] for each in job["InputDataConfig"]] == ["train", "validation"]
    assert job["HyperParameters"]["epochs"] == "3"
    assert "mobilenet_v3_small" in job["HyperParameters"]["network"]


def asked(here, action, name):
    """The request of that name, which the account has taken."""
    kind = action.removeprefix("Create")
    found = [each for each in here.requests(action) if each[f"{kind}Name"] == name]
    assert len(found) == 1
    return found[0]


def test_a_search_takes_the_ranges_that_the_image_names(jobs, described, here):
    job = asked(here, "CreateHyperParameterTuningJob", printed(jobs, "tuning job"))

    config, definition = job["HyperParameterTuningJobConfig"], job["TrainingJobDefinition"]
    objective = config["HyperParameterTuningJobObjective"]
    assert (objective["MetricName"], objective["Type"]) == ("validation_top1_accuracy", "Maximize")
    assert numbers(config["ParameterRanges"]) == numbers(described["ParameterRanges"])
    assert definition["StaticHyperParameters"]["epochs"] == "3"
    algorithm = definition["AlgorithmSpecification"]
    assert algorithm["MetricDefinitions"] == described["MetricDefinitions"]


def numbers(ranges):
    """Ranges in one form: the API takes "0.0001" and "1e-04" for one number."""
    return {
        each["Name"]: each.get("Values")
        or (float(each["MinValue"]), float(each["MaxValue"]), each["ScalingType"])
        for kind in ranges.values()
        for each in kind
    }


def test_the_debugger_is_asked_for(sdk, jobs, here):
    name = printed(jobs, "training job" if sdk.version == "v2" else "watched training job")
    job = asked(here, "CreateTrainingJob", name)

    hook, rule = job["DebugHookConfig"], job["DebugRuleConfigurations"][0]
    assert hook["S3OutputPath"] == f"{BUCKET}/output"
    assert hook["HookParameters"] == {"train.save_interval": "10"}
    collections = [each["CollectionName"] for each in hook["CollectionConfigurations"]]
    assert sorted(collections) == ["gradients", "losses"]
    assert rule["RuleParameters"]["rule_to_invoke"] == "LossNotDecreasing"
    assert "sagemaker-debugger-rules" in rule["RuleEvaluatorImage"]


def test_models_are_hosted_and_a_batch_started(sdk, image, here):
    done = sdk.run(
        "hosting", f"{BUCKET}/job/output/model.tar.gz", f"{BUCKET}/photos/train",
        f"{BUCKET}/output", ROLE, image, AWS_ENDPOINT_URL=here.url,
    )  # fmt: skip

    sagemaker = client("sagemaker", here)
    one = container(sagemaker, printed(done, "endpoint"))
    many = container(sagemaker, printed(done, "multi-model endpoint").split()[0])
    job = sagemaker.describe_transform_job(TransformJobName=printed(done, "transform job"))
    assert one["Image"] == image
    assert one["ModelDataUrl"] == f"{BUCKET}/job/output/model.tar.gz"
    assert one["Environment"]["TOP_K"] == "3"
    assert many["Image"] == image
    assert (many["Mode"], many["ModelDataUrl"]) == ("MultiModel", f"{BUCKET}/output/models/")
    assert job["BatchStrategy"] == "SingleRecord"
    assert job["TransformInput"]["ContentType"] == "application/x-image"
    assert job["TransformOutput"]["Accept"] == "application/jsonlines"


def container(sagemaker, endpoint):
    """What runs behind an endpoint."""
    config = sagemaker.describe_endpoint(EndpointName=endpoint)["EndpointConfigName"]
    config = sagemaker.describe_endpoint_config(EndpointConfigName=config)
    model = sagemaker.describe_model(ModelName=config["ProductionVariants"][0]["ModelName"])
    return model["PrimaryContainer"]
