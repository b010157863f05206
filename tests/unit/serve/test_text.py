"""JSON and base64 without trust."""

import base64
import json

import pytest

from serve import text
from serve.refusal import PayloadError, TooLargeError


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"[" * 500_000 + b"]" * 500_000, id="deep lists"),
        pytest.param(b'{"a":' * 200_000 + b"1" + b"}" * 200_000, id="deep objects"),
        pytest.param(b"[NaN]", id="not a number"),
        pytest.param(b"1" * 5000, id="a number of thousands of digits"),
        pytest.param(b"\xff\xfe\xfd", id="no text"),
    ],
)
def test_absurd_json_is_refused(body: bytes) -> None:
    with pytest.raises(PayloadError) as caught:
        text.parse(body, "")

    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("body", "message"),
    [
        pytest.param(b"[" + b"[]," * 1_000_001 + b"1]", "lists and objects", id="empty lists"),
        pytest.param(b"[" + b"{}," * 1_000_001 + b"1]", "lists and objects", id="empty objects"),
        pytest.param(b"[" + b'"ab",' * 500_001 + b"1]", "quotes", id="short texts"),
        pytest.param(b"[" + b"1," * 10_000_001 + b"1]", "values", id="numbers"),
    ],
)
def test_json_that_would_take_far_more_memory_than_bytes_is_refused(
    body: bytes, message: str
) -> None:
    with pytest.raises(TooLargeError, match=message):
        text.parse(body, "")


def test_a_whole_request_of_large_tensors_is_read() -> None:
    plane = [[0.5] * 224] * 224
    body = json.dumps({"instances": [[plane] * 3] * 8}).encode()

    assert len(text.parse(body, "")["instances"]) == 8


@pytest.mark.parametrize("head", ["", "data:image/jpeg;base64,"])
@pytest.mark.parametrize("count", range(5))
@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode, base64.encodebytes])
def test_base64_of_any_kind_is_read(head: str, count: int, encode) -> None:
    data = b"\xfb\xff\xbf" * 30 + bytes(count)

    whole = encode(data).decode()

    assert text.photo(head + whole) == text.photo(head + whole.strip().rstrip("=")) == data


@pytest.mark.parametrize(
    "given",
    ["@@@@", "AAAA=AAA", "A", "é", "data:,AAAA", "data:image/png;base64", "data:a;base64,AA AA=é"],
)
def test_what_is_no_base64_is_refused(given: str) -> None:
    with pytest.raises(PayloadError):
        text.photo(given)
