"""One client: what it sends becomes requests one after the other, what they give goes back to it.

All of it runs in the front's thread, but for `send`. A socket is closed by that thread alone, and
never while a request of it is in hand: its number would soon be another client's.
"""

import contextlib
import socket
import time
from enum import Enum, auto
from selectors import EVENT_READ, EVENT_WRITE
from typing import TYPE_CHECKING, Any

from serve.front import framing
from serve.front.body import Body
from serve.front.received import Received
from serve.refusal import BusyError, PayloadError, Refusal, SlowClientError

if TYPE_CHECKING:
    from serve.front.acceptor import Acceptor

HEAD_SECONDS = 10.0
"""From the first byte of a head to its last."""
WINDOW_SECONDS = 10.0
WINDOW_BYTES = 10 << 10
"""A body, or an answer on its way out, that moves less than this in a window is given up: 1 KiB/s
is what the slowest of mobile networks carry."""
LINGER_SECONDS = 5.0
LINGER_BYTES = 128 << 20
"""After a refusal: what a client may still send before it reads why. A socket that is closed with
unread bytes takes the answer back."""
AHEAD_BYTES = 64 << 10
"""What a client may send ahead of its answer before it has to wait."""

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class State(Enum):
    IDLE = auto()
    HEAD = auto()
    BODY = auto()
    IN_HAND = auto()
    WRITING = auto()
    LINGER = auto()
    CLOSED = auto()


class Connection:
    def __init__(self, front: "Acceptor", sock: socket.socket, peer: Any) -> None:
        self.sock, self.peer = sock, peer
        self.state = State.IDLE
        self.began = time.monotonic()
        self.expires = self.began + front.idle_seconds
        self.request: Any = None
        self.body: Body | None = None
        self.received: Received | None = None
        self._front = front
        self._inbox = bytearray()
        self._outbox = memoryview(b"")
        self._close_after = False
        self._lingers = False
        self._discarded = 0
        self._moved = 0
        """Bytes since the window began."""
        front.watch(self, EVENT_READ)

    # -- events

    def ready(self, events: int) -> None:
        if events & EVENT_WRITE:
            self._flush()
        if events & EVENT_READ and self.state is not State.CLOSED:
            self._read()

    def _read(self) -> None:
        try:
            count = self.sock.recv_into(self._front.scratch)
        except BlockingIOError:
            return None
        except OSError:
            return self._hung_up(reset=True)
        if not count:
            return self._hung_up(reset=False)
        self._moved += count
        data = self._front.scratch[:count]
        if self.state is State.LINGER:
            self._discarded += count
            if self._discarded > LINGER_BYTES:
                self.drop()
        elif self.state is State.BODY:
            self._feed(data)
        else:
            self._inbox += data
            if self.state in (State.IN_HAND, State.WRITING):
                if len(self._inbox) > AHEAD_BYTES:
                    self._watch()
            else:
                self.advance()
        return None

    def _hung_up(self, reset: bool) -> None:
        """The client has closed its side: nothing becomes whole, or nobody waits for it."""
        if self.state is State.IN_HAND:
            if self.received is not None:
                self.received.hung_up.set()
            self._front.watch(self, 0)
        elif self.state is State.BODY and not reset:
            self._refuse(PayloadError("the body was cut short: the connection ended before it did"))
        elif self.state is State.WRITING and not reset:
            self._close_after = True
            self._front.watch(self, EVENT_WRITE)
        else:
            self.drop()

    # -- requests

    def advance(self) -> None:
        """Goes on with what has come already: the next head, and as much of its body."""
        if self.state not in (State.IDLE, State.HEAD) or not self._inbox:
            return
        now = time.monotonic()
        if self.state is State.IDLE:
            self.state, self.began, self.expires = State.HEAD, now, now + HEAD_SECONDS
        try:
            end = framing.head_end(self._inbox)
            if end < 0:
                return
            self._begin(bytes(self._inbox[:end]), now)
        except Refusal as refusal:
            self._refuse(refusal)
            return
        rest = bytes(self._inbox[end:])
        self._inbox.clear()
        self._feed(memoryview(rest))

    def _begin(self, head: bytes, now: float) -> None:
        self.request = framing.parse(head, self.peer, self._front.config)
        self.body = framing.body_of(self.request, self._front.body_limit)
        self.state = State.BODY
        self._window(now)
        if self.request._expected_100_continue:
            # gunicorn would write it once more
            self.request._expected_100_continue = False
            if not self.body.whole and len(head) == len(self._inbox):
                with contextlib.suppress(OSError):
                    self.sock.send(CONTINUE)

    def _feed(self, data: memoryview) -> None:
        body = self.body
        assert body is not None
        before, failed = body.received, None
        try:
            used = body.feed(data)
        except Refusal as refusal:
            used, failed = 0, refusal
        self._front.hold(body.received - before)
        if failed is not None:
            return self._refuse(failed)
        self._inbox += data[used:]
        if body.whole:
            return self._whole()
        if self._front.overfull():
            self._front.evict(self)
        return None

    def _whole(self) -> None:
        body = self.body
        assert body is not None
        now = time.monotonic()
        self.received = Received(
            request=self.request,
            body=body.buffer,
            bytes=body.received,
            peer=self.peer,
            local=self._front.local,
            began=self.began,
            whole=now,
            deadline=self.began + self._front.deadline_seconds,
        )
        self.state, self.expires = State.IN_HAND, float("inf")
        self._watch()
        self._front.take(self, self.received)

    # -- answers

    def send(self, data: bytes) -> int:
        """In the thread that has the answer: the bytes that the socket takes at once."""
        try:
            return self.sock.send(data)
        except OSError:
            return 0  # whatever it is, the front meets it too

    def delivered(self, data: bytes, sent: int, close: bool) -> None:
        """The request is no longer in hand; `sent` bytes of its answer are on their way."""
        hung_up = self.received is not None and self.received.hung_up.is_set()
        self._forget()
        self._answer(data, sent, close or hung_up)

    def refuse(self, refusal: Refusal) -> None:
        """Answers a request whose body has been read."""
        self._forget_body()
        close = self._front.stopping or self.request.should_close()
        data = self._front.refusal(refusal, self.request, close)
        self._forget()
        self._answer(data, 0, close)

    def _refuse(self, refusal: Refusal) -> None:
        """Where it ends is not known, or not waited for: the connection ends with the answer."""
        data = self._front.refusal(refusal, self.request, True)
        self._forget()
        self._inbox.clear()
        self._answer(data, 0, close=True, linger=True)

    def _answer(self, data: bytes, sent: int, close: bool, linger: bool = False) -> None:
        self.state = State.WRITING
        self._outbox = memoryview(data)[sent:]
        self._close_after = close
        self._lingers = linger or bool(self._inbox)
        self._front.hold(len(self._outbox))
        self._window(time.monotonic())
        if self._outbox:
            self._flush()
            if self._front.overfull():
                self._front.evict(self)
        else:
            self._written()

    def _flush(self) -> None:
        try:
            sent = self.sock.send(self._outbox)
        except BlockingIOError:
            sent = 0
        except OSError:
            return self.drop()
        self._moved += sent
        self._front.hold(-sent)
        self._outbox = self._outbox[sent:]
        if self._outbox:
            self._watch()
            return None
        return self._written()

    def _written(self) -> None:
        now = time.monotonic()
        self._outbox = memoryview(b"")
        if not self._close_after:
            self.state, self.expires = State.IDLE, now + self._front.idle_seconds
            self._watch()
            if self._inbox:
                # in its turn: what a client sends ahead must not keep the others waiting
                self._front.soon(self.advance)
        elif self._lingers:
            self.state, self.expires, self._moved = State.LINGER, now + LINGER_SECONDS, 0
            self._inbox.clear()
            self._watch()
            with contextlib.suppress(OSError):
                self.sock.shutdown(socket.SHUT_WR)
        else:
            self.drop()

    # -- time

    def expire(self, now: float) -> None:
        """Called where `expires` has passed."""
        if self.state is State.HEAD:
            self._refuse(SlowClientError(f"the head took more than {HEAD_SECONDS:.0f} s"))
        elif self.state is State.BODY:
            limit = self._front.deadline_seconds
            if now >= self.began + limit:
                text = f"the body did not arrive within the request's time, {limit:.0f} s"
                self._refuse(SlowClientError(text))
            elif self._moved < WINDOW_BYTES:
                text = f"less than {WINDOW_BYTES:,} bytes of the body in {WINDOW_SECONDS:.0f} s"
                self._refuse(SlowClientError(text))
            else:
                self._window(now)
        elif self.state in (State.WRITING, State.LINGER) and self._moved >= WINDOW_BYTES:
            self._window(now)
        elif self.state is not State.IN_HAND:
            self.drop()

    def _window(self, now: float) -> None:
        self._moved, self.expires = 0, now + WINDOW_SECONDS
        if self.state is State.BODY:
            self.expires = min(self.expires, self.began + self._front.deadline_seconds)

    def speed(self, now: float) -> float:
        """Bytes a second since it began, infinite where it cannot be evicted for its slowness."""
        if self.state is State.BODY and self.body is not None:
            return self.body.received / (now - self.began + 0.001)
        if self.state is State.WRITING:
            return self._moved / WINDOW_SECONDS
        return float("inf")

    @property
    def held(self) -> int:
        """Bytes of its body that have come, or of its answer that have not gone."""
        return self.body.received if self.body is not None else len(self._outbox)

    def evict(self) -> None:
        """The server needs its memory or its socket for others."""
        if self.state is State.BODY:
            self._refuse(BusyError("too many bodies are on their way; this one was the slowest"))
        else:
            self.drop()

    # -- ends

    def drop(self) -> None:
        """Closes it, whatever is left. Not while a request is in hand."""
        if self.state is State.CLOSED:
            return
        self._front.hold(-len(self._outbox))
        self._forget()
        self.state = State.CLOSED
        self._front.unwatch(self)
        self.sock.close()

    def _forget_body(self) -> None:
        if self.body is not None:
            self._front.hold(-self.body.received)
        self.body = None

    def _forget(self) -> None:
        self._forget_body()
        self.request = self.received = None

    def _watch(self) -> None:
        wanted = EVENT_READ
        if self.state is State.WRITING:
            wanted |= EVENT_WRITE
        if self.state in (State.IN_HAND, State.WRITING) and len(self._inbox) > AHEAD_BYTES:
            wanted &= ~EVENT_READ
        self._front.watch(self, wanted)
