"""The front's thread: it accepts, reads and writes for every client, and hands over whole requests.

What an application does is done by the threads of two pools, one for invocations and one for the
rest; /ping is answered here, so that nothing is ever before it.
"""

import contextlib
import logging
import os
import re
import selectors
import socket
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from serve.front import application
from serve.front.application import App, Direct
from serve.front.connection import Connection, State
from serve.front.pool import Pool
from serve.front.received import Received
from serve.refusal import BusyError, Refusal

TICK_SECONDS = 0.25
SCRATCH_BYTES = 256 << 10
"""What one client may send before it is another one's turn."""
ACCEPTS = 64
"""New connections before it is the turn of those that are there."""
STOP_IDLE_SECONDS = 0.5
"""After the order to stop: for a request that is on its way on a kept connection."""
YOUNG_SECONDS = 1.0
"""A client that came later than this is given up after the others."""
SMALL_BYTES = 16 << 10
"""To give up one that holds less would free next to nothing."""
CONTROL_THREADS = 16
CONTROL_REQUESTS = 64

PING = "/ping"
WORK = re.compile(r"/invocations|/models/[^/]+/invoke")

log = logging.getLogger("serve")


@dataclass(frozen=True)
class Limits:
    connections: int
    """Open at a time; beyond it the one that has been idle longest is closed."""
    requests: int
    """Whole, and waiting or worked on, of those for the engine."""
    threads: int
    body: int
    """Bytes of one body."""
    held: int
    """Bytes of all bodies, and of answers that clients have not taken yet."""
    deadline_seconds: float
    idle_seconds: float
    stop_seconds: float
    """From the order to stop until what is still in hand is refused."""


class Acceptor:
    """`wakeup` is a pipe, read end and write end, neither of which blocks. `refused` is told what
    never reaches the application; what `direct` answers does not reach it either."""

    def __init__(
        self,
        app: App,
        listeners: list[socket.socket],
        limits: Limits,
        config: Any,
        wakeup: tuple[int, int],
        refused: Callable[[Refusal], None] = lambda refusal: None,
        direct: Direct | None = None,
    ) -> None:
        self.config, self.local = config, listeners[0].getsockname()
        self.body_limit = limits.body
        self.deadline_seconds, self.idle_seconds = limits.deadline_seconds, limits.idle_seconds
        self.scratch = memoryview(bytearray(SCRATCH_BYTES))
        self.stopping = False
        self._app, self._limits, self._listeners = app, limits, listeners
        self._wakeup, self._refused = wakeup, refused
        self._direct = direct or {}
        self._selector = selectors.DefaultSelector()
        self._connections: set[Connection] = set()
        self._calls: deque[Callable[[], None]] = deque()
        self._held = 0
        self._evicting = False
        self._swept = 0.0
        self._work = Lane("request", limits.threads, limits.requests)
        self._control = Lane("control", CONTROL_THREADS, CONTROL_REQUESTS)

    def run(self, alive: Callable[[], bool]) -> None:
        """Until `alive`, asked several times a second until the end, says no; then what was begun
        is finished."""
        self._selector.register(self._wakeup[0], selectors.EVENT_READ, self._woken)
        for listener in self._listeners:
            listener.setblocking(False)
        self._accepting(True)
        while alive():
            self._turn()
        self._stop(alive)
        self._selector.close()

    def _turn(self) -> None:
        """One round of everything that waits."""
        happened = self._selector.select(0 if self._calls else TICK_SECONDS)
        # first: a client that has its answer may have sent its next request, which can be read
        for _ in range(len(self._calls)):
            self._guard(None, self._calls.popleft())
        for key, events in happened:
            if isinstance(key.data, Connection):
                if key.data.state is not State.CLOSED:
                    self._guard(key.data, partial(key.data.ready, events))
            else:
                key.data(key.fileobj)
        now = time.monotonic()
        if now - self._swept >= TICK_SECONDS:
            self._sweep(now)

    def _guard(self, connection: Connection | None, call: Callable[[], None]) -> None:
        """A defect of ours ends one connection and not the server."""
        try:
            call()
        except Exception:
            log.exception("a connection failed")
            if connection is not None and connection.state is not State.IN_HAND:
                connection.drop()

    def _sweep(self, now: float) -> None:
        self._swept = now
        for each in [each for each in self._connections if now >= each.expires]:
            self._guard(each, partial(each.expire, now))
        if not self.stopping:
            self._accepting(True)

    # -- connections

    def _accepting(self, wanted: bool) -> None:
        registered = self._selector.get_map()
        for listener in self._listeners:
            if wanted and listener not in registered:
                self._selector.register(listener, selectors.EVENT_READ, self._accept)
            elif not wanted and listener in registered:
                self._selector.unregister(listener)

    def _accept(self, listener: Any) -> None:
        for _ in range(ACCEPTS):
            try:
                sock, peer = listener.accept()
            except (BlockingIOError, ConnectionError):
                return None
            except OSError as error:
                log.warning("no connection can be accepted: %s", error)
                return None if self._make_place() else self._accepting(False)
            if len(self._connections) >= self._limits.connections and not self._make_place():
                sock.close()
                return self._accepting(False)  # until the next sweep
            sock.setblocking(False)
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._connections.add(Connection(self, sock, peer))
        return None

    def _make_place(self) -> bool:
        """Closes the connection that is least of use; False where all of them are in hand."""
        rank = {State.LINGER: 0, State.IDLE: 1, State.HEAD: 2, State.BODY: 3, State.WRITING: 3}
        free = [each for each in self._connections if each.state in rank]
        if not free:
            return False
        now = time.monotonic()

        def use(each: Connection) -> tuple[bool, int, float, float]:
            # one that was opened just now has had no chance yet
            return now - each.began < YOUNG_SECONDS, rank[each.state], each.speed(now), each.expires

        min(free, key=use).drop()
        return True

    def watch(self, connection: Connection, events: int) -> None:
        known = self._selector.get_map().get(connection.sock)
        if known is None:
            if events:
                self._selector.register(connection.sock, events, connection)
        elif not events:
            self._selector.unregister(connection.sock)
        elif known.events != events:
            self._selector.modify(connection.sock, events, connection)

    def unwatch(self, connection: Connection) -> None:
        self.watch(connection, 0)
        self._connections.discard(connection)

    # -- memory

    def hold(self, count: int) -> None:
        """`count` bytes more are held; less, where it is negative."""
        self._held += count

    def overfull(self) -> bool:
        return self._held > self._limits.held

    def evict(self, newest: Connection) -> None:
        """Gives up the slowest of the bodies and answers on their way until the rest has room, the
        newest one last."""
        if self._evicting:
            return  # what is told to one that is given up is an answer on its way, too
        self._evicting = True
        try:
            while self.overfull() and (victim := self._slowest(newest)) is not None:
                self._guard(victim, victim.evict)
        finally:
            self._evicting = False

    def _slowest(self, newest: Connection) -> Connection | None:
        now = time.monotonic()
        moving = [each for each in self._connections if each.speed(now) < float("inf")]
        settled = [each for each in moving if now - each.began > YOUNG_SECONDS]
        large = [each for each in settled if each.held >= SMALL_BYTES]
        last = [newest] if newest in moving else settled
        return min(large or last, key=lambda each: each.speed(now), default=None)

    # -- requests

    def take(self, connection: Connection, received: Received) -> None:
        """A whole request."""
        path = received.request.path
        if path == PING:
            # in its turn, too: a client may send many of them ahead
            self.soon(lambda: self._answer_here(connection, received))
            return
        lane = self._work if WORK.fullmatch(path) else self._control
        if not lane.enter():
            text = f"{lane.limit} requests are in hand, which is the limit"
            connection.refuse(BusyError(text, limit=lane.limit))
            return
        lane.pool.submit(lambda: self._answer(connection, received, lane))

    def _answer_here(self, connection: Connection, received: Received) -> None:
        data, close = self._call(received)
        connection.delivered(data, 0, close)

    def _answer(self, connection: Connection, received: Received, lane: "Lane") -> None:
        """In a thread of the lane's pool."""
        received.taken = time.monotonic()
        data, close = b"", True
        if not received.hung_up.is_set():
            data, close = self._call(received)
        sent = connection.send(data)
        self._later(lambda: self._answered(connection, data, sent, close, lane))

    def _answered(
        self, connection: Connection, data: bytes, sent: int, close: bool, lane: "Lane"
    ) -> None:
        lane.leave()
        connection.delivered(data, sent, close)

    def _call(self, received: Received) -> tuple[bytes, bool]:
        try:
            if received.late():
                refusal = BusyError("the request's time ran out while it waited for its turn")
                close = self.stopping or received.request.should_close()
                return self.refusal(refusal, received.request, close), close
            asked = received.request
            answer = self._direct.get((asked.method, asked.path))
            if answer is not None:
                close = self.stopping or asked.should_close()
                return application.written(answer(received), close), close
            return application.call(self._app, received, self.config, self.stopping)
        except BaseException as error:
            return application.fail(error), True

    def refusal(self, refusal: Refusal, request: Any, close: bool) -> bytes:
        self._refused(refusal)
        return application.refuse(refusal, request, close)

    def soon(self, call: Callable[[], None]) -> None:
        """Runs it when the events of this turn have had theirs."""
        self._calls.append(call)

    def _later(self, call: Callable[[], None]) -> None:
        """The same, from another thread."""
        self._calls.append(call)
        with contextlib.suppress(
            OSError
        ):  # full, and it wakes all the same; or the server has ended
            os.write(self._wakeup[1], b"\0")

    def _woken(self, descriptor: Any) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(descriptor, 4096)

    # -- the end

    def _stop(self, alive: Callable[[], bool]) -> None:
        """Takes what clients have sent already, finishes it, and keeps no connection."""
        self.stopping = True
        self._accepting(False)
        for listener in self._listeners:
            for _ in range(self.config.backlog // ACCEPTS):
                self._accept(listener)
        for listener in self._listeners:
            listener.close()
        now = time.monotonic()
        end = now + self._limits.stop_seconds
        while self._connections and time.monotonic() < end:
            for each in self._connections:
                if each.state in (State.IDLE, State.LINGER):
                    each.expires = min(each.expires, now + STOP_IDLE_SECONDS)
            alive()  # its answer is known, but who hears of it must not take this for a silence
            self._turn()
        for each in list(self._connections):
            if each.state is State.IN_HAND:
                self._tell_the_end(each)

    def _tell_the_end(self, connection: Connection) -> None:
        """A request that did not end in time: its thread ends with the process."""
        refusal = BusyError("the server is ending, and this request took too long")
        with contextlib.suppress(OSError):
            connection.sock.send(self.refusal(refusal, connection.request, True))


class Lane:
    """Requests of one sort: a pool, and how many may be in hand. Of the front's thread."""

    def __init__(self, name: str, threads: int, limit: int) -> None:
        self.pool, self.limit = Pool(name, threads), limit
        self._in_hand = 0

    def enter(self) -> bool:
        if self._in_hand >= self.limit:
            return False
        self._in_hand += 1
        return True

    def leave(self) -> None:
        self._in_hand -= 1
