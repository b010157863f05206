"""Carries a program's output to the log without ever making the program wait.

A log driver that hangs fills its pipe, and a program that prints into a full pipe stands still. So
output is read as it comes, and what nobody takes is dropped once there is too much of it.
"""

import os
import select
import threading
from collections import deque

ROOM = 8 << 20
"""Bytes that may wait for a slow reader."""
PIECE = 1 << 16


class Pump:
    """From the descriptor `source`, which it closes at its end, to the descriptor `sink`."""

    def __init__(self, source: int, sink: int, room: int = ROOM) -> None:
        self._source, self._sink, self._room = source, sink, room
        self._waiting: deque[bytes] = deque()
        self._bytes = self._dropped = 0
        self._ended = False
        self._changed = threading.Condition()
        self._threads = [
            threading.Thread(target=target, name="pump", daemon=True)
            for target in (self._read, self._write)
        ]
        for thread in self._threads:
            thread.start()

    def finish(self, seconds: float) -> bool:
        """Once the program has ended: whether all of its output got out in that time."""
        for thread in self._threads:
            thread.join(seconds)
        return not any(thread.is_alive() for thread in self._threads)

    def _read(self) -> None:
        while piece := os.read(self._source, PIECE):
            with self._changed:
                if self._bytes + len(piece) > self._room:
                    self._dropped += len(piece)
                else:
                    self._append(piece)
        os.close(self._source)
        with self._changed:
            self._append(b"")
            self._ended = True

    def _append(self, piece: bytes) -> None:
        if self._dropped:
            note = f"\n({self._dropped} bytes of output dropped: the log was not read)\n"
            piece, self._dropped = note.encode() + piece, 0
        self._waiting.append(piece)
        self._bytes += len(piece)
        self._changed.notify_all()

    def _write(self) -> None:
        while (piece := self._next()) is not None:
            while piece:
                try:
                    piece = piece[os.write(self._sink, piece) :]
                except BlockingIOError:  # somebody has set the log not to block
                    select.select([], [self._sink], [])
                except OSError:  # nobody reads any more: the program goes on all the same
                    break

    def _next(self) -> bytes | None:
        with self._changed:
            self._changed.wait_for(lambda: bool(self._waiting) or self._ended)
            if not self._waiting:
                return None
            piece = self._waiting.popleft()
            self._bytes -= len(piece)
            return piece


class Output:
    """Standard output and error for a child: `stdout` and `stderr` are for `Popen`, None where a
    terminal is to be seen as one. One pipe for both where both are one log, which keeps its order.
    """

    def __init__(self) -> None:
        self._pumps: list[Pump] = []
        self.stdout = self._pipe(1)
        self.stderr = self.stdout if _same(1, 2) else self._pipe(2)

    def started(self) -> None:
        """The child holds the pipes' other ends now, and their end is its end."""
        for end in {self.stdout, self.stderr}:
            if end is not None:
                os.close(end)

    def finish(self, seconds: float) -> bool:
        return all([pump.finish(seconds) for pump in self._pumps])

    def _pipe(self, sink: int) -> int | None:
        if os.isatty(sink):
            return None
        source, end = os.pipe()
        self._pumps.append(Pump(source, sink))
        return end


def _same(one: int, other: int) -> bool:
    return os.path.samestat(os.fstat(one), os.fstat(other))
