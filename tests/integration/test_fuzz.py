"""Property: no body, type or header of a client's ever hurts the server.

FUZZ_EXAMPLES bodies (200 unless it says otherwise) are sent to a real server; the same ones every
time.
"""

import json
import os

import numpy as np
import psutil
import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serve import accept, payload
from tests import make
from tests.serving import Server

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "200"))
PHOTOS = [make.photo(name) for name in ("JPEG", "PNG", "WEBP", "BMP", "TIFF")]
TENSORS = [
    make.npy(np.zeros((1, 3, 4, 4), np.float32)),
    make.npy(np.zeros((2, 5, 3), np.uint8)),
    make.npy(np.full((1, 3, 2, 2), np.inf)),
]
MULTIPART = b'--e\r\nContent-Disposition: form-data; name="a"\r\n\r\n%s\r\n--e--\r\n' % PHOTOS[0]
WHOLE = [*PHOTOS, *TENSORS, MULTIPART, b'{"instances": [[[[0.5]],[[1]],[[2]]]]}']

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


def test_a_good_photo_is_answered_after_all_of_it(server: Server) -> None:
    answer = server.invoke(PHOTOS[0])

    assert answer.status_code == 200
    assert "Traceback" not in server.log.read_text()
    assert requests.get(f"{server.url}/ping", timeout=2).status_code == 200
