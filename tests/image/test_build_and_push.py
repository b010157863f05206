"""build_and_push.sh: what a dry run prints, and a real push to a registry that acts as ECR."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = str(ROOT / "build_and_push.sh")
REGISTRY = "123456789012.dkr.ecr.us-east-1.amazonaws.com"


def call(*arguments, environment):
    return subprocess.run(
        [SCRIPT, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


@pytest.fixture
def bare(tmp_path):
    """A PATH without aws, docker and git, and no settings."""
    for name in ("bash", "dirname", "date", "tr", "grep", "tail"):
        found = subprocess.run(["which", name], capture_output=True, text=True, check=True)
        (tmp_path / name).symlink_to(found.stdout.strip())
    return {"PATH": str(tmp_path)}


def dry_run(*arguments, environment):
    done = call("--dry-run", *arguments, environment=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_dry_run_prints_every_step_in_order(bare):
    printed = dry_run("photos", "v1", environment={**bare, "AWS_REGION": "eu-west-1"})

    uri = "ACCOUNT.dkr.ecr.eu-west-1.amazonaws.com/photos:v1"
    steps = [
        "aws sts get-caller-identity",
        "aws ecr describe-repositories --region eu-west-1 --repository-names photos",
        "aws ecr create-repository --region eu-west-1 --repository-name photos",
        f"docker build --platform linux/amd64 --tag {uri}",
        "docker image inspect --format '{{.Os}}/{{.Architecture}}'",
        "aws ecr get-login-password --region eu-west-1 | docker login --username AWS "
        "--password-stdin ACCOUNT.dkr.ecr.eu-west-1.amazonaws.com",
        f"docker push {uri}",
        "docker image inspect --format '{{join .RepoDigests",
    ]
    places = [printed.find(step) for step in steps]
    assert -1 not in places, printed
    assert places == sorted(places)


def test_default_tag_is_unique(bare):
    printed = dry_run("photos", environment=bare)

    assert re.search(r"/photos:\d{8}T\d{6}Z-\w+", printed), printed


def test_domain_of_china(bare):
    printed = dry_run("photos", environment={**bare, "AWS_DEFAULT_REGION": "cn-north-1"})

    assert "ACCOUNT.dkr.ecr.cn-north-1.amazonaws.com.cn/photos:" in printed


def test_build_arguments_pass_through(bare):
    arguments = "--network host --build-arg TORCH_INDEX=torch-index"

    printed = dry_run("photos", "v1", environment={**bare, "BUILD_ARGS": arguments})

    assert f" {arguments} ." in printed


def test_platform_is_always_stated(bare):
    printed = dry_run("photos", "v1", environment={**bare, "PLATFORM": "linux/arm64"})

    assert "--platform linux/arm64" in printed
    assert "# anything but linux/arm64 is not pushed" in printed


def test_image_that_is_built_already_is_tagged_and_not_built(bare):
    printed = dry_run("photos", "v1", environment={**bare, "BUILT_IMAGE": "mine:latest"})

    assert "docker tag mine:latest " in printed
    assert "docker build" not in printed


def test_buildx_makes_one_manifest_of_docker_types(bare, tmp_path):
    docker = tmp_path / "docker"
    docker.write_text('#!/bin/sh\n[ "$1 $2" = "buildx version" ]\n')
    docker.chmod(0o755)

    printed = dry_run("photos", "v1", environment=bare)

    assert (
        "docker buildx build --provenance=false --sbom=false --output type=docker --platform"
        in printed
    )


@pytest.mark.parametrize(
    ("arguments", "settings", "message"),
    [
        pytest.param([], {}, "usage: ./build_and_push.sh", id="no name"),
        pytest.param(["a", "b", "c"], {}, "usage: ./build_and_push.sh", id="too many words"),
        pytest.param(["--dry", "photos"], {}, "unknown option '--dry'", id="unknown option"),
        pytest.param(["Photos"], {}, "'Photos' is no repository name", id="upper case"),
        pytest.param(["a"], {}, "2 to 256 lower-case letters", id="name too short"),
        pytest.param(["photos/"], {}, "no repository name", id="empty part"),
        pytest.param(["photos", "-v1"], {}, "unknown option '-v1'", id="tag like an option"),
        pytest.param(["photos", "v:1"], {}, "'v:1' is no tag", id="bad tag"),
        pytest.param(["a" * 256], {}, "255 is the most", id="name too long for a job"),
        pytest.param(["photos"], {"PLATFORM": "linux/386"}, "runs on no instance", id="platform"),
    ],
)
def test_bad_usage_is_refused(bare, arguments, settings, message):
    done = call("--dry-run", *arguments, environment={**bare, **settings})

    assert done.returncode == 2
    assert message in done.stderr


def test_missing_program_is_named(bare):
    done = call("photos", environment=bare)

    assert done.returncode == 2
    assert "aws is not installed" in done.stderr


@pytest.fixture(scope="module")
def ecr(docker):
    """Environment of an ECR that runs on this machine, if the shared tools have one."""
    tools = os.environ.get("SHARED_TOOLS")
    if not tools or not Path(tools, "fake-ecr").is_file():
        pytest.skip("no SHARED_TOOLS with fake-ecr: the push to a registry is not tested")
    if os.getuid() != 0:
        pytest.skip("fake-ecr needs root: the push to a registry is not tested")
    tool = str(Path(tools, "fake-ecr"))
    subprocess.run([tool, "start"], check=True, timeout=600)
    yield _environment(tool)
    subprocess.run([tool, "stop"], check=True)


def _environment(tool):
    printed = subprocess.run(
        ["bash", "-c", f"eval \"$('{tool}' env)\" && env -0"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return dict(line.split("=", 1) for line in printed.split("\0") if line)


@pytest.fixture
def small(docker, tmp_path, request):
    """An image of one file, for the platform that the test asks for."""
    platform = getattr(request, "param", "linux/amd64")
    name = f"build-and-push-test:{platform.split('/')[1]}"
    (tmp_path / "Dockerfile").write_text('FROM scratch\nCOPY Dockerfile /\nCMD ["none"]\n')
    docker("build", "--platform", platform, "--tag", name, str(tmp_path), check=True)
    yield name
    docker("image", "rm", "--force", name)


def asked(ecr, operation, option):
    done = subprocess.run(
        ["aws", "ecr", operation, option, "team/photos", "--output", "json"],
        env=ecr, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return json.loads(done.stdout)


def test_push_to_a_registry(ecr, small, docker, tmp_path):
    done = call("team/photos", "v1", environment={**ecr, "BUILT_IMAGE": small})

    assert done.returncode == 0, done.stderr
    assert "created repository team/photos" in done.stdout
    digest = re.search(
        rf"^digest ({re.escape(REGISTRY)}/team/photos@sha256:[0-9a-f]{{64}})$", done.stdout, re.M
    )
    assert digest, done.stdout
    assert "testing" not in done.stdout + done.stderr
    assert "never move, untagged images expire" in done.stdout
    repository = asked(ecr, "describe-repositories", "--repository-names")["repositories"][0]
    assert repository["imageTagMutability"] == "IMMUTABLE"
    assert repository["imageScanningConfiguration"] == {"scanOnPush": True}
    policy = asked(ecr, "get-lifecycle-policy", "--repository-name")["lifecyclePolicyText"]
    rules = json.loads(policy)["rules"]
    assert [rule["selection"]["tagStatus"] for rule in rules] == ["untagged"]
    docker("image", "rm", "--force", small, f"{REGISTRY}/team/photos:v1", digest[1])
    assert docker("image", "inspect", digest[1]).returncode != 0
    pulled = subprocess.run(
        ["docker", "pull", digest[1]], env=ecr, capture_output=True, text=True, check=False
    )
    assert pulled.returncode == 0, pulled.stderr
    docker("image", "rm", "--force", digest[1])


def test_it_builds_what_lies_beside_it(ecr, docker, tmp_path):
    shutil.copy(SCRIPT, tmp_path)
    (tmp_path / "Dockerfile").write_text("FROM scratch\nARG REVISION\nLABEL r=$REVISION\n")

    done = subprocess.run(
        [str(tmp_path / "build_and_push.sh"), "built"],
        env={**ecr, "BUILD_ARGS": "--label made-by=test"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    pushed = re.search(r"^pushed (\S+)$", done.stdout, re.M)[1]
    labels = docker("image", "inspect", "--format={{json .Config.Labels}}", pushed).stdout
    docker("image", "rm", "--force", pushed)
    assert json.loads(labels) == {"made-by": "test", "r": "unknown"}


def test_second_push_finds_the_repository(ecr, small, docker):
    for tag in ("v2", "v3"):
        done = call("again", tag, environment={**ecr, "BUILT_IMAGE": small})
        docker("image", "rm", "--force", f"{REGISTRY}/again:{tag}")

        assert done.returncode == 0, done.stderr

    assert "created repository" not in done.stdout


@pytest.mark.parametrize("small", ["linux/arm64"], indirect=True)
def test_image_of_another_architecture_is_not_pushed(ecr, small, docker):
    done = call("photos", "v1", environment={**ecr, "BUILT_IMAGE": small})
    docker("image", "rm", "--force", f"{REGISTRY}/photos:v1")

    assert done.returncode == 2
    assert "the image is for linux/arm64, the instances are linux/amd64: not pushed" in done.stderr
    assert "pushed " not in done.stdout


def test_no_engine_is_explained(ecr):
    done = call("photos", environment={**ecr, "DOCKER_HOST": "tcp://127.0.0.1:9"})

    assert done.returncode == 1
    assert "build_and_push.sh: asking the Docker engine failed\n  start Docker" in done.stderr


FAILING = """#!/bin/bash
[[ "$*" == *'{word}'* ]] && {{ echo '{said}' >&2; exit 255; }}
case $* in
  *get-caller-identity*) echo 123456789012 ;;
  *inspect*) echo linux/amd64 ;;
esac
"""


@pytest.mark.parametrize(
    ("program", "word", "said", "what", "fix"),
    [
        pytest.param("aws", "sts", "Unable to locate credentials. You can configure credentials by "
                     "running \"aws login\".", "asking for the account", "aws configure",
                     id="no credentials"),
        pytest.param("aws", "sts", "An error occurred (ExpiredToken) when calling the "
                     "GetCallerIdentity operation", "asking for the account", "log in again",
                     id="expired"),
        pytest.param("aws", "sts", "Could not connect to the endpoint URL: "
                     "\"https://sts.eu-wst-1.amazonaws.com/\"", "asking for the account",
                     "is eu-west-1 a region", id="no such region"),
        pytest.param("aws", "describe-rep", "An error occurred (AccessDeniedException) when "
                     "calling the DescribeRepositories operation: not authorized to perform: "
                     "ecr:DescribeRepositories", "looking for the repository", "allow the action",
                     id="not allowed"),
        pytest.param("docker", "login", "Error response from daemon: login attempt to "
                     "https://x/v2/ failed with status: 401 Unauthorized", "logging in",
                     "may this user push to photos", id="login"),
        pytest.param("docker", "push", "tag invalid: The image tag already exists in the "
                     "photos repository and cannot be overwritten because the tag is immutable.",
                     "pushing", "tags of this repository never move", id="tag taken"),
        pytest.param("docker", "push", "no basic auth credentials", "pushing",
                     "may this user push to photos", id="no login"),
        pytest.param("docker", "tag", "write /var/lib/docker: no space left on device", "tagging",
                     "docker system prune", id="full disk"),
    ],
)  # fmt: skip
def test_a_failure_of_aws_or_docker_is_explained(tmp_path, program, word, said, what, fix):
    """With programs that say what the real ones say."""
    for name in ("aws", "docker"):
        text = FAILING.format(word=word if name == program else "\n", said=said)
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "AWS_REGION": "eu-west-1",
                   "BUILT_IMAGE": "built:1"}  # fmt: skip

    done = call("photos", environment=environment)

    assert done.returncode == 1, done.stdout + done.stderr
    assert said in done.stderr
    assert f"build_and_push.sh: {what} failed\n  " in done.stderr
    assert fix in done.stderr.splitlines()[-1]


def test_no_region_is_refused(ecr):
    without = {key: value for key, value in ecr.items() if "REGION" not in key}

    done = call("photos", environment=without)

    assert done.returncode == 2
    assert "export AWS_REGION=us-west-2" in done.stderr
