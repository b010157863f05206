"""The four scripts of local_test: one job after the other, as root and as any other user."""

import json
import os
import re
import shutil
import socket
import subprocess
import urllib.request
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "local_test"
USERS = {
    "root": "",
    "any user, read-only": "--user 12345:12345 --read-only --tmpfs /tmp",
}
SMALL = ("network=small_cnn", "pretrained=false", "fine_tune=all", "image_size=32", "epochs=2",
         "debug_save_interval=1")  # fmt: skip
COLOURS = {"blue": (40, 60, 200), "green": (40, 180, 60), "red": (210, 50, 40)}

# Logs every name that a program asks the resolver for; addresses are not names.
TRAP = r"""
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void note(const char *name) {
    unsigned char address[16];
    const char *path = getenv("RESOLVER_LOG");
    if (!path || !name || inet_pton(AF_INET, name, address) == 1 ||
        inet_pton(AF_INET6, name, address) == 1)
        return;
    int file = open(path, O_WRONLY | O_APPEND | O_CREAT, 0666);
    if (file < 0) return;
    if (write(file, name, strlen(name)) < 0 || write(file, "\n", 1) < 0) _exit(99);
    close(file);
}

int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
                struct addrinfo **result) {
    int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **) =
        dlsym(RTLD_NEXT, "getaddrinfo");
    note(name);
    return real(name, service, hints, result);
}

struct hostent *gethostbyname(const char *name) {
    struct hostent *(*real)(const char *) = dlsym(RTLD_NEXT, "gethostbyname");
    note(name);
    return real(name);
}

int gethostbyname_r(const char *name, struct hostent *entry, char *buffer, size_t size,
                    struct hostent **result, int *error) {
    int (*real)(const char *, struct hostent *, char *, size_t, struct hostent **, int *) =
        dlsym(RTLD_NEXT, "gethostbyname_r");
    note(name);
    return real(name, entry, buffer, size, result, error);
}
"""

Trap = namedtuple("Trap", ["options", "names", "home"])
Job = namedtuple("Job", ["base", "data", "options", "trap", "done"])
Server = namedtuple("Server", ["port", "container", "done"])


def run(script, *arguments, image, options="", timeout=600, **environment):
    return subprocess.run(
        [str(SCRIPTS / script), *map(str, arguments)],
        env={**os.environ, "IMAGE": image, "DOCKER_OPTIONS": options, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
    )


def make_photos(folder: Path, each: int) -> Path:
    """Noisy photos whose colour tells the class, of several sizes."""
    random = np.random.default_rng(7)
    for split, count in (("train", each), ("valid", each // 2), ("test", each // 2)):
        for label, colour in COLOURS.items():
            place = folder / split / label
            place.mkdir(parents=True)
            for number in range(count):
                shape = (*random.integers(32, 64, 2), 3)
                pixels = np.clip(random.normal(colour, 60, shape), 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(place / f"{number:03}.jpg")
    return folder


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def trap_library(tmp_path_factory):
    """The trap, compiled on this machine; None where it has no compiler."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        return None
    folder = tmp_path_factory.mktemp("trap")
    (folder / "trap.c").write_text(TRAP)
    library = folder / "trap.so"
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-o", str(library), str(folder / "trap.c"), "-ldl"],
        check=True,
    )
    return library


def set_trap(folder: Path, library: Path | None) -> Trap:
    """Options for docker that log each lookup and give HOME a folder to be found empty after."""
    log, home = folder / "log", folder / "home"
    for place in (log, home):
        place.mkdir(parents=True)
        place.chmod(0o777)
    options = f" --volume {home}:/home/trap --env HOME=/home/trap"
    if library:
        options += (
            f" --volume {library}:/trap.so:ro --env LD_PRELOAD=/trap.so"
            f" --volume {log}:/trap-log --env RESOLVER_LOG=/trap-log/names"
        )
    return Trap(options, log / "names", home)


def looked_up(trap: Trap) -> list[str]:
    return trap.names.read_text().split() if trap.names.exists() else []


def test_trap_catches_a_lookup_and_a_write(docker, image, trap_library, tmp_path):
    if trap_library is None:
        pytest.skip("no C compiler on this machine: lookups of names are not tested")
    trap = set_trap(tmp_path, trap_library)
    program = """
import contextlib, pathlib, socket
for ask in (socket.gethostbyname, lambda name: socket.getaddrinfo(name, 80)):
    with contextlib.suppress(OSError):
        ask("telemetry.invalid")
socket.getaddrinfo("127.0.0.1", 80)
pathlib.Path.home().joinpath("consent").touch()
"""

    docker(
        "run",
        "--rm",
        "--network=none",
        *trap.options.split(),
        "--entrypoint=python",
        image,
        "-c",
        program,
        check=True,
    )

    assert looked_up(trap) == ["telemetry.invalid"] * 2
    assert [path.name for path in trap.home.iterdir()] == ["consent"]


@pytest.fixture(scope="module", params=USERS.values(), ids=USERS.keys())
def job(request, image, tmp_path_factory, trap_library):
    """A training job that ran, cut off from the network, with 64 MB of shared memory."""
    folder = tmp_path_factory.mktemp("job")
    data = make_photos(folder / "photos", each=20)
    base = folder / "ml"
    trap = set_trap(folder / "training", trap_library)
    options = request.param
    done = run("train.sh", data, base, "--", *SMALL, image=image, options=options + trap.options)
    yield Job(base, data, options, trap, done)
    # files of root and of users that this machine does not know
    subprocess.run(
        ["docker", "run", "--rm", "--network=none", f"--volume={folder}:/folder"]
        + ["--entrypoint=/bin/sh", image, "-c", "rm -rf /folder/*"],
        check=True,
    )


@pytest.fixture(scope="module")
def server(request, job, image, tmp_path_factory, trap_library):
    assert job.done.returncode == 0, job.done.stdout + job.done.stderr
    port = free_port()
    trap = set_trap(tmp_path_factory.mktemp("serving"), trap_library)
    done = run("serve.sh", job.base, port, image=image, options=job.options + trap.options)
    container = f"local-test-serve-{port}"
    yield Server(port, container, done), trap
    subprocess.run(["docker", "rm", "--force", container], capture_output=True, check=False)


def test_job_leaves_a_model_and_a_report(job):
    assert job.done.returncode == 0, job.done.stdout + job.done.stderr
    assert "exit code: 0" in job.done.stdout
    model = {path.name for path in (job.base / "model").iterdir()}
    assert {"model.json", "weights.safetensors", "reference.png"} <= model
    report = job.base / "output" / "data"
    assert {"metrics.jsonl", "evaluation.json"} <= {path.name for path in report.iterdir()}
    assert list(report.glob("*.png"))
    assert not (job.base / "output" / "failure").exists()


def test_train_prints_metrics_and_where_files_lie(job):
    printed = job.done.stdout

    assert re.search(r"Testing Accuracy: \d\.\d{4}", printed)
    assert re.search(r"^last epoch:$", printed, re.M)
    assert f"files under {job.base}:" in printed
    assert re.search(r"^  model/weights\.safetensors +[\d,]+$", printed, re.M)


def test_job_gets_strings_as_the_platform_sends_them(job):
    config = job.base / "input" / "config"

    assert json.loads((config / "hyperparameters.json").read_text()) == {
        "network": "small_cnn",
        "pretrained": "false",
        "fine_tune": "all",
        "image_size": "32",
        "epochs": "2",
        "debug_save_interval": "1",
    }
    channels = json.loads((config / "inputdataconfig.json").read_text())
    assert channels["training"]["TrainingInputMode"] == "File"
    assert json.loads((config / "resourceconfig.json").read_text())["hosts"] == ["algo-1"]


def test_training_looks_up_no_name_and_leaves_home_alone(job):
    assert job.done.returncode == 0, job.done.stdout + job.done.stderr
    assert looked_up(job.trap) == []
    assert list(job.trap.home.iterdir()) == []


def test_a_job_is_diagnosed_without_a_network_as_any_user(job, image):
    done = run("diagnose.sh", job.base, image=image, options=job.options)

    assert done.returncode in (0, 3), done.stdout + done.stderr
    assert (done.returncode == 3) == bool(re.search(r"^\w+ +IssuesFound ", done.stdout, re.M))
    assert re.search(r"^exploding_tensor +NoIssuesFound ", done.stdout, re.M)
    assert re.search(r"^overall_system_usage +NoIssuesFound ", done.stdout, re.M)
    page = Path(re.search(r"^report: (\S+)$", done.stdout, re.M)[1])
    assert page.is_relative_to(job.base)
    verdicts = json.loads(page.with_suffix(".json").read_text())["verdicts"]
    assert {each["rule"] for each in verdicts} > {"vanishing_gradient", "dataloader"}


def test_a_diagnosis_of_nothing_is_refused(job, image, tmp_path):
    done = run("diagnose.sh", tmp_path, image=image, options=job.options)

    assert done.returncode == 2
    assert "nothing that a diagnosis reads" in done.stderr


def test_server_becomes_ready(server):
    ready, _ = server

    assert ready.done.returncode == 0, ready.done.stderr
    assert f"ready: http://127.0.0.1:{ready.port}" in ready.done.stdout
    assert "curl -H 'Content-Type: image/jpeg'" in ready.done.stdout


def test_the_server_has_a_page_to_try_the_model(server):
    ready, _ = server

    with urllib.request.urlopen(f"http://127.0.0.1:{ready.port}", timeout=5) as answer:
        page = answer.read().decode()

    assert "that address has a page" in ready.done.stdout
    assert "Choose photos" in page


def test_every_photo_gets_a_label(server, job, image):
    ready, _ = server
    photos = sorted((job.data / "test").rglob("*.jpg"))

    done = run("predict.sh", *photos, "--port", ready.port, image=image)

    assert done.returncode == 0, done.stdout + done.stderr
    rows = [line.split() for line in done.stdout.splitlines()[1:-1]]
    assert [row[0] for row in rows] == [str(photo) for photo in photos]
    assert {row[1] for row in rows} <= set(COLOURS)
    assert all(0 < float(row[2]) <= 1 for row in rows)
    assert f"{len(photos)} of {len(photos)} photos have a label" in done.stdout


def test_a_file_that_is_no_photo_has_its_reason_in_the_table(server, job, image, tmp_path):
    ready, _ = server
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no photo")
    photo = next((job.data / "test").rglob("*.jpg"))

    done = run("predict.sh", broken, photo, "--port", ready.port, image=image)

    assert done.returncode == 1
    assert f"{broken}" in done.stdout
    assert "HTTP 400: " in done.stdout
    assert "1 of 2 photos have a label" in done.stdout


def test_inspect_describes_image_and_model(job, image):
    assert job.done.returncode == 0, job.done.stdout + job.done.stderr

    done = run("inspect.sh", job.base, image=image)

    assert done.returncode == 0, done.stderr
    for line in (
        rf"image: {re.escape(image)}",
        r"  platform  linux/amd64",
        r"  train +trains a classifier .*",
        r"  serve +serves the model .*",
        r"  torch +2\.14\.1.*",
        r"  network +small_cnn",
        r"  labels +\[\"blue\", \"green\", \"red\"\]",
    ):
        assert re.search(rf"^{line}$", done.stdout, re.M), f"{line} is not in\n{done.stdout}"


def test_server_stops_in_time_and_left_no_trace(server, job, image, docker):
    """The last of the module for each user: it stops the server."""
    ready, trap = server
    photo = next((job.data / "test").rglob("*.jpg"))
    run("predict.sh", photo, "--port", ready.port, image=image)

    # the platform's local mode waits 10 s; docker kills after that, with another exit code
    docker("stop", "--time=10", ready.container, check=True)

    code = docker("inspect", "--format={{.State.ExitCode}}", ready.container).stdout
    assert code.strip() == "0", docker("logs", ready.container).stderr
    assert looked_up(trap) == []
    assert list(trap.home.iterdir()) == []


def test_failed_job_prints_its_reason(image, tmp_path):
    data = make_photos(tmp_path / "photos", each=4)

    done = run("train.sh", data, tmp_path / "ml", "--", "epochs=many", image=image)

    assert done.returncode == 1
    assert "exit code: 1" in done.stdout
    assert "failure reason:\n  hyperparameter: " in done.stdout
    assert "epochs" in done.stdout


def test_second_job_in_one_folder_starts_afresh(image, tmp_path):
    (tmp_path / "photos").mkdir()
    base = tmp_path / "ml"
    run("train.sh", tmp_path / "photos", base, "--", "epochs=1", image=image)
    (base / "checkpoints" / "old").touch()
    (base / "model" / "old").touch()

    run("train.sh", tmp_path / "photos", base, "--", "epochs=1", image=image, RESUME="1")
    kept = (base / "checkpoints" / "old").exists()
    run("train.sh", tmp_path / "photos", base, "--", "epochs=1", image=image)

    assert kept
    assert not (base / "checkpoints" / "old").exists()
    assert not (base / "model" / "old").exists()


def test_server_that_cannot_start_says_why(image, tmp_path):
    (tmp_path / "model").mkdir()
    port = free_port()

    done = run("serve.sh", tmp_path, port, image=image)

    assert done.returncode == 1
    assert "the server ended with exit code" in done.stderr
    left = ["docker", "ps", "--all", "--quiet", "--filter", f"name=local-test-serve-{port}$"]
    assert subprocess.run(left, capture_output=True, text=True, check=True).stdout == ""


@pytest.mark.parametrize(
    ("script", "arguments", "message"),
    [
        pytest.param("train.sh", [], "expected DATA_FOLDER", id="no data"),
        pytest.param("train.sh", ["missing"], "'missing' is no folder", id="data missing"),
        pytest.param("train.sh", [".", "x", "--", "epochs"], "not NAME=VALUE", id="no value"),
        pytest.param("train.sh", [".", "tests"], "something else", id="base in use"),
        pytest.param("serve.sh", ["missing"], "no model in 'missing'", id="no model"),
        pytest.param("serve.sh", [".", "http"], "'http' is no port", id="bad port"),
        pytest.param("predict.sh", [], "at least one PHOTO", id="no photo"),
        pytest.param("predict.sh", ["missing.jpg"], "'missing.jpg' is no file", id="no file"),
        pytest.param("predict.sh", ["README.md", "--port", "1"], "no server at", id="no server"),
        pytest.param("inspect.sh", ["a", "b"], "expected at most BASE", id="too many"),
    ],
)
def test_bad_usage_is_refused(script, arguments, message, monkeypatch, image, tmp_path):
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "file").touch()
    (tmp_path / "README.md").touch()
    monkeypatch.chdir(tmp_path)

    done = run(script, *arguments, image=image)

    assert done.returncode == 2
    assert message in done.stderr
    assert f"usage: local_test/{script}" in done.stderr


def test_missing_image_is_named(docker, tmp_path):
    done = run("train.sh", tmp_path, tmp_path / "ml", image="no-such-image:none")

    assert done.returncode == 2
    assert "no image 'no-such-image:none': build it with `make image`" in done.stderr


@pytest.mark.real_data
@pytest.mark.timeout(3600)
def test_real_photos_train_serve_and_are_answered(image, tmp_path):
    """ResNet50 from scratch on real photos; SOAK=1 at the full 224 pixels."""
    data = Path(os.environ.get("DATA_DIR", "missing")) / "hymenoptera"
    if not data.is_dir():
        pytest.skip("no DATA_DIR with hymenoptera: the real photos are not tested")
    size = 224 if os.environ.get("SOAK") == "1" else 64
    base, port = tmp_path / "ml", free_port()
    photos = sorted(path for path in data.rglob("*") if path.is_file())
    strays = [path for path in photos if path.suffix == ".gif"]

    hyperparameters = ("network=resnet50", "pretrained=false", "fine_tune=all", "epochs=2")
    trained = run(
        "train.sh",
        data,
        base,
        "--",
        *hyperparameters,
        f"image_size={size}",
        image=image,
        timeout=3000,
    )
    assert trained.returncode == 0, trained.stdout + trained.stderr
    assert strays[0].name in trained.stdout + trained.stderr
    served = run("serve.sh", base, port, image=image)
    try:
        assert served.returncode == 0, served.stderr
        done = run("predict.sh", *photos, "--port", port, image=image)
    finally:
        container = f"local-test-serve-{port}"
        subprocess.run(["docker", "rm", "--force", container], capture_output=True, check=False)

    rows = done.stdout.splitlines()[1:-1]
    refused = [row for row in rows if "HTTP " in row]
    assert len(strays) == 1
    assert len(rows) == len(photos)
    assert len(refused) == 1, done.stdout
    assert refused[0].startswith(str(strays[0]))
    assert "HTTP 400: " in refused[0]
    assert all(name in refused[0] for name in ("JPEG", "PNG", "WebP", "BMP", "TIFF"))
    assert f"{len(photos) - 1} of {len(photos)} photos have a label" in done.stdout
    assert done.returncode == 1
