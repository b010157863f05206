"""The client that measures: what it sends, and answers in every shape a server may give them."""

import socket
import threading

import pytest

from bench.client import AnswerError, Client

PHOTO = b"\xff\xd8" + bytes(300_000)


def serve(listener, answers, heard):
    """A connection's answers in pieces, one list for each request; None ends the connection."""
    for conversation in answers:
        sock, _ = listener.accept()
        with sock:
            for pieces in conversation:
                heard.append(read(sock))
                for piece in pieces:
                    sock.sendall(piece)


def read(sock):
    """A request, or what came of it before the client ended."""
    data = b""
    while b"\r\n\r\n" not in data:
        if not (part := sock.recv(65536)):
            return data, b""
        data += part
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(head.rpartition(b"Content-Length: ")[2])
    while len(body) < length and (part := sock.recv(65536)):
        body += part
    return head, body


def asked(answers, times):
    """What a client got, and what the server heard on how many connections."""
    heard, got = [], []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=serve, args=(listener, answers, heard), daemon=True)
        server.start()
        client = Client(listener.getsockname()[1])
        try:
            for _ in range(times):
                got.append(client.ask(PHOTO))
        finally:
            client.close()
            server.join(5)
    return got, heard


def test_one_connection_asks_again_and_again_and_the_whole_photo_goes_out():
    whole = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    pieces = [b"HTTP/1.1 503 Bu", b"sy\r\ncontent-length:  3\r\nX: y\r\n\r", b"\nno", b"!"]
    got, heard = asked([[[whole], pieces, [whole]]], 3)

    assert got == [(200, b"ok"), (503, b"no!"), (200, b"ok")]
    assert [body == PHOTO for _, body in heard] == [True] * 3
    assert heard[0][0].startswith(b"POST /invocations HTTP/1.1\r\nHost: 127.0.0.1:")


def test_a_connection_that_the_server_ends_is_made_anew():
    last = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"
    got, _ = asked([[[last]], [[last]]], 2)

    assert got == [(200, b"ok")] * 2


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        pytest.param(b"HTTP/1.1 200 OK\r\n\r\nok", "without a status or a length", id="no length"),
        pytest.param(b"SSH-2.0-x\r\n\r\n", "without a status or a length", id="not HTTP"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Le", "ended before", id="half a head"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok", "ended before", id="half"),
        pytest.param(b"x" * 70_000, "does not end", id="a head without an end"),
    ],
)
def test_what_is_no_answer_is_an_error_and_no_figure(answer, message):
    with pytest.raises(AnswerError, match=message):
        asked([[[answer]]], 1)
