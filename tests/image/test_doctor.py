"""`docker run IMAGE doctor`: green on the image as it is, and red for each way of breaking it."""

import re
import struct

import pytest


def doctor(docker, image, *options):
    """Exit code, and the findings: (state, check) -> what was found."""
    done = docker("run", "--rm", *options, image, "doctor", check=False)
    lines = re.findall(r"^(ok|warning|problem) +(\w+(?: \w+)?)  +(.*)$", done.stdout, re.MULTILINE)
    found = {}
    for state, check, text in lines:
        found.setdefault((state, check), []).append(text)
    return done, found


def test_the_image_is_well_here(docker, image):
    done, found = doctor(docker, image)

    assert done.returncode == 0, done.stdout + done.stderr
    assert ("ok", "job") in found
    assert "green and answering" in found["ok", "endpoint"][0]
    assert done.stdout.splitlines()[-1].startswith("doctor: 0 problems, ")


def test_what_is_wrong_with_the_machine_and_the_way_of_starting_is_named(docker, image, tmp_path):
    toolkit = tmp_path / "train"
    toolkit.write_text("#!/bin/sh\necho the training toolkit's own\n")
    toolkit.chmod(0o755)

    done, found = doctor(
        docker, image, "--network=none", "--user=12345", "--shm-size=1m", "--memory=1g",
        "--tmpfs=/opt/ml:size=1m,mode=755", "--volume=/dev/null:/dev/nvidia0",
        f"--volume={toolkit}:/opt/venv/bin/train:ro",
    )  # fmt: skip

    assert done.returncode == 1, done.stdout + done.stderr
    expected = {
        ("problem", "programs"): "train on PATH is /opt/venv/bin/train, and that is another",
        ("problem", "memory"): "1.0 GiB",
        ("warning", "shared memory"): "1 MiB free in /dev/shm",
        ("problem", "disk"): "/opt/ml has 1 MiB free",
        ("problem", "permissions"): "user 12345:0 may not write /opt/ml/model, /opt/ml/output",
        ("problem", "gpu"): "1 GPUs are there, but CUDA",
        ("warning", "offline"): "jobs with pretrained=true end at once",
        ("problem", "job"): "a tiny job ended with 1: device: 1 GPUs are there",
    }
    for key, text in expected.items():
        assert any(text in each for each in found.get(key, [])), (key, done.stdout)


@pytest.fixture
def foreign(tmp_path):
    """The first bytes of a library for another processor."""
    path = tmp_path / "_C.so"
    path.write_bytes(b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HH", 3, 0xB7) + bytes(44))
    return path


def test_libraries_for_another_processor_are_named(docker, image, foreign):
    where = docker(
        "run", "--rm", "--entrypoint=python", image, "-c",
        "import importlib.util, pathlib; "
        "print(next(pathlib.Path(importlib.util.find_spec('torch').origin).parent.glob('_C.*.so')))",
    ).stdout.strip()  # fmt: skip

    done, found = doctor(docker, image, f"--volume={foreign}:{where}:ro")

    assert done.returncode == 1
    assert "is for aarch64" in found["problem", "architecture"][0]
    assert "--platform linux/amd64" in done.stdout


def test_a_server_that_does_not_start_is_named(docker, image):
    done, found = doctor(docker, image, "--env=SAGEMAKER_MAX_PAYLOAD_IN_MB=many")

    assert done.returncode == 1
    assert ("ok", "job") in found
    assert "the server ended with" in found["problem", "endpoint"][0]
    assert "SAGEMAKER_MAX_PAYLOAD_IN_MB" in found["problem", "endpoint"][0]
