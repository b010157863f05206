"""The photos of a request that are named by URL: fetched and read, several at a time.

Each is read as soon as it has come, so that at most `PLACES` fetched bodies are in memory, whoever
asked for them; waiting for the network takes no place among those that decode.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from serve.payload import Image, Item
from serve.refusal import BusyError, PayloadError

PLACES = 8
"""Fetches at a time, of the whole server."""

_places = threading.Semaphore(PLACES)
_requests = threading.Semaphore(PLACES)
"""A request that waits for the network holds a thread, of which there are few: others need some."""


def gather(items: list[Item], read: Callable[[str], Image], deadline: float) -> list[Item]:
    """The items with an image or an error in each one's place. Raises BusyError at `deadline`, of
    the monotonic clock: a fetch that is then still under way ends by its own limits; and at once
    where as many requests are waiting for their photos as may."""
    work = _Work(items, read, deadline)
    if not work.pending:
        return items
    if not _requests.acquire(blocking=False):
        raise BusyError(f"{PLACES} requests wait for photos by URL, which is the limit")
    try:
        return _together(work, deadline)
    finally:
        _requests.release()


def _together(work: "_Work", deadline: float) -> list[Item]:
    threads = [
        threading.Thread(target=work.run, name="fetch", daemon=True)
        for _ in range(min(PLACES, len(work.pending)))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    late = any(thread.is_alive() for thread in threads)
    work.pending.clear()
    if work.failure is not None:
        raise work.failure
    if late:
        raise BusyError("the request's time ran out while photos were fetched")
    return work.items


class _Work:
    """Of one request."""

    def __init__(self, items: list[Item], read: Callable[[str], Image], deadline: float) -> None:
        self.items, self._read, self._deadline = list(items), read, deadline
        self.pending = deque(place for place, item in enumerate(items) if item.url is not None)
        self.failure: Exception | None = None

    def run(self) -> None:
        try:
            while (place := self._next()) is not None:
                self._one(place)
        except Exception as error:  # raised again where the request is answered
            self.failure = error

    def _next(self) -> int | None:
        with suppress(IndexError):
            return self.pending.popleft()
        return None

    def _one(self, place: int) -> None:
        item = self.items[place]
        if not _places.acquire(timeout=max(0.0, self._deadline - time.monotonic())):
            raise BusyError("the request's time ran out before its photos could be fetched")
        try:
            self.items[place] = Item(image=self._read(item.url or ""), id=item.id)
        except PayloadError as error:
            self.items[place] = Item(error=error.bare(), id=item.id)
        finally:
            _places.release()
