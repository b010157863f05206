"""Frames over a real socket pair."""

import socket
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from serve.engine import wire

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    left, right = socket.socketpair()
    with left, right:
        yield left, right


@pytest.mark.parametrize("count", [1, 3, 600])
@pytest.mark.parametrize(
    ("shape", "dtype"), [((16, 16, 3), np.uint8), ((3, 16, 16), np.float32)], ids=["uint8", "float"]
)
def test_a_batch_arrives_as_it_was_sent(
    pair: Pair, count: int, shape: tuple[int, ...], dtype: Any
) -> None:
    made: wire.Array = np.random.default_rng(0).integers(0, 255, (count, *shape)).astype(dtype)
    sending = threading.Thread(target=wire.send_batch, args=(pair[0], list(made)))
    sending.start()
    received, labels = wire.receive_batch(pair[1], 16, count)
    sending.join()

    assert labels is None
    assert received.dtype == dtype
    np.testing.assert_array_equal(received, made)


def test_labels_whose_maps_are_asked_for_arrive_with_their_images(pair: Pair) -> None:
    made = np.arange(2 * 16 * 16 * 3, dtype=np.uint8).reshape(2, 16, 16, 3)
    wire.send_batch(pair[0], list(made), [-1, 7])

    received, labels = wire.receive_batch(pair[1], 16, 2)

    np.testing.assert_array_equal(received, made)
    assert labels.tolist() == [-1, 7]


def test_maps_may_follow_probabilities_where_they_were_asked_for_only(pair: Pair) -> None:
    made = np.random.default_rng(0).random((2, 3 + 16)).astype(np.float32)
    wire.send_answer(pair[0], made)
    wire.send_answer(pair[0], made)

    np.testing.assert_array_equal(wire.receive_answer(pair[1], 2, 3, maps=True), made)
    with pytest.raises(wire.WireError, match="header"):
        wire.receive_answer(pair[1], 2, 3)


def test_an_answer_arrives_as_it_was_sent(pair: Pair) -> None:
    made = np.random.default_rng(0).random((4, 7)).astype(np.float32)
    wire.send_answer(pair[0], made)

    np.testing.assert_array_equal(wire.receive_answer(pair[1], 4, 7), made)


def test_a_failure_arrives_with_its_words(pair: Pair) -> None:
    wire.send_failure(pair[0], "out of memory")

    with pytest.raises(wire.WireError, match="out of memory"):
        wire.receive_answer(pair[1], 1, 2)


def test_after_a_refused_batch_the_stream_goes_on(pair: Pair) -> None:
    made = np.ones((1, 2), np.float32)
    wire.send_failure(pair[0], "ValueError: odd", wire.REFUSED)
    wire.send_answer(pair[0], made)

    with pytest.raises(wire.BatchError, match="odd"):
        wire.receive_answer(pair[1], 8, 2)
    np.testing.assert_array_equal(wire.receive_answer(pair[1], 1, 2), made)


def test_a_closed_peer_is_the_end_and_half_a_frame_an_error(pair: Pair) -> None:
    pair[0].sendall(b"im")
    pair[0].close()
    with pytest.raises(wire.WireError, match="middle"):
        wire.receive_batch(pair[1], 16, 1)

    assert wire.receive_batch(pair[1], 16, 1) is None


@pytest.mark.parametrize(
    "header",
    [
        pytest.param(wire.BATCH.pack(b"nope", 0, 1, 16, 16, 3), id="magic"),
        pytest.param(wire.BATCH.pack(b"imgs", 9, 1, 16, 16, 3), id="kind"),
        pytest.param(wire.BATCH.pack(b"imgs", 0, 1, 9999, 9999, 3), id="size"),
        pytest.param(wire.BATCH.pack(b"imgs", 0, 2**31, 16, 16, 3), id="count"),
    ],
)
def test_a_header_that_was_not_agreed_takes_no_memory(pair: Pair, header: bytes) -> None:
    pair[0].sendall(header)

    with pytest.raises(wire.WireError, match="a batch"):
        wire.receive_batch(pair[1], 16, 8)
