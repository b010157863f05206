"""Property: no body, type or header of a client's ever hurts the server.

FUZZ_EXAMPLES bodies (200 unless it says otherwise) are sent to a real server; the same ones every
time.
"""

import json
import os
import socket
from pathlib import Path

import numpy as np
import psutil
import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serve import accept, payload
from tests import broken, make
from tests.serving import Server

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "200"))
PHOTOS = [make.photo(name) for name in ("JPEG", "PNG", "WEBP", "BMP", "TIFF")]
TENSORS = [
    make.npy(np.zeros((1, 3, 4, 4), np.float32)),
    make.npy(np.zeros((2, 5, 3), np.uint8)),
    make.npy(np.full((1, 3, 2, 2), np.inf)),
]
MULTIPART = b'--e\r\nContent-Disposition: form-data; name="a"\r\n\r\n%s\r\n--e--\r\n' % PHOTOS[0]
ODD = [make_it() for make_it in broken.READ.values()]
WHOLE = [*PHOTOS, *ODD, *TENSORS, MULTIPART, b'{"instances": [[[[0.5]],[[1]],[[2]]]]}']

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["image", "instances", "id", "x"]), inner, max_size=3)
    ),
    max_leaves=12,
)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A whole body with bytes replaced, and cut somewhere."""
    body = bytearray(draw(st.sampled_from(WHOLE)))
    for _ in range(draw(st.integers(0, 4))):
        body[draw(st.integers(0, min(len(body), 600) - 1))] = draw(st.integers(0, 255))
    return bytes(body[: draw(st.integers(0, len(body)))])


def in_forms(value: object) -> bytes:
    return json.dumps({"instances": [value, {"image": value}]}).encode()


BODIES = st.one_of(
    damaged(),
    st.sampled_from(WHOLE),
    st.binary(max_size=300),
    VALUES.map(lambda value: json.dumps(value).encode()),
    VALUES.map(in_forms),
    st.lists(VALUES, max_size=4).map(lambda lines: "\n".join(map(json.dumps, lines)).encode()),
    st.integers(1, 100_000).map(lambda depth: b"[" * depth),
    st.integers(1, 100_000).map(lambda count: b'{"image": "' + b"/9j/" * count + b'"}'),
)
TYPES = st.one_of(
    st.sampled_from([*payload.ACCEPTED, "multipart/form-data; boundary=e", None]),
    st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=30),
)
ACCEPTS = st.one_of(
    st.sampled_from([*accept.OFFERED, "*/*", None]),
    st.text(st.sampled_from("ajtext/csv*;q=0.1,"), max_size=30),
)
ATTRIBUTES = st.sampled_from(["", "top_k=2", "top_k=-1", "top_k=99999999999999", "a=b;c"])


@pytest.fixture(scope="module")
def worker(server: Server) -> psutil.Process:
    return server.worker()


@settings(
    max_examples=EXAMPLES,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(body=BODIES, content_type=TYPES, wanted=ACCEPTS, attributes=ATTRIBUTES)
def test_no_payload_hurts_the_server(
    server: Server,
    worker: psutil.Process,
    body: bytes,
    content_type: str | None,
    wanted: str | None,
    attributes: str,
) -> None:
    engine = server.engine().pid
    answer = server.invoke(
        body, content_type, wanted, X_Amzn_SageMaker_Custom_Attributes=attributes
    )
    good = server.invoke(PHOTOS[0])

    assert answer.status_code in (200, 400, 406, 413, 415), answer.text
    if answer.status_code != 200:
        assert isinstance(answer.json()["error"], str)
    assert good.status_code == 200
    assert (server.worker(), server.engine().pid) == (worker, engine)


BROKEN = {
    **{name: (make_it, (200,)) for name, make_it in broken.READ.items()},
    # the larger ones are longer than a body may be
    **{name: (make_it, (400, 413)) for name, (make_it, _) in broken.REFUSED.items()},
    **{name: (make_it, (413,)) for name, make_it in broken.TOO_LARGE.items()},
}
MOST_GROWTH = 64 << 20
"""Of the HTTP process, for photos of a million pixels and bodies of 2 MiB: some 9 bytes a pixel on
each processor, and the bodies."""


def peak_bytes(process: psutil.Process) -> int:
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def test_no_broken_photo_costs_the_server_more_than_a_photo(
    server: Server, worker: psutil.Process
) -> None:
    server.invoke(PHOTOS[0])
    engine, before = server.engine().pid, peak_bytes(worker)

    answers = {name: server.invoke(make_it()) for name, (make_it, _) in BROKEN.items()}
    in_json = server.invoke(b'{"image": "' + b"A" * 2_000_000 + b'"}', "application/json")

    wrong = {
        name: (answer.status_code, answer.text[:200])
        for name, answer in answers.items()
        if answer.status_code not in BROKEN[name][1]
    }
    assert not wrong
    assert in_json.status_code == 400
    assert (server.worker(), server.engine().pid) == (worker, engine)
    assert peak_bytes(worker) - before < MOST_GROWTH


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("top_k=2\r\nX-Injected: 1", id="a line of its own"),
        pytest.param("top_k=2\nSet-Cookie: a=b", id="a bare line feed"),
        pytest.param("top_k=2\x00\x1b[31m", id="control characters"),
        pytest.param("top_k=2\xff\xfe", id="bytes beyond ASCII"),
        pytest.param("top_k=" + "9" * 3000, id="far too long"),
    ],
)
def test_a_header_of_the_callers_makes_none_of_the_answers(server: Server, value: str) -> None:
    head = (
        f"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\n"
        f"X-Amzn-SageMaker-Custom-Attributes: {value}\r\n"
        f"Content-Length: {len(PHOTOS[0])}\r\nConnection: close\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(head.encode("latin-1") + PHOTOS[0])
        answer = b"".join(iter(lambda: connection.recv(65536), b""))

    lines = answer.partition(b"\r\n\r\n")[0].split(b"\r\n")
    names = {line.partition(b":")[0].lower() for line in lines[1:]}
    assert lines[0].split()[1] in (b"200", b"400")
    assert not names & {b"x-injected", b"set-cookie"}
    assert all(b"\x00" not in line and b"\x1b" not in line and b"\n" not in line for line in lines)


def test_a_good_photo_is_answered_after_all_of_it(server: Server) -> None:
    answer = server.invoke(PHOTOS[0])

    assert answer.status_code == 200
    assert "Traceback" not in server.log.read_text()
    assert requests.get(f"{server.url}/ping", timeout=2).status_code == 200
