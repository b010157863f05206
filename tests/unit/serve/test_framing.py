"""Where heads and bodies end, and what no server may read in its own way."""

import pytest
from gunicorn.config import Config

from serve.front import framing
from serve.refusal import Refusal

CHUNKED = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
LIMIT = 1000


def read(text, step):
    """Status and message of the refusal, or the body and what came behind it."""
    data = text.encode("latin-1")
    try:
        end = framing.head_end(bytearray(data))
        assert end >= 0
        body = framing.body_of(framing.parse(data[:end], ("127.0.0.1", 1), Config()), LIMIT)
        at = end
        while at < len(data) and not body.whole:
            at += body.feed(memoryview(data[at : at + step]))
    except Refusal as refusal:
        return refusal.status, refusal.message
    return body.buffer.getvalue() if body.whole else None, data[at:]


@pytest.mark.parametrize("step", [1, 3, 1000])
@pytest.mark.parametrize(
    ("text", "body"),
    [
        pytest.param("POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcGET", b"abc", id="length"),
        pytest.param("GET / HTTP/1.1\r\n\r\nGET", b"", id="no length is no body"),
        pytest.param(f"{CHUNKED}3\r\nabc\r\n0\r\n\r\nGET", b"abc", id="a chunk"),
        pytest.param(f"{CHUNKED}1\r\na\r\n02\r\nbc\r\n000\r\n\r\nGET", b"abc", id="leading zeros"),
        pytest.param(
            f'{CHUNKED}3 ;a=b;c="d e"\r\na\r\n\r\n0\r\nX: y\r\n\r\nGET', b"a\r\n", id="extensions"
        ),
        pytest.param(f"{CHUNKED}0\r\n\r\nGET", b"", id="no chunk"),
    ],
)
def test_a_body_ends_where_it_says_and_the_rest_is_the_next_request(text, body, step):
    assert read(text, step) == (body, b"GET")


@pytest.mark.parametrize("step", [1, 7, 4096])
@pytest.mark.parametrize(
    ("text", "status"),
    [
        pytest.param("POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
                     400, id="length and chunks"),
        pytest.param("POST / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc", 400,
                     id="two lengths"),
        pytest.param("POST / HTTP/1.1\r\nContent-Length: 3, 3\r\n\r\nabc", 400, id="a list"),
        pytest.param("POST / HTTP/1.1\r\nContent-Length: +3\r\n\r\nabc", 400, id="a sign"),
        pytest.param("POST / HTTP/1.1\r\nContent-Length: -3\r\n\r\nabc", 400, id="negative"),
        pytest.param("POST / HTTP/1.1\r\nContent-Length: 0x3\r\n\r\nabc", 400, id="hex"),
        pytest.param("POST / HTTP/1.1\r\nContent-Length: \xb2\r\n\r\nabc", 400, id="a raised 2"),
        pytest.param("POST / HTTP/1.1\r\nContent-Length:\r\n\r\nabc", 400, id="empty length"),
        pytest.param("POST / HTTP/1.1\r\nContent-Length : 3\r\n\r\nabc", 400, id="space"),
        pytest.param("POST / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n", 413,
                     id="huge length"),
        pytest.param("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n"
                     "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, id="chunked twice"),
        pytest.param("POST / HTTP/1.1\r\nTransfer-Encoding: xchunked\r\n\r\n", 501, id="xchunked"),
        pytest.param("POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501,
                     id="gzip below"),
        pytest.param("POST / HTTP/1.1\r\nTransfer-Encoding: identity\r\n\r\n", 400, id="identity"),
        pytest.param("POST / HTTP/1.1\r\nTransfer-Encoding: chunked, identity\r\n\r\n", 400,
                     id="identity above"),
        pytest.param("POST / HTTP/1.1\r\nTransfer-Encoding:\x0bchunked\r\n\r\n", 400, id="tab"),
        pytest.param("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400,
                     id="chunks in 1.0"),
        pytest.param("POST / HTTP/1.1\r\nX: a\r\n b\r\n\r\n", 400, id="folded"),
        pytest.param("POST / HTTP/1.1\r\n X: a\r\n\r\n", 400, id="folded first"),
        pytest.param("POST / HTTP/1.1\r\nX: a\nContent-Length: 3\r\n\r\nabc", 400, id="bare LF"),
        pytest.param("POST / HTTP/1.1\r\nX: a\rContent-Length: 3\r\n\r\nabc", 400, id="bare CR"),
        pytest.param("POST / HTTP/1.1\r\nX: a\0b\r\n\r\n", 400, id="a zero byte"),
        pytest.param("POST / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400, id="two hosts"),
        pytest.param("POST / HTTP/1.1\r\n: a\r\n\r\n", 400, id="no name"),
        pytest.param("POST / HTTP/2.0\r\n\r\n", 400, id="another version"),
        pytest.param("POST  / HTTP/1.1\r\n\r\n", 400, id="two spaces"),
        pytest.param("POST /\x80 HTTP/1.1\r\n\r\n", 400, id="a byte that is no address"),
        pytest.param("\r\n\r\nPOST / HTTP/1.1\r\n\r\n", 400, id="empty lines first"),
        pytest.param("POST / HTTP/1.1\r\nExpect: a pony\r\n\r\n", 417, id="expectation"),
        pytest.param(f"POST /{'a' * 5000} HTTP/1.1\r\n\r\n", 414, id="long address"),
        pytest.param(f"POST / HTTP/1.1\r\nX: {'a' * 9000}\r\n\r\n", 431, id="long field"),
        pytest.param("POST / HTTP/1.1\r\n" + "X: a\r\n" * 101 + "\r\n", 431, id="many fields"),
        pytest.param(f"POST / HTTP/1.1\r\n{'X: aaaa' * 6000}\r\n\r\n", 431, id="a huge head"),
        pytest.param(f"{CHUNKED}zz\r\n", 400, id="no size"),
        pytest.param(f"{CHUNKED}\r\n", 400, id="empty size"),
        pytest.param(f"{CHUNKED}0x3\r\nabc\r\n", 400, id="0x"),
        pytest.param(f"{CHUNKED}-1\r\nabc\r\n", 400, id="negative size"),
        pytest.param(f"{CHUNKED} 3\r\nabc\r\n", 400, id="space before"),
        pytest.param(f"{CHUNKED}3 \r\nabc\r\n", 400, id="space behind"),
        pytest.param(f"{CHUNKED}1_0\r\nabc\r\n", 400, id="underscore"),
        pytest.param(f"{CHUNKED}3\nabc\r\n", 400, id="size with bare LF"),
        pytest.param(f"{CHUNKED}3\r\nabcd\r\n", 400, id="longer than said"),
        pytest.param(f"{CHUNKED}3\r\nabc\n0\r\n\r\n", 400, id="chunk with bare LF"),
        pytest.param(f"{CHUNKED}3;a=\x01\r\nabc\r\n", 400, id="bad extension"),
        pytest.param(f"{CHUNKED}3;a\rb\r\nabc\r\n", 400, id="CR in an extension"),
        pytest.param(f"{CHUNKED}{'0' * 17}3\r\nabc\r\n", 400, id="a long size"),
        pytest.param(f"{CHUNKED}3e9\r\n", 413, id="more than the limit"),
        pytest.param(f"{CHUNKED}{'f' * 16}\r\n", 413, id="the largest size"),
        pytest.param(f"{CHUNKED}3;{'a' * 5000}", 400, id="endless extension"),
        pytest.param(f"{CHUNKED}0\r\nContent-Length: 3\r\n\r\n", 400, id="a length at the end"),
        pytest.param(f"{CHUNKED}0\r\nno colon\r\n\r\n", 400, id="a bad trailer"),
        pytest.param(f"{CHUNKED}0\r\n" + "X: y\r\n" * 20_000, 400, id="endless trailers"),
    ],
)  # fmt: skip
def test_what_could_be_read_in_two_ways_is_refused(text, status, step):
    assert read(text, step)[0] == status


def test_chunks_that_carry_next_to_nothing_are_refused_before_they_cost_much():
    body = framing.ChunkedBody(10**6, None)
    chunks = memoryview(b"1\r\nx\r\n" * 10**5)
    with pytest.raises(Refusal, match="too small"):
        body.feed(chunks)

    assert body.received < 20_000


def test_memory_is_taken_for_what_was_sent_not_for_what_was_promised():
    head = b"POST / HTTP/1.1\r\nContent-Length: 1000000000\r\n\r\n"
    body = framing.body_of(framing.parse(head, ("127.0.0.1", 1), Config()), 2 * 10**9)
    body.feed(memoryview(b"abc"))

    assert (body.whole, body.buffer.getbuffer().nbytes) == (False, 3)


@pytest.mark.parametrize("text", ["", "GET / HT", "GET / HTTP/1.1\r\nHost: x\r\n"])
def test_a_head_that_has_not_ended_is_waited_for(text):
    assert framing.head_end(bytearray(text.encode())) == -1
