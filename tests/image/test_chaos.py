"""What hurts an endpoint, done to a real container: who notices, how soon, and what it costs.

All of it in both images: torch answers in the whole one, a compiled engine in the slim one.
"""

import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from tests import faults
from tests.load import PHOTO, Load
from tests.serving import Server, free_port

pytestmark = pytest.mark.usefixtures("docker")

RED_SECONDS = 2
SLACK_SECONDS = 1
"""For a machine that runs other tests beside this one."""
MISERLY = ("--read-only", "--tmpfs=/tmp:size=1m", "--shm-size=1m", "--user=12345")
"""A root that cannot be written, and very little beside it that can."""


class Container(Server):
    """A server in a container of this machine's network, so that no proxy answers in its place."""

    name: str

    def inside(self, script: str) -> str:
        done = subprocess.run(
            ["docker", "exec", "--user=0", self.name, "sh", "-c", script],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        return done.stdout.strip()

    def engines(self) -> list[int]:
        found = self.inside("grep -lx engine /proc/[0-9]*/comm").splitlines()
        return sorted(int(path.split("/")[2]) for path in found)

    def parent(self, pid: int) -> int:
        return int(self.inside(f"sed -n 's/^PPid:.//p' /proc/{pid}/status"))

    def signal(self, name: str, pid: int) -> None:
        self.inside(f"kill -{name} {pid}")


@dataclass(frozen=True)
class Served:
    image: str
    model: Path
    memory: str
    """Enough for two engines, of which one has leaked a little."""


@pytest.fixture(scope="module", params=["whole", "slim"])
def served(request: pytest.FixtureRequest) -> Served:
    if request.param == "slim":
        model = request.getfixturevalue("compiled_model")
        return Served(request.getfixturevalue("slim"), model, "400m")
    base = request.getfixturevalue("tiny_artifact")
    return Served(request.getfixturevalue("image"), base / "model", "1400m")


@contextmanager
def started(served: Served, log: Path, *options: str) -> Iterator[Container]:
    port, name = free_port(), f"chaos-{log.parent.name}"[:60]
    remove(name)  # of a run that was broken off
    with log.open("wb") as file:
        process = subprocess.Popen(
            ["docker", "run", "--rm", "--name", name, "--network=host",
             f"--env=SAGEMAKER_BIND_TO_PORT={port}", f"--volume={served.model}:/opt/ml/model:ro",
             *options, served.image, "serve"],
            stdout=file, stderr=subprocess.STDOUT,
        )  # fmt: skip
    container = Container(process, port, log)
    container.name = name
    try:
        yield container
    finally:
        remove(name)
        process.wait(60)


def remove(name: str) -> None:
    subprocess.run(["docker", "rm", "--force", name], capture_output=True, check=False)


@pytest.fixture(scope="module")
def hurt(served: Served, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    """One container for all that it has to survive, one after the other."""
    log = tmp_path_factory.mktemp("hurt") / "log"
    with started(served, log, *MISERLY) as container:
        container.wait(200)
        yield container


def test_a_full_disk_costs_nothing_not_even_a_new_engine(hurt: Container) -> None:
    hurt.inside("cat /dev/zero > /tmp/full; cat /dev/zero > /dev/shm/full")
    full = hurt.inside("df -k /tmp /dev/shm | awk '{print $4}' | tail -2").split()
    large = b"\xff\xd8\xff" + bytes(12 * 2**20)
    refused = hurt.invoke(large)
    answer = hurt.invoke(PHOTO)
    old = hurt.engines()
    hurt.signal("KILL", old[0])
    hurt.wait(503, RED_SECONDS + SLACK_SECONDS)
    hurt.wait(200)
    again = hurt.invoke(PHOTO)
    hurt.inside("rm /tmp/full /dev/shm/full")

    assert full == ["0", "0"]
    assert refused.status_code == 400  # it is no photo
    assert (answer.status_code, again.status_code) == (200, 200)
    assert hurt.engines() != old


def test_a_killed_engine_is_seen_at_once_and_replaced(hurt: Container) -> None:
    load = Load(hurt)
    time.sleep(0.5)
    old = hurt.engines()
    hurt.signal("KILL", old[0])
    hurt.wait(503, RED_SECONDS + SLACK_SECONDS)
    hurt.wait(200)
    time.sleep(0.3)
    load.stop()

    assert set(load.statuses) == {200, 503}
    assert load.statuses[-1] == 200
    assert load.slowest < 5
    assert len(hurt.engines()) == 1
    assert hurt.engines() != old


def test_a_stopped_engine_is_seen_within_two_seconds_and_replaced(hurt: Container) -> None:
    load = Load(hurt)
    time.sleep(0.5)
    old = hurt.engines()
    hurt.signal("STOP", old[0])
    red = hurt.wait(503, 2 * RED_SECONDS)
    reason = hurt.ping().json()["reason"]
    hurt.wait(200)
    time.sleep(0.3)
    load.stop()

    assert red <= RED_SECONDS + SLACK_SECONDS
    assert "stopped or stuck" in reason
    assert set(load.statuses) == {200, 503}
    assert load.statuses[-1] == 200
    assert load.slowest < 5
    assert len(hurt.engines()) == 1
    assert hurt.engines() != old


@pytest.mark.parametrize("name", ["KILL", "STOP"])
def test_a_killed_or_stopped_http_worker_is_back_within_two_seconds_with_no_engine_left_over(
    hurt: Container, name: str
) -> None:
    engine = hurt.engines()[0]
    worker = hurt.parent(engine)
    hurt.signal(name, worker)
    start = time.monotonic()
    while not answers(hurt) and time.monotonic() - start < 30:
        time.sleep(0.02)
    back = time.monotonic() - start
    hurt.wait(200)

    assert back <= 2 + SLACK_SECONDS
    assert engine not in hurt.engines()
    assert len(hurt.engines()) == 1
    assert hurt.invoke(PHOTO).status_code == 200


def answers(container: Container) -> bool:
    try:
        return container.ping().status_code in (200, 503)
    except requests.RequestException:
        return False


def test_sigterm_under_load_finishes_what_was_begun(hurt: Container) -> None:
    """The last one for this container."""
    load = Load(hurt, clients=8, pause=0.0)
    time.sleep(1)
    before = len(load.statuses)
    start = time.monotonic()
    code = hurt.stop()
    took = time.monotonic() - start
    load.stop()

    assert code == 0
    assert took < 30
    assert set(load.statuses[:before]) == {200}
    # a connection that is refused has lost nothing, nor has one that the kernel made at the end and
    # no server accepted, which is not every client's; one that is cut would have
    assert set(load.statuses) - {"unanswered"} == {200, "refused"}
    assert load.statuses.count("unanswered") < len(load.threads)


def test_a_slow_load_under_traffic_is_503_and_then_200_for_ever(
    served: Served, tmp_path: Path
) -> None:
    planted = faults.plant(tmp_path / "planted", faults.SLOW_START, SECONDS=4)
    with started(served, tmp_path / "log", *mounted(planted)) as container:
        load = Load(container, clients=4)
        container.wait(503)
        reason = container.ping().json()
        container.wait(200)
        time.sleep(0.5)
        load.stop()

    inner = [status for status in load.statuses if status != "refused"]
    first = inner.index(200)
    assert reason["state"] == "loading"
    assert set(inner[: first - 4]) == {503}
    assert set(inner[first + 4 :]) == {200}
    assert set(inner) == {200, 503}


def test_a_leaking_engine_is_replaced_before_the_memory_limit_and_no_request_fails(
    served: Served, tmp_path: Path
) -> None:
    planted = faults.plant(tmp_path / "planted", faults.LEAK, LEAK_BYTES=400_000)
    memory = (f"--memory={served.memory}", f"--memory-swap={served.memory}")
    with started(served, tmp_path / "log", *memory, *mounted(planted)) as container:
        container.wait(200)
        old, load = container.engines(), Load(container)
        deadline = time.monotonic() + 60
        while old[0] in container.engines() and time.monotonic() < deadline:
            time.sleep(0.2)
        time.sleep(0.3)
        load.stop()
        new = container.engines()
        told = requests.get(f"{container.url}/metrics", timeout=10).text
        log = container.log.read_text()

    assert old[0] not in new
    assert set(load.statuses) == {200}
    assert "a new one is started beside it" in log
    assert re.search(r"engine_restarts_total\{[^}]*\} [1-9]", told)
    assert "not ready" not in log


def mounted(planted: str) -> list[str]:
    return [f"--volume={planted}:/planted:ro", "--env=PYTHONPATH=/planted"]
