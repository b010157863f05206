"""A connection between two hosts' supervisors: JSON objects, a line each, and a sign of life.

Nothing here blocks, and what comes in is bounded: a peer that says too much, or no JSON, is cut.
"""

import json
import select
import socket
import time
from typing import Any

MAX_LINE_BYTES = 16 << 10
BEAT_SECONDS = 1.0
SILENCE_SECONDS = 15.0
"""Without a sign of life a host counts as lost. A host under load is late by a second or two, and
all hosts have to have ended within 30."""

Message = dict[str, Any]


class Link:
    """One connection; `closed` holds why it is no more."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.connection = connection
        self.address = str(connection.getpeername()[0])
        self.closed = ""
        self.heard = self._told = time.monotonic()
        self._received = b""

    def fileno(self) -> int:
        return self.connection.fileno()

    def send(self, kind: str, **values: Any) -> None:
        self._told = time.monotonic()
        try:
            self.connection.sendall(json.dumps({"kind": kind, **values}).encode() + b"\n")
        except OSError as error:  # also a buffer that is full because the peer reads no more
            self.close(f"its connection is broken ({error.strerror or error})")

    def beat(self) -> None:
        if time.monotonic() - self._told >= BEAT_SECONDS:
            self.send("beat")

    def receive(self) -> list[Message]:
        """What has come in since; call it when the connection can be read."""
        try:
            data = self.connection.recv(MAX_LINE_BYTES)
        except BlockingIOError:
            return []
        except OSError as error:
            self.close(f"its connection is broken ({error.strerror or error})")
            return []
        if not data:
            self.close("it closed its connection")
            return []
        self.heard = time.monotonic()
        *lines, self._received = (self._received + data).split(b"\n")
        if len(self._received) > MAX_LINE_BYTES:
            self.close("it sent more than a message may hold")
            return []
        return self._parse(lines)

    def _parse(self, lines: list[bytes]) -> list[Message]:
        try:
            messages = [json.loads(line) for line in lines]
        except (ValueError, RecursionError):
            messages = [None]
        if not all(isinstance(each, dict) and isinstance(each.get("kind"), str)
                   for each in messages):  # fmt: skip
            self.close("it sent what is no message")
            return []
        return [message for message in messages if message["kind"] != "beat"]

    def lost(self) -> str:
        """Why the peer counts as lost, or nothing."""
        silent = time.monotonic() - self.heard
        if not self.closed and silent > SILENCE_SECONDS:
            self.close(f"it has been silent for {silent:.0f} s")
        return self.closed

    def close(self, why: str) -> None:
        self.closed = self.closed or why
        self.connection.close()

    def finish(self) -> None:
        """Ends our side; what was sent still arrives. A plain close might cut it off."""
        try:
            self.connection.shutdown(socket.SHUT_WR)
        except OSError:
            self.close("it closed its connection")


class Links:
    """The connections of this host: the leader has one per host, the others one to the leader."""

    def __init__(self) -> None:
        self.of: dict[str, Link] = {}
        self.listener: socket.socket | None = None

    def tell(self, kind: str, **values: Any) -> None:
        for link in self.of.values():
            if not link.closed:
                link.send(kind, **values)

    def listen(self, seconds: float) -> list[tuple[str, Message]]:
        """Waits for at most so long; returns host and message for each that came."""
        for link in self.of.values():
            if not link.closed:
                link.beat()
        live = {host: link for host, link in self.of.items() if not link.closed}
        ready = readable(live.values(), seconds)
        return [
            (host, message)
            for host, link in live.items()
            if link in ready
            for message in link.receive()
        ]

    def lost(self) -> list[tuple[str, str]]:
        """Hosts that are no longer there, with the reason; each is told once."""
        gone = [(host, why) for host, link in self.of.items() if (why := link.lost())]
        for host, _ in gone:
            del self.of[host]
        return gone

    def close(self, seconds: float) -> None:
        """Says goodbye: waits, at most so long, until every peer has read what was said."""
        deadline = time.monotonic() + seconds
        for link in self.of.values():
            if not link.closed:
                link.finish()
        while live := [link for link in self.of.values() if not link.closed]:
            left = deadline - time.monotonic()
            if left <= 0:
                break
            for link in readable(live, left):
                link.receive()
        for link in self.of.values():
            link.close("done")
        if self.listener is not None:
            self.listener.close()


def readable(links: Any, seconds: float) -> list[Any]:
    """Those of the links and sockets that something has come in on."""
    waiting = list(links)
    if not waiting:
        time.sleep(max(0.0, seconds))
        return []
    return select.select(waiting, [], [], max(0.0, seconds))[0]
