"""What is in the image, and how it starts."""

import json

import pytest

ANY_USER = ("--user=12345:12345", "--read-only", "--tmpfs=/tmp")
MOST_BYTES = 7.3e9


@pytest.fixture(scope="module")
def config(docker, image):
    return json.loads(docker("image", "inspect", image, check=True).stdout)[0]


@pytest.mark.parametrize("options", [(), ANY_USER], ids=["root", "any user, read-only"])
def test_unknown_word_prints_the_programs(docker, image, options):
    done = docker("run", "--rm", "--network=none", *options, image, "trian")

    assert done.returncode == 2
    assert "unknown program 'trian'" in done.stderr
    assert "\n  train " in done.stderr
    assert "\n  serve " in done.stderr


@pytest.mark.parametrize("word", [[], ["train"]], ids=["no word", "train"])
def test_job_without_data_names_what_it_misses(docker, image, word, tmp_path):
    done = docker(
        "run", "--rm", "--network=none", f"--volume={tmp_path}:/opt/ml/output", image, *word
    )

    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("job failed: channel: ")
    assert (tmp_path / "failure").read_text().startswith("channel: ")


def test_server_without_a_model_ends_with_the_reason(docker, image):
    done = docker("run", "--rm", "--network=none", image, "serve")

    assert done.returncode != 0
    assert "model" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("options", [(), ANY_USER], ids=["root", "any user, read-only"])
@pytest.mark.parametrize("name", ["train", "serve"])
def test_programs_on_path_are_ours(in_image, name, options):
    done = in_image(name, "--no-such-option", options=options)

    assert done.returncode == 2
    assert f"{name} takes no arguments" in done.stderr
    assert "usage: docker run IMAGE PROGRAM" in done.stderr


def test_names_on_path(in_image):
    names = ("train", "serve", "python", "pip", "gunicorn")

    done = in_image("/bin/sh", "-c", "; ".join(f"command -v {name}" for name in names))

    assert done.stdout.split() == [f"/opt/venv/bin/{name}" for name in names]


def test_start_is_in_exec_form_and_as_root(config):
    start = config["Config"]

    assert start["Entrypoint"] == ["/opt/venv/bin/python", "-P", "-m", "container.entrypoint"]
    assert start["Cmd"] == ["train"]
    assert start["User"] == ""
    assert "8080/tcp" in start["ExposedPorts"]


def test_environment_leaks_no_python_path(config):
    environment = dict(line.split("=", 1) for line in config["Config"]["Env"])

    assert environment["PYTHONUNBUFFERED"] == "1"
    assert environment["PYTHONDONTWRITEBYTECODE"] == "1"
    assert "PYTHONPATH" not in environment


def test_labels_say_what_it_is(config):
    labels = config["Config"]["Labels"]

    assert labels["com.amazonaws.sagemaker.capabilities.accept-bind-to-port"] == "true"
    assert labels["com.amazonaws.sagemaker.capabilities.multi-models"] == "true"
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert labels["org.opencontainers.image.base.name"]


@pytest.mark.parametrize("options", [(), ANY_USER], ids=["root", "any user, read-only"])
def test_checks_of_the_build_hold(in_image, options):
    scratch = ("--env=MPLCONFIGDIR=/tmp", *options)

    done = in_image("python", "-P", "-m", "container.check_image", options=scratch)

    assert done.returncode == 0, done.stderr
    assert "the image is as it should be" in done.stdout


def test_nothing_lies_under_opt_ml(in_image):
    done = in_image("/bin/sh", "-c", "ls -A /opt/ml 2>&1")

    assert done.stdout == "ls: cannot access '/opt/ml': No such file or directory\n"


def test_no_compiler(in_image):
    done = in_image("/bin/sh", "-c", "command -v cc gcc c++ g++ clang as ld make")

    assert done.stdout == ""


def test_size(config):
    assert config["Size"] <= MOST_BYTES


def test_bill_of_materials(in_image):
    sbom = in_image("cat", "/opt/program/sbom.json")
    debian = in_image("cat", "/opt/program/debian-packages.txt")

    bill = json.loads(sbom.stdout)
    assert bill["bomFormat"] == "CycloneDX"
    names = {component["name"].lower().replace("_", "-") for component in bill["components"]}
    assert {"torch", "torchvision", "smdebug", "sagemaker-training", "flask", "pillow"} <= names
    assert not names & {"cyclonedx-bom", "cyclonedx-python-lib"}
    assert any(line.startswith("python3 ") for line in debian.stdout.splitlines())


def test_licence_and_third_party_list_are_there(in_image):
    done = in_image("head", "-n", "1", "/opt/program/LICENSE", "/opt/program/THIRD_PARTY.md")

    assert done.returncode == 0, done.stderr


def test_folder_of_the_user_shadows_nothing(docker, image, tmp_path):
    for name in ("train.py", "container.py", "serve.py"):
        (tmp_path / name).write_text("raise SystemExit('the user\\'s file was run')\n")

    done = docker(
        "run",
        "--rm",
        "--network=none",
        f"--volume={tmp_path}:/folder",
        "--workdir=/folder",
        image,
        "train",
    )

    assert "the user's file was run" not in done.stdout + done.stderr
