"""The queue between requests and engines: what waits when an engine is free makes its next batch.

Nobody waits for a batch to fill. The queue counts images; every image has its request's deadline
and is dropped before the engine once that has passed.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from serve import trace
from serve.payload import Image
from serve.refusal import AbandonedError, BusyError

Probabilities = NDArray[np.float32]

LOOK_SECONDS = 0.25
"""Between two looks whether the client is still there."""


@dataclass
class Request:
    """The images of one HTTP request; batches may hold parts of several."""

    deadline: float
    """Of the monotonic clock."""
    answers: list[Probabilities | None]
    missing: int
    done: threading.Event = field(default_factory=threading.Event)
    failure: str | None = None
    taken_at: float = 0.0
    """When an engine took the first of its images, of the monotonic clock."""

    hung_up: threading.Event = field(default_factory=threading.Event)
    """Set where the client no longer waits."""

    def over(self) -> bool:
        ended = self.done.is_set() or self.hung_up.is_set()
        return ended or time.monotonic() >= self.deadline

    def wait(self) -> bool:
        """Until it is answered, or over. A hang-up is seen within LOOK_SECONDS."""
        while not self.over():
            left = self.deadline - time.monotonic()
            self.done.wait(max(0.0, min(left, LOOK_SECONDS)))
        return self.done.is_set()


@dataclass(frozen=True)
class Ticket:
    """One waiting image, and where its answer goes."""

    image: Image
    request: Request
    place: int


class Batcher:
    """Closed until an engine is ready; `limit` is how many images may wait."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.taken: Callable[[int], None] = lambda images: None
        """Told the size of every batch."""
        self._waiting: deque[Ticket] = deque()
        self._changed = threading.Condition()
        self._closed: str | None = "no engine is ready"

    def classify(
        self, images: list[Image], deadline: float, hung_up: threading.Event | None = None
    ) -> list[Probabilities]:
        """Blocks until every image has its answer, or raises BusyError: by the deadline.

        Raises AbandonedError where `hung_up` is set meanwhile: what waits is not sent to an engine.
        """
        request = Request(deadline, [None] * len(images), len(images))
        request.hung_up = hung_up or request.hung_up
        self._put([Ticket(image, request, place) for place, image in enumerate(images)])
        if not request.wait():
            request.done.set()  # what is still waiting is dropped
            if request.hung_up.is_set():
                raise AbandonedError("the client hung up")
            raise BusyError("the request's time ran out before the engine had an answer")
        if request.failure is not None:
            raise BusyError(request.failure)
        trace.classified(len(images), request.taken_at)
        return [answer for answer in request.answers if answer is not None]

    def _put(self, tickets: list[Ticket]) -> None:
        with self._changed:
            if self._closed is not None:
                raise BusyError(self._closed)
            if len(self._waiting) + len(tickets) > self._limit:
                self._drop()
            waiting = len(self._waiting)
            if waiting + len(tickets) > self._limit:
                raise BusyError(
                    f"the queue is full: {waiting} images wait, the limit is {self._limit}",
                    limit=self._limit,
                    waiting=waiting,
                )
            self._waiting.extend(tickets)
            self._changed.notify()

    def _drop(self) -> None:
        """Forgets images whose request is over."""
        self._waiting = deque(ticket for ticket in self._waiting if not ticket.request.over())

    def take(self, most: int, lost: Callable[[], bool]) -> list[Ticket]:
        """The next batch: at least one image, at most `most`, all of one type; waits for the first.

        Empty where `lost` says that the engine is gone; `wake` makes it asked again.
        """
        with self._changed:
            while not lost():
                batch = self._next(most)
                if batch:
                    self._note(batch)
                    return batch
                self._changed.wait()
        return []

    def _next(self, most: int) -> list[Ticket]:
        batch: list[Ticket] = []
        while self._waiting and len(batch) < most:
            ticket = self._waiting[0]
            if not ticket.request.over():
                if batch and ticket.image.dtype != batch[0].image.dtype:
                    break
                batch.append(ticket)
            self._waiting.popleft()
        return batch

    def _note(self, batch: list[Ticket]) -> None:
        now = time.monotonic()
        for ticket in batch:
            ticket.request.taken_at = ticket.request.taken_at or now
        self.taken(len(batch))

    @property
    def waiting(self) -> int:
        """Images in the queue."""
        return len(self._waiting)

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
            tickets, self._waiting = self._waiting, deque()
        fail(tickets, reason)


def resolve(tickets: list[Ticket], rows: Probabilities) -> None:
    """Gives every ticket its row. Only one thread at a time may hold a request's last ticket."""
    for ticket, row in zip(tickets, rows, strict=True):
        with _counting:
            ticket.request.answers[ticket.place] = row
            ticket.request.missing -= 1
            finished = ticket.request.missing == 0
        if finished:
            ticket.request.done.set()


def fail(tickets: "list[Ticket] | deque[Ticket]", reason: str) -> None:
    for ticket in tickets:
        if not ticket.request.done.is_set():
            ticket.request.failure = reason
            ticket.request.done.set()


_counting = threading.Lock()
"""Two engines may answer parts of one request at the same time."""
