"""The queue between requests and engines: what waits when an engine is free makes its next batch.

Nobody waits for a batch to fill. The queue counts images; requests take turns, an image each, so
that one of many photos delays a single photo by one batch and not by its own length. What is
expired, or whose client has hung up, is dropped before the engine.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from serve import trace
from serve.payload import Image
from serve.refusal import AbandonedError, BusyError, PayloadError

Probabilities = NDArray[np.float32]
Answer = Probabilities | PayloadError
"""An image's probabilities, or why the engine cannot classify it."""

LOOK_SECONDS = 0.25
"""Between two looks whether the client is still there."""


@dataclass(eq=False)
class Request:
    """The images of one HTTP request; batches may hold parts of several."""

    deadline: float
    """Of the monotonic clock."""
    images: list[Image]
    answers: list[Answer | None] = field(default_factory=list)
    missing: int = 0
    taken: int = 0
    """Images that an engine has or had, from the first on."""
    done: threading.Event = field(default_factory=threading.Event)
    failure: str | None = None
    taken_at: float = 0.0
    """When an engine took the first of its images, of the monotonic clock."""

    hung_up: threading.Event = field(default_factory=threading.Event)
    """Set where the client no longer waits."""
    label: int | None = None
    """Whose map is asked for, of every image; none where it is None."""

    def __post_init__(self) -> None:
        self.answers = [None] * len(self.images)
        self.missing = len(self.images)

    @property
    def waiting(self) -> int:
        return len(self.images) - self.taken

    def over(self) -> bool:
        """Nobody waits for an answer any more."""
        ended = self.done.is_set() or self.hung_up.is_set()
        return ended or time.monotonic() >= self.deadline

    def wait(self) -> bool:
        """Until it is answered, or over. A hang-up is seen within LOOK_SECONDS."""
        while not self.over():
            left = self.deadline - time.monotonic()
            self.done.wait(max(0.0, min(left, LOOK_SECONDS)))
        return self.done.is_set()

    def end(self, failure: str) -> None:
        if not self.done.is_set():
            self.failure = failure
            self.done.set()


@dataclass(frozen=True)
class Ticket:
    """One image that an engine has, and where its answer goes."""

    image: Image
    request: Request
    place: int


@dataclass(eq=False)
class Station:
    """An engine, as the queue sees it."""

    streams: int
    """Batches that it computes at a time."""
    has: int = 0
    """Batches that it has."""

    @property
    def free(self) -> int:
        return max(0, self.streams - self.has)


class Batcher:
    """Closed until an engine is ready; `limit` is how many images may wait."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.taken: Callable[[int], None] = lambda images: None
        """Told the size of every batch."""
        self._turns: deque[Request] = deque()
        """Requests with images that wait; the first one is the next to give an image."""
        self._count = 0
        self._stations: list[Station] = []
        self._changed = threading.Condition()
        self._closed: str | None = "no engine is ready"

    def classify(
        self,
        images: list[Image],
        deadline: float,
        hung_up: threading.Event | None = None,
        label: int | None = None,
    ) -> list[Answer]:
        """Blocks until every image has its answer, or raises BusyError: by the deadline. With
        `label` the engine is asked for its map of each, too (see `serve.heat.explain`).

        Raises AbandonedError where `hung_up` is set meanwhile: what waits is not sent to an engine.
        """
        request = Request(deadline, images, label=label)
        request.hung_up = hung_up or request.hung_up
        self._put(request)
        if not request.wait():
            request.done.set()  # what is still waiting is dropped
            if request.hung_up.is_set():
                raise AbandonedError("the client hung up")
            raise BusyError("the request's time ran out before the engine had an answer")
        if request.failure is not None:
            raise BusyError(request.failure)
        trace.classified(len(images), request.taken_at)
        return [answer for answer in request.answers if answer is not None]

    def _put(self, request: Request) -> None:
        with self._changed:
            if self._closed is not None:
                raise BusyError(self._closed)
            if self._count + request.waiting > self.limit:
                self._drop()
            if self._count + request.waiting > self.limit:
                raise BusyError(
                    f"the queue is full: {self._count} images wait, the limit is {self.limit}",
                    limit=self.limit,
                    waiting=self._count,
                )
            self._turns.append(request)
            self._count += request.waiting
            self._tell()

    def _drop(self) -> None:
        """Forgets requests that are over."""
        self._turns = deque(request for request in self._turns if not request.over())
        self._count = sum(request.waiting for request in self._turns)

    @contextmanager
    def station(self, streams: int) -> Iterator[Station]:
        """An engine that takes batches meanwhile."""
        station = Station(streams)
        with self._changed:
            self._stations.append(station)
        try:
            yield station
        finally:
            with self._changed:
                self._stations.remove(station)

    def take(self, station: Station, most: int, lost: Callable[[], bool]) -> list[Ticket]:
        """The next batch: at least one image, at most `most`, all of one type; waits for the first.
        `give_back` says that the station has it no longer.

        What waits is shared by all that is free. Where nothing is, a batch is taken all the same if
        it is full: it would be none the larger later, and lies ready when its station is free.
        Empty where `lost` says that the engine is gone; `wake` makes it asked again.
        """
        with self._changed:
            while not lost():
                batch = self._next(self._share(station, most))
                if batch:
                    station.has += 1
                    self._note(batch)
                    if self._turns:
                        self._tell()
                    return batch
                self._changed.wait()
        return []

    def give_back(self, station: Station) -> None:
        with self._changed:
            station.has -= 1

    def _share(self, station: Station, most: int) -> int:
        free = sum(each.free for each in self._stations)
        if station.free:
            return min(most, -(-self._count // free))
        return most if not free and self._count >= most else 0

    def _tell(self) -> None:
        """Those that wait for one station would all do the same."""
        if len(self._stations) > 1:
            self._changed.notify_all()
        else:
            self._changed.notify()

    def _next(self, most: int) -> list[Ticket]:
        batch: list[Ticket] = []
        aside: list[Request] = []  # their next image is of another type
        while self._turns and len(batch) < most:
            request = self._turns.popleft()
            if request.over():
                self._count -= request.waiting
                continue
            image = request.images[request.taken]
            if batch and not _alike(image, request, batch[0]):
                aside.append(request)
                continue
            batch.append(Ticket(image, request, request.taken))
            request.taken += 1
            self._count -= 1
            if request.waiting:
                self._turns.append(request)
        self._turns.extendleft(reversed(aside))
        return batch

    def _note(self, batch: list[Ticket]) -> None:
        now = time.monotonic()
        for ticket in batch:
            ticket.request.taken_at = ticket.request.taken_at or now
        self.taken(len(batch))

    @property
    def waiting(self) -> int:
        """Images in the queue."""
        return self._count

    def wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def open(self) -> None:
        with self._changed:
            self._closed = None
            self._changed.notify_all()

    def close(self, reason: str) -> None:
        """No engine is left: whatever waits fails now, and so does what comes."""
        with self._changed:
            self._closed = reason
            turns, self._turns = self._turns, deque()
            self._count = 0
        for request in turns:
            request.end(reason)


def _alike(image: Image, request: Request, other: Ticket) -> bool:
    """Whether they fit into one batch: of one type, and both with maps or both without."""
    maps = (request.label is None) == (other.request.label is None)
    return maps and image.dtype == other.image.dtype


def resolve(tickets: list[Ticket], answers: Iterable[Answer]) -> None:
    """Gives every ticket its answer: a row of probabilities, or the refusal of this image alone."""
    for ticket, answer in zip(tickets, answers, strict=True):
        with _counting:
            ticket.request.answers[ticket.place] = answer
            ticket.request.missing -= 1
            finished = ticket.request.missing == 0
        if finished:
            ticket.request.done.set()


def fail(tickets: list[Ticket], reason: str) -> None:
    """The engine is lost: the whole requests of these images are, unless they are answered."""
    for ticket in tickets:
        ticket.request.end(reason)


_counting = threading.Lock()
"""Two engines may answer parts of one request at the same time."""
