"""Clients of bad manners, against a real server: they cost the others nothing."""

import contextlib
import re
import resource
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from tests import faults, make, serving
from tests.serving import ROOT, Server

PHOTO = make.photo()
MANY = 1000
PING_SECONDS = 2.0
"""What the platform waits for; a benchmark has the milliseconds."""
HEAD = b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A fault that does nothing until a test holds the engine."""
    return faults.plant(tmp_path_factory.mktemp("planted"), faults.HELD)


@pytest.fixture(scope="module")
def unshaken(
    tiny_artifact: Path, planted: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    log = tmp_path_factory.mktemp("unshaken") / "log"
    settings = {"HTTP_THREADS": "4", "PYTHONPATH": f"{planted}:{ROOT}"}
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 2 * MANY)), hard))
    with serving.running(tiny_artifact, log, **settings) as ready:
        yield ready
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def dial(server: Server) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=10)


def others_are_served(server: Server, seconds: float = 1.5) -> None:
    """Photos and pings, on new connections and on kept ones."""
    end = time.monotonic() + seconds
    with requests.Session() as kept, ThreadPoolExecutor(2) as pool:
        while time.monotonic() < end:
            asked = [pool.submit(server.invoke, PHOTO) for _ in range(2)]
            start = time.monotonic()
            assert kept.get(f"{server.url}/ping", timeout=PING_SECONDS).status_code == 200
            assert time.monotonic() - start < PING_SECONDS
            assert [each.result().status_code for each in asked] == [200, 200]


@contextlib.contextmanager
def manners(kind: str, server: Server) -> Iterator[None]:
    """Bad ones, while the block runs."""
    with contextlib.ExitStack() as stack:
        count = MANY if kind == "1,000 connections" else 100
        socks = [stack.enter_context(dial(server)) for _ in range(count)]
        stop = threading.Event()
        if kind == "a length that is a lie":
            for sock in socks:
                sock.sendall(HEAD % 20_000_000 + PHOTO)
        if kind == "a byte at a time":
            dripping = threading.Thread(target=drip, args=(socks, stop))
            dripping.start()
            stack.callback(dripping.join)
        if kind == "hang-ups":
            leaving = threading.Thread(target=leave, args=(server, stop))
            leaving.start()
            stack.callback(leaving.join)
        stack.callback(stop.set)
        yield


def drip(socks: list[socket.socket], stop: threading.Event) -> None:
    for byte in HEAD % len(PHOTO) + PHOTO:
        for sock in socks:
            with contextlib.suppress(OSError):
                sock.sendall(bytes([byte]))
        if stop.wait(0.5):
            return


def leave(server: Server, stop: threading.Event) -> None:
    while not stop.is_set():
        for cut in (10, len(HEAD) + 50, None):
            with contextlib.suppress(OSError), dial(server) as sock:
                sock.sendall((HEAD % len(PHOTO) + PHOTO)[:cut])
        time.sleep(0.01)


@pytest.mark.parametrize(
    "kind", ["1,000 connections", "a byte at a time", "a length that is a lie", "hang-ups"]
)
def test_bad_manners_cost_the_others_nothing(unshaken: Server, kind: str) -> None:
    engine, worker = unshaken.engine().pid, unshaken.worker()
    threads = worker.num_threads()
    with manners(kind, unshaken):
        others_are_served(unshaken)
        more_threads = worker.num_threads() - threads

    assert unshaken.engine().pid == engine
    assert more_threads <= 4
    assert "Traceback" not in unshaken.log.read_text()


def test_the_server_forgets_them(unshaken: Server) -> None:
    with manners("a length that is a lie", unshaken):
        pass
    deadline = time.monotonic() + 10
    while len(unshaken.worker().net_connections()) > 20 and time.monotonic() < deadline:
        time.sleep(0.1)

    assert len(unshaken.worker().net_connections()) <= 20


SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"Content-Length: 4\r\nContent-Length: 44\r\n\r\nabcd",
        b"Transfer-Encoding: chunked\r\n\r\n4\nabcd\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n2\r\nabcd\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b" folded: 1\r\nContent-Length: 4\r\n\r\nabcd",
        b"Content-Length: 4\nX: y\r\n\r\nabcd",
    ],
)
def test_a_request_behind_one_that_two_servers_would_read_differently_is_never_answered(
    unshaken: Server, head: bytes
) -> None:
    with dial(unshaken) as sock:
        sock.sendall(b"POST /invocations HTTP/1.1\r\nHost: x\r\n" + head + SMUGGLED)
        parts = []
        while part := sock.recv(65536):
            parts.append(part)

    answers = b"".join(parts)
    assert answers.count(b"HTTP/1.1 ") == 1
    assert answers.split()[1] in (b"400", b"501")


def test_work_that_nobody_waits_for_is_dropped_before_the_engine(
    unshaken: Server, planted: str
) -> None:
    """Eight photos are sent to an engine that is busy; six of their clients leave."""
    unshaken.invoke(PHOTO)
    before = given(unshaken)
    with faults.held(planted):
        first = sent(unshaken)
        serving.until(lambda: given(unshaken) == before + 1)
        leaving = [sent(unshaken) for _ in range(6)]
        last = sent(unshaken)
        serving.until(lambda: unshaken.measured("queue_images") == 3)  # of its four threads
        for sock in leaving:
            sock.close()
        serving.until(lambda: not left(unshaken))
    answers = [first.recv(65536), last.recv(65536)]
    first.close()
    last.close()

    assert [each.split()[1] for each in answers] == [b"200", b"200"]
    # the first was on its way to the engine already
    assert given(unshaken) - before <= 2


def sent(server: Server) -> socket.socket:
    sock = dial(server)
    sock.sendall(HEAD % len(PHOTO) + PHOTO)
    return sock


def given(server: Server) -> float:
    """Images that the engine has or had."""
    return server.measured("batch_images_sum")


def left(server: Server) -> list[Any]:
    """Connections that a client has closed and the server has not."""
    return [each for each in server.worker().net_connections() if each.status == "CLOSE_WAIT"]


def test_refusals_without_number_are_few_lines(
    tiny_artifact: Path, planted: str, tmp_path: Path
) -> None:
    few = {"HTTP_THREADS": "1", "QUEUE_IMAGES": "1", "PYTHONPATH": f"{planted}:{ROOT}"}
    with serving.running(tiny_artifact, tmp_path / "log", **few) as server:
        with ThreadPoolExecutor(20) as pool:
            with faults.held(planted):
                asked = [pool.submit(server.invoke, PHOTO) for _ in range(200)]
                serving.until(lambda: sum(each.done() for each in asked) > 50)
            statuses = [each.result().status_code for each in asked]
        said = [line for line in server.log.read_text().splitlines() if "503" in line]

        told = requests.get(f"{server.url}/metrics", timeout=10).text

    refused = statuses.count(503)
    assert refused > 50
    assert set(statuses) == {200, 503}
    assert 1 <= len(said) <= 3
    counted = re.findall(r"requests_total{.*BusyError.*503.*} (\d+)", told)
    assert sum(map(int, counted)) == refused
