"""The front with an application of a few lines behind it: what clients do to each other, or not."""

import contextlib
import http.client
import os
import select
import socket
import threading
import time
from types import SimpleNamespace

import pytest
from gunicorn.config import Config

from serve.front import connection
from serve.front.acceptor import YOUNG_SECONDS, Acceptor, Limits
from serve.front.received import KEY
from serve.reply import Reply

LIMITS = {
    "connections": 50,
    "requests": 4,
    "threads": 2,
    "body": 100_000,
    "held": 200_000,
    "deadline_seconds": 5.0,
    "idle_seconds": 5.0,
    "stop_seconds": 5.0,
}


class Application:
    """Answers with what it was sent; /invocations waits until it is released."""

    def __init__(self):
        self.go = threading.Event()
        self.begun = threading.Semaphore(0)
        self.received = []

    def __call__(self, environ, start_response):
        body = environ["wsgi.input"].read()
        if environ["PATH_INFO"] == "/invocations":
            self.received.append(environ[KEY])
            self.begun.release()
            self.go.wait(10)
        if environ["PATH_INFO"] == "/large":
            body = b"x" * 8_000_000
        if environ["PATH_INFO"] == "/broken":
            raise RuntimeError("an accident")
        start_response("200 OK", [("Content-Length", str(len(body)))])
        return [body]


@contextlib.contextmanager
def serving(direct=None, **limits):
    application = Application()
    listener = socket.create_server(("127.0.0.1", 0), backlog=1000)
    wakeup = os.pipe()
    for end in wakeup:
        os.set_blocking(end, False)
    alive = threading.Event()
    alive.set()
    front = Acceptor(
        application, [listener], Limits(**LIMITS | limits), Config(), wakeup, direct=direct
    )
    port = listener.getsockname()[1]
    looks = []

    def living():
        looks.append(time.monotonic())
        return alive.is_set()

    thread = threading.Thread(target=front.run, args=(living,))
    thread.start()

    def stop():
        alive.clear()
        os.write(wakeup[1], b"\0")

    try:
        yield SimpleNamespace(
            port=port, app=application, stop=stop, thread=thread, looks=looks, wakeup=wakeup[0]
        )
    finally:
        application.go.set()
        stop()
        thread.join(10)
        for end in wakeup:
            os.close(end)
        assert not thread.is_alive()


@pytest.fixture
def front():
    with serving() as running:
        yield running


def dial(front):
    return socket.create_connection(("127.0.0.1", front.port), timeout=8)


def send(front, data, shut=False):
    """Everything that comes back until the server closes."""
    with dial(front) as sock:
        sock.sendall(data)
        if shut:
            sock.shutdown(socket.SHUT_WR)
        return everything(sock)


def everything(sock):
    parts = []
    while part := sock.recv(65536):
        parts.append(part)
    return b"".join(parts)


def post(path, body=b"abc", *fields):
    lines = [f"POST {path} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", *fields, "", ""]
    return "\r\n".join(lines).encode() + body


def ping(front):
    client = http.client.HTTPConnection("127.0.0.1", front.port, timeout=5)
    with contextlib.closing(client):
        client.request("GET", "/ping")
        return client.getresponse().status


CLOSE = "Connection: close"
OLD_SECONDS = 2.5 * YOUNG_SECONDS
"""After which what a client sent is no longer young, on a machine that reads it late, too."""


def test_requests_on_one_connection_are_answered_one_after_the_other(front):
    answers = send(front, post("/a", b"one") + post("/b", b"two") + post("/c", b"three", CLOSE))

    assert [each.rpartition(b"\r\n")[2] for each in answers.split(b"HTTP/1.1 200 OK")[1:]] == [
        b"one", b"two", b"three",
    ]  # fmt: skip


def test_what_is_answered_directly_never_reaches_the_application():
    def answer(received):
        if received.body.getvalue() == b"accident":
            raise RuntimeError("an accident")
        return Reply(499, received.body.getvalue() * 2, "text/plain", {"X-More": "yes"})

    with serving(direct={("POST", "/direct"): answer}) as front:
        asked = post("/direct", b"one") + post("/direct", b"two") + post("/other", b"x", CLOSE)
        first, second, third = send(front, asked).split(b"HTTP/1.1 ")[1:]
        last = send(front, post("/direct", b"three", CLOSE))
        other_method = send(front, post("/direct", b"x", CLOSE).replace(b"POST", b"PUT"))
        broken = send(front, post("/direct", b"accident"))

    head, _, body = first.partition(b"\r\n\r\n")
    assert head.splitlines()[0] == b"499 Unknown"
    assert {b"Content-Type: text/plain", b"Content-Length: 6", b"X-More: yes",
            b"Connection: keep-alive"} < set(head.splitlines())  # fmt: skip
    assert (body, second[-6:]) == (b"oneone", b"twotwo")
    assert third.endswith(b"\r\n\r\nx")
    assert b"Connection: close" in last
    assert other_method.endswith(b"\r\n\r\nx")
    assert b"500 Internal" in broken
    assert b"accident" not in broken


def test_chunks_byte_by_byte_are_a_body(front):
    head = b"POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    with dial(front) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in head + b"3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n":
            sock.sendall(bytes([byte]))
        answer = everything(sock)

    assert answer.endswith(b"\r\n\r\nabcd")


@pytest.mark.parametrize(
    ("version", "fields", "closes"),
    [
        ("1.1", [], False),
        ("1.1", [CLOSE], True),
        ("1.0", [], True),
        ("1.0", ["Connection: keep-alive"], False),
    ],
)
def test_a_connection_is_kept_as_its_version_says(front, version, fields, closes):
    request = post("/a", b"abc", *fields).replace(b"HTTP/1.1", f"HTTP/{version}".encode())
    with dial(front) as sock:
        sock.sendall(request)
        answer = sock.recv(65536)
        sock.settimeout(0.3)
        try:
            closed = sock.recv(1) == b""
        except TimeoutError:
            closed = False

    assert b" 200 OK" in answer
    assert (f"Connection: {'close' if closes else 'keep-alive'}".encode() in answer) is True
    assert closed is closes


def test_head_has_the_length_and_no_body(front):
    answer = send(front, post("/a", b"abc", CLOSE).replace(b"POST", b"HEAD"))

    assert b"Content-Length: 3\r\n" in answer
    assert answer.endswith(b"\r\n\r\n")


def test_who_asks_first_is_told_to_go_on_and_who_asks_too_much_is_not(front):
    with dial(front) as sock:
        sock.sendall(post("/a", b"", "Expect: 100-continue").replace(b"Length: 0", b"Length: 3"))
        first = sock.recv(100)
        sock.sendall(b"abc")
        second = sock.recv(65536)
    large = post("/a", b"", "Expect: 100-continue").replace(b"Length: 0", b"Length: 100001")

    assert first == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert b" 200 OK" in second
    assert b"100 Continue" not in second
    assert send(front, large).startswith(b"HTTP/1.1 413 ")


def test_a_refused_body_is_read_so_that_the_client_can_read_why(front):
    client = http.client.HTTPConnection("127.0.0.1", front.port, timeout=5)
    with contextlib.closing(client):
        client.request("POST", "/invocations", bytes(5_000_000))
        answer = client.getresponse()
        text = answer.read()

    assert answer.status == 413
    assert b'"limit": 100000, "received": 5000000' in text


def test_a_refused_head_ends_the_connection_and_what_hides_behind_it(front):
    hidden = b"POST /a HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 40\r\n\r\n" + post(
        "/hidden"
    )
    answers = send(front, hidden)

    assert answers.count(b"HTTP/1.1 ") == 1
    assert answers.startswith(b"HTTP/1.1 400 ")
    assert b"Connection: close" in answers


def test_a_body_that_is_cut_short_is_told_so(front):
    answer = send(front, post("/a", b"abc").replace(b": 3", b": 300"), shut=True)

    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"cut short" in answer


def test_a_defect_is_a_500_with_an_id(front):
    answer = send(front, post("/broken"))

    assert answer.startswith(b"HTTP/1.1 500 ")
    assert b'"id": "' in answer
    assert ping(front) == 200


def test_what_is_beyond_the_limit_is_503_and_ping_is_not(front):
    busy = [dial(front) for _ in range(5)]
    for sock in busy:
        sock.sendall(post("/invocations", b"abc", "X-Amzn-SageMaker-Inference-Id: 7", CLOSE))
    refused = [sock for sock in busy if comes_soon(sock)]
    text = everything(refused[0])
    status = ping(front)
    other = send(front, post("/other", b"abc", CLOSE))
    front.app.go.set()
    served = [sock.recv(65536) for sock in busy if sock not in refused]
    for sock in busy:
        sock.close()

    assert len(refused) == 1
    assert text.startswith(b"HTTP/1.1 503 ")
    assert b"Retry-After: 1\r\n" in text
    assert b"Connection: close\r\n" in text
    assert b"X-Amzn-SageMaker-Inference-Id: 7\r\n" in text
    assert b'"limit": 4' in text
    assert status == 200
    assert other.startswith(b"HTTP/1.1 200 ")
    assert all(each.startswith(b"HTTP/1.1 200 ") for each in served)


def comes_soon(sock, seconds=0.4):
    sock.settimeout(seconds)
    try:
        return bool(sock.recv(1, socket.MSG_PEEK))
    except TimeoutError:
        return False
    finally:
        sock.settimeout(8)


def test_who_hangs_up_is_not_worked_for(front):
    busy = [dial(front) for _ in range(4)]
    for sock in busy:
        sock.sendall(post("/invocations"))
        time.sleep(0.05)
    for _ in range(2):
        front.app.begun.acquire(timeout=5)
    begun = len(front.app.received)
    for sock in busy:
        sock.close()
    known = [received.hung_up.wait(5) for received in front.app.received]
    ping(front)  # what came before it has been seen by now
    front.app.go.set()
    deadline = time.monotonic() + 5
    later = b""
    while b" 200 OK" not in later and time.monotonic() < deadline:
        later = send(front, post("/invocations", b"abc", CLOSE))

    assert (begun, known) == (2, [True, True])
    assert later.startswith(b"HTTP/1.1 200 ")
    assert len(front.app.received) == 3


def test_late_work_is_not_begun():
    with (
        serving(deadline_seconds=0.5, threads=1) as front,
        dial(front) as first,
        dial(front) as second,
    ):
        first.sendall(post("/invocations"))
        front.app.begun.acquire(timeout=5)
        second.sendall(post("/invocations"))
        time.sleep(0.7)
        front.app.go.set()
        answer = second.recv(65536)

    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"time ran out" in answer
    assert len(front.app.received) == 1


@pytest.mark.parametrize("sent", [b"", b"POST /a HT", post("/a").replace(b": 3", b": 30")])
def test_more_connections_than_there_may_be_cost_the_oldest_its_own(front, sent):
    held = []
    for _ in range(70):
        sock = dial(front)
        sock.sendall(sent)
        held.append(sock)
    status = ping(front)
    open_still = sum(not comes_soon_or_ended(sock) for sock in held)
    for sock in held:
        sock.close()

    assert status == 200
    assert 40 <= open_still <= 50


def comes_soon_or_ended(sock):
    sock.settimeout(0.01)
    try:
        sock.recv(1)
    except TimeoutError:
        return False
    except OSError:
        return True
    return True


def test_many_bodies_at_once_cost_the_slowest_and_the_memory_stays_bounded():
    with serving(deadline_seconds=60.0) as front, contextlib.ExitStack() as open_socks:
        slow = [open_socks.enter_context(dial(front)) for _ in range(4)]
        for sock in slow:
            sock.sendall(post("/a").replace(b": 3", b": 99999") + bytes(60_000))
        time.sleep(OLD_SECONDS)
        answer = send(front, post("/b", bytes(90_000), CLOSE))
        refused = [sock for sock in slow if comes_soon(sock, 0.05)]
        text = refused[0].recv(65536)

    assert answer.startswith(b"HTTP/1.1 200 ")
    assert text.startswith(b"HTTP/1.1 503 ")
    assert 1 <= len(refused) <= 3


def test_hundreds_of_small_bodies_that_stand_still_cost_a_large_one_nothing():
    limits = {"connections": 500, "body": 150_000, "deadline_seconds": 60.0}
    with serving(**limits) as front, contextlib.ExitStack() as open_socks:
        standing = [open_socks.enter_context(dial(front)) for _ in range(300)]
        large = open_socks.enter_context(dial(front))
        for sock in standing:
            sock.sendall(post("/a").replace(b": 3", b": 99999") + b"x")
        large.sendall(post("/a").replace(b": 3", b": 140000") + bytes(120_000))
        time.sleep(OLD_SECONDS)
        honest = open_socks.enter_context(dial(front))
        whole = post("/b", bytes(110_000), CLOSE)
        honest.sendall(whole[:100_000])
        refused = large.recv(65536)
        honest.sendall(whole[100_000:])
        answer = everything(honest)
        reached = sum(comes_soon(sock, 0.001) for sock in standing)

    assert answer.startswith(b"HTTP/1.1 200 ")
    assert refused.startswith(b"HTTP/1.1 503 ")
    assert reached == 0


@pytest.mark.parametrize(
    ("path", "begins"),
    [
        pytest.param(b"POST /a HTT", b"HTTP/1.1 408 ", id="head"),
        pytest.param(post("/a").replace(b": 3", b": 999"), b"HTTP/1.1 408 ", id="body"),
        pytest.param(b"", b"", id="nothing"),
    ],
)
def test_a_byte_at_a_time_is_given_up(monkeypatch, path, begins):
    monkeypatch.setattr(connection, "HEAD_SECONDS", 0.5)
    monkeypatch.setattr(connection, "WINDOW_SECONDS", 0.5)
    with serving(idle_seconds=0.5) as front, dial(front) as sock:
        sock.sendall(path)
        dripping = threading.Event()

        def drip():
            while path and not dripping.wait(0.1):
                with contextlib.suppress(OSError):
                    sock.sendall(b"x")

        thread = threading.Thread(target=drip)
        thread.start()
        answer = sock.recv(65536)
        dripping.set()
        thread.join()

    assert answer.startswith(begins)
    assert bool(answer) is bool(begins)


def test_who_does_not_take_its_answer_is_given_up(monkeypatch):
    monkeypatch.setattr(connection, "WINDOW_SECONDS", 0.5)
    with serving(held=10**9) as front, dial(front) as sock:
        sock.sendall(post("/large"))
        time.sleep(3)
        sock.settimeout(3)
        taken = 0
        with contextlib.suppress(ConnectionError):
            taken = len(everything(sock))

    assert taken < 8_000_000


def test_a_large_answer_arrives_whole(front):
    with serving(held=10**9) as front:
        answer = send(front, post("/large", b"", CLOSE))

    assert len(answer.partition(b"\r\n\r\n")[2]) == 8_000_000


def test_the_end_waits_for_what_was_begun_and_for_nothing_else(front):
    with dial(front) as begun, dial(front) as kept, dial(front):
        begun.sendall(post("/invocations"))
        front.app.begun.acquire(timeout=5)
        kept.sendall(post("/a"))
        first = kept.recv(65536)
        front.stop()
        time.sleep(0.2)
        kept.sendall(post("/a"))
        last = everything(kept)
        with pytest.raises(OSError, match="refused"):
            dial(front)
        front.app.go.set()
        answer = everything(begun)
        front.thread.join(3)

    assert b"keep-alive" in first
    assert b"200 OK" in last
    assert b"Connection: close" in last
    assert b"200 OK" in answer
    assert not front.thread.is_alive()


def test_a_server_that_ends_is_not_silent(front):
    with dial(front) as begun:
        begun.sendall(post("/invocations"))
        front.app.begun.acquire(timeout=5)
        front.stop()
        time.sleep(0.5)
        before = len(front.looks)
        time.sleep(1.5)
        beats = len(front.looks) - before
        front.app.go.set()
        everything(begun)

    assert beats >= 2


def test_the_end_comes_even_where_work_does_not_end():
    with serving(stop_seconds=0.5) as front, dial(front) as sock:
        sock.sendall(post("/invocations"))
        front.app.begun.acquire(timeout=5)
        front.stop()
        answer = sock.recv(65536)
        front.thread.join(8)
        front.app.go.set()
        # the work's thread tells its end by a pipe that is closed, and its number another's, soon
        told, _, _ = select.select([front.wakeup], [], [], 8)

    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"ending" in answer
    assert told
