"""The queue: what makes a batch, what is dropped, what is refused."""

import threading
import time

import numpy as np
import pytest

from serve import batcher as batching
from serve.batcher import Batcher, Ticket
from serve.payload import Image
from serve.refusal import BusyError

PIXELS = np.zeros((2, 2, 3), np.uint8)
PLANES = np.zeros((3, 2, 2), np.float32)


def opened(limit: int = 10) -> Batcher:
    batcher = Batcher(limit)
    batcher.open()
    return batcher


class Client(threading.Thread):
    """Asks in a thread of its own; `outcome` is the places that answered, or what was refused."""

    def __init__(self, batcher: Batcher, images: list[Image], seconds: float = 5) -> None:
        super().__init__()
        self._batcher, self._images = batcher, images
        self._deadline = time.monotonic() + seconds
        self._outcome: list[int] | str = "nothing yet"
        self.start()
        time.sleep(0.05)

    def run(self) -> None:
        try:
            self._outcome = [
                int(row[0]) for row in self._batcher.classify(self._images, self._deadline)
            ]
        except BusyError as error:
            self._outcome = error.message

    def outcome(self) -> list[int] | str:
        self.join(5)
        return self._outcome


def rows(tickets: list[Ticket]) -> batching.Probabilities:
    return np.array([[ticket.place] for ticket in tickets], np.float32)


def test_one_image_is_a_batch_at_once() -> None:
    batcher = opened()
    answer = Client(batcher, [PIXELS])
    batch = batcher.take(8, lambda: False)
    batching.resolve(batch, rows(batch))

    assert len(batch) == 1
    assert answer.outcome() == [0]


def test_what_waits_makes_the_next_batch_and_a_large_request_is_split() -> None:
    batcher = opened()
    answers = [Client(batcher, [PIXELS] * 5), Client(batcher, [PIXELS] * 2)]
    batches = [batcher.take(3, lambda: False) for _ in range(3)]
    for batch in batches:
        batching.resolve(batch, rows(batch))

    assert [len(batch) for batch in batches] == [3, 3, 1]
    assert answers[0].outcome() == [0, 1, 2, 3, 4]
    assert answers[1].outcome() == [0, 1]


def test_a_batch_holds_images_of_one_type() -> None:
    batcher = opened()
    answers = Client(batcher, [PIXELS, PIXELS, PLANES, PIXELS])
    batches = [batcher.take(8, lambda: False) for _ in range(3)]
    for batch in batches:
        batching.resolve(batch, rows(batch))
    answers.outcome()

    assert [len(batch) for batch in batches] == [2, 1, 1]


def test_expired_images_never_reach_the_engine() -> None:
    batcher = opened()
    late = Client(batcher, [PIXELS] * 3, seconds=0.1)
    error = late.outcome()
    fresh = Client(batcher, [PIXELS])
    batch = batcher.take(8, lambda: False)
    batching.resolve(batch, rows(batch))
    fresh.outcome()

    assert "time ran out" in error
    assert len(batch) == 1


def test_a_full_queue_is_refused_with_its_limit_and_expired_images_make_room() -> None:
    batcher = opened(limit=3)
    late = Client(batcher, [PIXELS] * 3, seconds=0.3)
    with pytest.raises(BusyError, match="limit is 3"):
        batcher.classify([PIXELS], time.monotonic() + 1)
    late.outcome()
    fresh = Client(batcher, [PIXELS])
    batch = batcher.take(8, lambda: False)
    batching.resolve(batch, rows(batch))

    assert fresh.outcome() == [0]


def test_a_failed_batch_fails_its_requests_at_once() -> None:
    batcher = opened()
    answer = Client(batcher, [PIXELS])
    batching.fail(batcher.take(8, lambda: False), "the engine died")

    assert answer.outcome() == "the engine died"


def test_closing_fails_what_waits_and_what_comes() -> None:
    batcher = opened()
    answer = Client(batcher, [PIXELS])
    batcher.close("no engine")

    assert answer.outcome() == "no engine"
    with pytest.raises(BusyError, match="no engine"):
        batcher.classify([PIXELS], time.monotonic() + 1)


def test_an_engine_that_is_lost_stops_waiting() -> None:
    batcher, lost = opened(), threading.Event()
    batches: list[list[Ticket]] = []
    waiting = threading.Thread(target=lambda: batches.append(batcher.take(8, lost.is_set)))
    waiting.start()
    lost.set()
    batcher.wake()
    waiting.join(5)

    assert batches == [[]]
