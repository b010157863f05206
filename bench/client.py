"""One client: a connection that it keeps, and as little work as asking takes.

Clients share the processors with the server that they measure. Of Python's own client a photo costs
three times as much, half of it in a parser for e-mail that reads the answer's head.
"""

import re
import socket

HOST = "127.0.0.1"
TIMEOUT_SECONDS = 120
REQUEST = (
    b"POST /invocations HTTP/1.1\r\nHost: %s:%d\r\nContent-Type: image/jpeg\r\n"
    b"Accept: application/json\r\nContent-Length: %d\r\n\r\n"
)
END = b"\r\n\r\n"
MAX_HEAD_BYTES = 64 << 10
STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})[ \r]")
LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,9})[ \t]*\r\n", re.IGNORECASE)
CLOSES = re.compile(rb"\r\nconnection:[ \t]*close[ \t]*\r\n", re.IGNORECASE)


class AnswerError(OSError):
    """What came back is no answer whose end can be known."""


class Client:
    def __init__(self, port: int) -> None:
        self._port = port
        self._sock: socket.socket | None = None

    def ask(self, photo: bytes) -> tuple[int, bytes]:
        """Status and body of the answer. Raises OSError."""
        sock = self._sock = self._sock or self._connected()
        head = REQUEST % (HOST.encode(), self._port, len(photo))
        sent = sock.sendmsg([head, photo])
        if sent < len(head):
            sock.sendall(head[sent:])
        sock.sendall(memoryview(photo)[max(0, sent - len(head)) :])
        status, body, closes = _answer(sock)
        if closes:
            self.close()
        return status, body

    def close(self) -> None:
        if self._sock is not None:
            self._sock.close()
        self._sock = None

    def _connected(self) -> socket.socket:
        sock = socket.create_connection((HOST, self._port), timeout=TIMEOUT_SECONDS)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock


def _answer(sock: socket.socket) -> tuple[int, bytes, bool]:
    """Status, body, and whether the server ends the connection with it."""
    data = bytearray()
    while (end := data.find(END)) < 0:
        if len(data) > MAX_HEAD_BYTES:
            raise AnswerError("the answer's head does not end")
        data += _more(sock)
    head = bytes(data[: end + len(END)])
    status, length = STATUS.match(head), LENGTH.search(head)
    if status is None or length is None:
        raise AnswerError(f"an answer without a status or a length: {head[:200]!r}")
    whole = len(head) + int(length[1])
    while len(data) < whole:
        data += _more(sock)
    return int(status[1]), bytes(data[len(head) : whole]), CLOSES.search(head) is not None


def _more(sock: socket.socket) -> bytes:
    data = sock.recv(65536)
    if not data:
        raise AnswerError("the connection ended before the answer did")
    return data
