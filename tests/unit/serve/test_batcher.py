"""The queue: what makes a batch, what is dropped, what is refused."""

import threading
import time
from collections.abc import Callable

import numpy as np
import pytest

from serve import batcher as batching
from serve.batcher import Batcher, Ticket
from serve.payload import Image
from serve.refusal import AbandonedError, BusyError, PayloadError

PIXELS = np.zeros((2, 2, 3), np.uint8)
PLANES = np.zeros((3, 2, 2), np.float32)


def opened(limit: int = 10) -> Batcher:
    batcher = Batcher(limit)
    batcher.open()
    return batcher


class HungUp(threading.Event):
    """Knows whether anybody has looked at it, as is done for what is in the queue."""

    def __init__(self) -> None:
        super().__init__()
        self.looked = threading.Event()

    def is_set(self) -> bool:
        self.looked.set()
        return super().is_set()


class Client(threading.Thread):
    """Asks in a thread of its own, and is made once its images are in the queue;
    `outcome` is the places that answered, or what was refused."""

    def __init__(self, batcher: Batcher, images: list[Image], seconds: float = 5) -> None:
        super().__init__()
        self._batcher, self._images, self.hung_up = batcher, images, HungUp()
        self._deadline = time.monotonic() + seconds
        self._outcome: list[int | str] | str = "nothing yet"
        self.start()
        self.hung_up.looked.wait(2)

    def run(self) -> None:
        try:
            self._outcome = [
                row.message if isinstance(row, PayloadError) else int(row[0])
                for row in self._batcher.classify(self._images, self._deadline, self.hung_up)
            ]
        except (AbandonedError, BusyError) as error:
            self._outcome = error.message

    def outcome(self) -> list[int | str] | str:
        self.join(5)
        return self._outcome


def take(batcher: Batcher, most: int, lost: Callable[[], bool] = lambda: False) -> list[Ticket]:
    """Of an engine that has nothing yet."""
    with batcher.station(1) as station:
        return batcher.take(station, most, lost)


def rows(tickets: list[Ticket]) -> batching.Probabilities:
    return np.array([[ticket.place] for ticket in tickets], np.float32)


def test_one_image_is_a_batch_at_once() -> None:
    batcher = opened()
    answer = Client(batcher, [PIXELS])
    batch = take(batcher, 8)
    batching.resolve(batch, rows(batch))

    assert len(batch) == 1
    assert answer.outcome() == [0]


def test_what_waits_makes_the_next_batch_and_a_large_request_is_split() -> None:
    batcher = opened()
    answers = [Client(batcher, [PIXELS] * 5), Client(batcher, [PIXELS] * 2)]
    batches = [take(batcher, 3) for _ in range(3)]
    for batch in batches:
        batching.resolve(batch, rows(batch))

    assert [len(batch) for batch in batches] == [3, 3, 1]
    assert answers[0].outcome() == [0, 1, 2, 3, 4]
    assert answers[1].outcome() == [0, 1]


def test_a_single_photo_waits_for_one_batch_of_a_large_request_and_not_for_its_length() -> None:
    batcher = opened(limit=100)
    large = Client(batcher, [PIXELS] * 64)
    first = take(batcher, 8)
    singles = [Client(batcher, [PIXELS]) for _ in range(3)]
    second = take(batcher, 8)
    batching.resolve(second, rows(second))
    outcomes = [single.outcome() for single in singles]
    batching.resolve(first, rows(first))
    for _ in range(7):
        rest = take(batcher, 8)
        batching.resolve(rest, rows(rest))

    assert outcomes == [[0], [0], [0]]
    assert (len(first), len(second)) == (8, 8)
    assert large.outcome() == list(range(64))


def test_a_batch_holds_images_of_one_type() -> None:
    batcher = opened()
    answers = Client(batcher, [PIXELS, PIXELS, PLANES, PIXELS])
    batches = [take(batcher, 8) for _ in range(3)]
    for batch in batches:
        batching.resolve(batch, rows(batch))
    answers.outcome()

    assert [len(batch) for batch in batches] == [2, 1, 1]


def test_expired_images_never_reach_the_engine() -> None:
    batcher = opened()
    late = Client(batcher, [PIXELS] * 3, seconds=0.1)
    error = late.outcome()
    fresh = Client(batcher, [PIXELS])
    batch = take(batcher, 8)
    batching.resolve(batch, rows(batch))
    fresh.outcome()

    assert "time ran out" in error
    assert len(batch) == 1


def test_a_client_that_hangs_up_is_dropped_before_the_engine_and_its_thread_is_free() -> None:
    batcher = opened()
    gone = Client(batcher, [PIXELS] * 3)
    stays = Client(batcher, [PIXELS])
    gone.hung_up.set()
    batch = take(batcher, 8)
    batching.resolve(batch, rows(batch))

    assert gone.outcome() == "the client hung up"
    assert len(batch) == 1
    assert stays.outcome() == [0]


def test_what_waits_is_shared_among_idle_engines() -> None:
    batcher, batches = opened(), list[list[Ticket]]()

    def engine(station: batching.Station) -> None:
        batches.append(batcher.take(station, 8, lambda: False))

    with batcher.station(1) as one, batcher.station(1) as other:
        engines = [threading.Thread(target=engine, args=(each,)) for each in (one, other)]
        for each in engines:
            each.start()
        answer = Client(batcher, [PIXELS] * 6)
        for each in engines:
            each.join(5)
    for batch in batches:
        batching.resolve(batch, rows(batch))

    assert [len(batch) for batch in batches] == [3, 3]
    assert answer.outcome() == list(range(6))


def test_a_busy_engine_is_sent_a_full_batch_ahead_and_no_other() -> None:
    batcher = opened()
    ahead: list[list[Ticket]] = []
    with batcher.station(1) as station:
        clients = [Client(batcher, [PIXELS])]
        first = batcher.take(station, 2, lambda: False)
        lane = threading.Thread(
            target=lambda: ahead.append(batcher.take(station, 2, lambda: False))
        )
        lane.start()
        clients.append(Client(batcher, [PIXELS]))
        time.sleep(0.05)  # in which the lane could take it
        one_waits = list(ahead)
        clients.append(Client(batcher, [PIXELS]))
        lane.join(5)
        clients.append(Client(batcher, [PIXELS]))
        batcher.give_back(station)
        batcher.give_back(station)
        last = batcher.take(station, 2, lambda: False)
    for batch in (first, *ahead, last):
        batching.resolve(batch, rows(batch))

    assert one_waits == []
    assert [len(batch) for batch in (first, *ahead, last)] == [1, 2, 1]
    assert [client.outcome() for client in clients] == [[0]] * 4


def test_nothing_is_sent_ahead_while_another_engine_is_free() -> None:
    batcher, batches = opened(), dict[str, list[Ticket]]()
    clients = [Client(batcher, [PIXELS])]
    with batcher.station(1) as busy, batcher.station(1) as free:
        held = batcher.take(busy, 8, lambda: False)

        def lane(name: str, station: batching.Station) -> None:
            batches[name] = batcher.take(station, 2, ended.is_set)

        ended = threading.Event()
        lanes = [threading.Thread(target=lane, args=each)
                 for each in (("busy", busy), ("free", free))]  # fmt: skip
        for each in lanes:
            each.start()
        time.sleep(0.1)
        clients += [Client(batcher, [PIXELS] * 2)]
        lanes[1].join(5)
        ended.set()
        batcher.wake()
        lanes[0].join(5)
    for batch in (held, batches["free"]):
        batching.resolve(batch, rows(batch))

    assert {name: len(batch) for name, batch in batches.items()} == {"busy": 0, "free": 2}
    assert [client.outcome() for client in clients] == [[0], [0, 1]]


def test_the_other_type_is_next_however_much_of_the_first_one_comes() -> None:
    batcher = opened()
    answers = [Client(batcher, images) for images in ([PIXELS] * 3, [PLANES], [PIXELS] * 3)]
    batches = [take(batcher, 4) for _ in range(3)]
    for batch in batches:
        batching.resolve(batch, rows(batch))
    for answer in answers:
        answer.outcome()

    assert [batch[0].image.dtype for batch in batches] == [np.uint8, np.float32, np.uint8]


def test_one_image_may_be_refused_alone() -> None:
    batcher = opened()
    answer = Client(batcher, [PIXELS] * 3)
    batch = take(batcher, 8)
    first, _, third = rows(batch)
    batching.resolve(batch, [first, PayloadError("guilty"), third])

    assert answer.outcome() == [0, "guilty", 2]


def test_a_full_queue_is_refused_with_its_limit_and_expired_images_make_room() -> None:
    batcher = opened(limit=3)
    late = Client(batcher, [PIXELS] * 3, seconds=1)
    with pytest.raises(BusyError, match="limit is 3"):
        batcher.classify([PIXELS], time.monotonic() + 1)
    late.outcome()
    fresh = Client(batcher, [PIXELS])
    batch = take(batcher, 8)
    batching.resolve(batch, rows(batch))

    assert fresh.outcome() == [0]


def test_a_failed_batch_fails_its_requests_at_once() -> None:
    batcher = opened()
    answer = Client(batcher, [PIXELS])
    batching.fail(take(batcher, 8), "the engine died")

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
    waiting = threading.Thread(target=lambda: batches.append(take(batcher, 8, lost.is_set)))
    waiting.start()
    lost.set()
    batcher.wake()
    waiting.join(5)

    assert batches == [[]]
