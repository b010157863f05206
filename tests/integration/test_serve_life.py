"""The server's life: how it starts, tells the truth, survives, and ends."""

import base64
import json
import os
import re
import shutil
import signal
import socket
import stat
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
import requests

from artifact import archive
from tests import faults, make, serving
from tests.load import Load
from tests.serving import ROOT, Server

PHOTO = make.photo()
RED_SECONDS = 2
SLACK_SECONDS = 1
"""For a machine that runs other tests beside this one."""


@pytest.fixture(scope="module")
def hardy(tiny_artifact: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that is hurt by the tests of this module, one after the other."""
    log = tmp_path_factory.mktemp("hardy") / "log"
    with serving.running(tiny_artifact, log) as ready:
        yield ready


@pytest.fixture
def copy(tiny_artifact: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_artifact, tmp_path / "base"))


def test_a_killed_engine_costs_503s_at_once_and_comes_back(hardy: Server) -> None:
    load = Load(hardy)
    time.sleep(0.5)
    old = hardy.engine()
    old.kill()
    hardy.wait(503, RED_SECONDS)
    hardy.wait(200)
    time.sleep(0.3)
    load.stop()

    assert hardy.engine().pid != old.pid
    assert set(load.statuses) == {200, 503}
    assert load.statuses[-1] == 200
    assert load.slowest < 5
    assert "died with SIGKILL" in hardy.log.read_text()


def test_a_stopped_engine_is_seen_within_two_seconds_and_replaced(hardy: Server) -> None:
    old = hardy.engine()
    old.suspend()
    answers: list[requests.Response] = []
    asking = threading.Thread(target=lambda: answers.append(hardy.invoke(PHOTO)))
    asking.start()
    hardy.wait(503, RED_SECONDS + SLACK_SECONDS)
    reason = hardy.ping().json()["reason"]
    asking.join()
    hardy.wait(200)

    assert "stopped or stuck" in reason
    assert answers[0].status_code == 503
    assert len(answers[0].json()["id"]) == 32
    assert answers[0].headers["Retry-After"] == "1"
    assert serving.gone(old)
    assert hardy.invoke(PHOTO).status_code == 200


@pytest.mark.parametrize("suspended", [False, True], ids=["running engine", "stopped engine"])
def test_a_killed_http_process_comes_back_and_takes_its_engine_along(
    hardy: Server, suspended: bool
) -> None:
    worker, engine = hardy.worker(), hardy.engine()
    if suspended:
        engine.suspend()
    worker.kill()

    assert serving.gone(engine, 2)
    assert serving.gone(worker)
    hardy.wait(200)
    assert hardy.invoke(PHOTO).status_code == 200


def test_a_stopped_http_process_is_replaced_and_takes_its_engine_along(hardy: Server) -> None:
    worker, engine = hardy.worker(), hardy.engine()
    worker.suspend()

    assert serving.gone(worker, 5)
    assert serving.gone(engine, 2)
    hardy.wait(200)
    assert hardy.invoke(PHOTO).status_code == 200
    assert f"(pid {worker.pid}) is stopped and is replaced" in hardy.log.read_text()


def test_a_pause_of_all_processes_ends_none(hardy: Server) -> None:
    """As of a frozen container: longer than an engine may be silent, by the clock."""
    every = [psutil.Process(hardy.process.pid), hardy.worker(), hardy.engine()]
    for each in every:
        each.suspend()
    time.sleep(3)
    for each in reversed(every):
        each.resume()
    time.sleep(1)

    assert [hardy.worker(), hardy.engine()] == every[1:]
    assert hardy.invoke(PHOTO).status_code == 200


def test_sigterm_finishes_what_was_begun(tiny_artifact: Path, tmp_path: Path) -> None:
    planted = faults.plant(tmp_path / "planted", faults.HELD)
    path = f"{planted}:{ROOT}"
    with (
        serving.running(tiny_artifact, tmp_path / "log", PYTHONPATH=path) as server,
        ThreadPoolExecutor(8) as clients,
    ):
        with faults.held(planted):
            asked = [clients.submit(server.invoke, PHOTO) for _ in range(8)]
            names = ("batch_images_sum", "queue_images")
            serving.until(lambda: sum(server.measured(name) for name in names) == 8)
            server.process.send_signal(signal.SIGTERM)
            serving.until(lambda: not listens(server))
        statuses = [each.result().status_code for each in asked]
        code = server.process.wait(40)

    assert statuses == [200] * 8
    assert code == 0


def listens(server: Server) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", server.port)) == 0


def test_sigterm_under_load_cuts_no_answer(copy: Path, tmp_path: Path) -> None:
    with serving.running(copy, tmp_path / "log") as server:
        engine = server.engine()
        load = Load(server, clients=8)
        time.sleep(0.5)
        before = len(load.statuses)
        start = time.monotonic()
        code = server.stop()
        took = time.monotonic() - start
        load.stop()

    assert code == 0
    assert took < 25
    assert serving.gone(engine, 1)
    assert set(load.statuses[:before]) == {200}
    # refused connections after the end are the client's to see, and so is one that the kernel made
    # at the end and no server accepted, which is not every client's; no answer is ever cut short
    assert set(load.statuses) <= {200, "refused", "unanswered"}
    assert load.statuses.count("unanswered") < len(load.threads)
    assert "not ready" not in server.log.read_text()


def edit_description(model: Path, **values: object) -> None:
    path = model / archive.DESCRIPTION
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def flip_a_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        pytest.param(lambda model: shutil.rmtree(model), "model.json missing", id="no folder"),
        pytest.param(
            lambda model: (model / "model.json").unlink(),
            "found: reference.png",
            id="no json",
        ),
        pytest.param(
            lambda model: (model / "model.json").write_text("{"), "is damaged", id="no JSON"
        ),
        pytest.param(
            lambda model: edit_description(model, format_version=99), "version 99", id="version"
        ),
        pytest.param(
            lambda model: flip_a_byte(model / "weights.safetensors"), "sha256", id="a flipped bit"
        ),
        pytest.param(
            lambda model: (model / "weights.safetensors").unlink(), "missing", id="no weights"
        ),
        pytest.param(
            lambda model: edit_description(model, network="resnet18"),
            "does not fit resnet18",
            id="another network",
        ),
        pytest.param(
            lambda model: edit_description(model, reference_probabilities=[1.0, 0.0, 0.0]),
            "reference image is answered wrongly",
            id="another answer",
        ),
    ],
)
def test_a_model_that_cannot_be_loaded_ends_the_container_with_the_reason_last(
    copy: Path, tmp_path: Path, change: Callable[[Path], object], reason: str
) -> None:
    change(copy / "model")
    server = serving.launch(copy, tmp_path / "log")
    code = server.process.wait(60)

    last = server.log.read_text().splitlines()[-1]
    assert code == 1
    assert last.startswith("server stopped: model: ")
    assert reason in last
    assert "fix: " in last


def test_a_model_that_goes_bad_while_serving_turns_ping_red_and_may_be_repaired(
    copy: Path, tmp_path: Path
) -> None:
    weights = copy / "model" / "weights.safetensors"
    with serving.running(copy, tmp_path / "log") as server:
        flip_a_byte(weights)
        server.engine().kill()
        deadline = time.monotonic() + 60
        while "sha256" not in server.ping().json()["reason"] and time.monotonic() < deadline:
            time.sleep(0.1)
        state = server.ping()
        flip_a_byte(weights)
        server.wait(200)

    assert state.status_code == 503
    assert "weights.safetensors is not the file" in state.json()["reason"]


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        pytest.param({"BATCH_IMAGES": "-1"}, "BATCH_IMAGES='-1'", id="range"),
        pytest.param({"LOG_LEVEL": "loud"}, "LOG_LEVEL='loud'", id="choice"),
        pytest.param({"MAX_ITEMS": "x", "TOP_K": "y"}, "TOP_K='y'", id="all at once"),
    ],
)
def test_a_bad_setting_ends_the_container_with_the_reason_last(
    tiny_artifact: Path, tmp_path: Path, settings: dict[str, str], reason: str
) -> None:
    server = serving.launch(tiny_artifact, tmp_path / "log", **settings)
    code = server.process.wait(30)

    last = server.log.read_text().splitlines()[-1]
    assert code == 1
    assert "server not started: setting" in last
    assert all(name in last for name in settings)
    assert reason in last


@pytest.mark.parametrize("why", ["a setting", "a model"])
def test_a_log_of_objects_is_one_to_its_last_line(copy: Path, tmp_path: Path, why: str) -> None:
    settings = {"TOP_K": "y"} if why == "a setting" else {}
    if why == "a model":
        (copy / "model" / "model.json").unlink()
    server = serving.launch(copy, tmp_path / "log", LOG_FORMAT="json", **settings)
    code = server.process.wait(60)

    lines = [json.loads(line) for line in server.log.read_text().splitlines()]
    assert code == 1
    assert lines[-1]["level"] == "CRITICAL"
    assert re.match("server (not started: setting|stopped: model): ", lines[-1]["message"])
    assert "fix: " in lines[-1]["message"]


def test_ping_is_red_with_a_reason_until_the_reference_image_is_classified(
    tiny_artifact: Path, tmp_path: Path
) -> None:
    server = serving.launch(tiny_artifact, tmp_path / "log")
    server.wait(503)
    state, refused = server.ping().json(), server.invoke(PHOTO)
    server.wait(200)
    server.stop()

    assert (state["state"], bool(state["reason"]), bool(state["progress"])) == (
        "loading",
        True,
        True,
    )
    assert refused.status_code == 503
    assert "no engine is ready" in refused.json()["error"]
    log = server.log.read_text().splitlines()
    assert any(refused.json()["id"] in line for line in log)
    assert "ready after" in log[-2]
    assert log[-1].endswith("ping: ready")


def test_a_full_queue_is_503_with_its_limit_while_ping_stays_green(
    tiny_artifact: Path, tmp_path: Path
) -> None:
    planted = faults.plant(tmp_path / "planted", faults.HELD)
    settings = {"QUEUE_IMAGES": "2", "BATCH_IMAGES": "1", "HTTP_THREADS": "32"}
    settings["PYTHONPATH"] = f"{planted}:{ROOT}"
    with (
        serving.running(tiny_artifact, tmp_path / "log", **settings) as server,
        ThreadPoolExecutor(12) as clients,
    ):
        with faults.held(planted):
            asked = []
            for given in (1, 2):
                asked.append(clients.submit(server.invoke, PHOTO))
                serving.until(lambda given=given: server.measured("batch_images_sum") == given)
            asked += [clients.submit(server.invoke, PHOTO) for _ in range(10)]
            serving.until(lambda: sum(each.done() for each in asked) == 8)
            ping = server.ping()
        answers = [each.result() for each in asked]
        after = server.invoke(PHOTO)

    full = [answer for answer in answers if answer.status_code == 503]
    assert ping.status_code == 200
    # one is computed, one lies ready for the engine, two wait
    assert sorted(answer.status_code for answer in answers) == [200] * 4 + [503] * 8
    assert all(answer.json()["limit"] == 2 for answer in full)
    assert all("Retry-After" in answer.headers for answer in full)
    assert after.status_code == 200


def test_a_request_larger_than_a_batch_is_split_and_answered_in_order(
    tiny_artifact: Path, tmp_path: Path
) -> None:
    photos = [base64.b64encode(make.photo(seed=seed)).decode() for seed in range(7)]
    with serving.running(tiny_artifact, tmp_path / "log", BATCH_IMAGES="3") as server:
        many = server.invoke(json.dumps({"instances": photos}).encode(), "application/json")
        ones = [server.invoke(make.photo(seed=seed)) for seed in range(7)]

    together = [each["probability"] for each in many.json()["predictions"]]
    alone = [each.json()["predictions"][0]["probability"] for each in ones]
    assert together == pytest.approx(alone, abs=1e-5)
    assert len(set(alone)) > 1


def test_a_body_that_stops_arriving_is_given_up(tiny_artifact: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with (
        serving.running(tiny_artifact, log, SAGEMAKER_MODEL_SERVER_TIMEOUT="2") as server,
        socket.create_connection(("127.0.0.1", server.port), timeout=10) as sock,
    ):
        sock.sendall(b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\nabc")
        answer = sock.recv(4096)

    assert b" 408 " in answer.splitlines()[0]


def test_a_read_only_model_and_a_stray_archive_are_fine_and_nothing_is_written(
    copy: Path, tmp_path: Path
) -> None:
    model, home = copy / "model", tmp_path / "home"
    (model / "model.tar.gz").write_bytes(b"stray")
    home.mkdir()
    for path in [*model.iterdir(), model]:
        path.chmod(path.stat().st_mode & ~stat.S_IWUSR)
    before = sorted(model.iterdir())
    with serving.running(copy, tmp_path / "log", HOME=str(home)) as server:
        status = server.invoke(PHOTO).status_code
        inside = list(home.rglob("*"))
    model.chmod(0o755)

    assert status == 200
    assert inside == list(home.rglob("*")) == []
    assert sorted(model.iterdir()) == before


def test_threads_are_planned_before_the_engine_starts(hardy: Server) -> None:
    planned = hardy.engine().environ()["OMP_NUM_THREADS"]

    assert 1 <= int(planned) <= len(os.sched_getaffinity(0))


def test_killing_the_parent_leaves_nothing_behind(tiny_artifact: Path, tmp_path: Path) -> None:
    with serving.running(tiny_artifact, tmp_path / "log") as server:
        family = psutil.Process(server.process.pid).children(recursive=True)
        server.process.send_signal(signal.SIGKILL)
        server.process.wait()

        assert len(family) == 2
        assert all(serving.gone(process) for process in family)
