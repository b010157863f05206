"""Batches over a socket: a fixed header, then the raw bytes of the arrays.

Both ends run the same code on one machine, so numbers travel in its own byte order. Every size is
checked before memory is taken for it. After a WireError the stream cannot be used any more.
"""

import socket
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

BATCH = struct.Struct("=4sIIIII")
"""Magic, kind of the images (and EXPLAINED more, where a label for each follows them), how many,
their three dimensions."""
BATCH_MAGIC = b"imgs"

ANSWER = struct.Struct("=4sIII")
"""Magic, 0 and rows and classes; or FAILED or REFUSED, bytes of a message and 0."""
ANSWER_MAGIC = b"prob"
FAILED, REFUSED = 1, 2

KINDS: tuple[Any, ...] = (np.uint8, np.float32)
EXPLAINED = len(KINDS)
MAX_PLACES = 1 << 20
"""Of one map: more than any network's last one has."""
MAX_MESSAGE_BYTES = 4096
BUFFERS_PER_CALL = 512
"""The kernel takes 1,024 at most."""


class WireError(ConnectionError):
    """The peer is gone, or sent what this side does not understand."""


class BatchError(Exception):
    """The engine could not answer this batch and is sound: a part of it may well be answered."""


def send_batch(
    sock: socket.socket, images: Sequence[Array], labels: Sequence[int] | None = None
) -> None:
    """Images of one shape and type; their bytes go out from where they lie. With `labels` each
    asks for that label's map (see `serve.heat.engine`)."""
    first = images[0]
    kind = KINDS.index(first.dtype.type) + (0 if labels is None else EXPLAINED)
    header = BATCH.pack(BATCH_MAGIC, kind, len(images), *first.shape)
    asked = [] if labels is None else [np.array(labels, np.int32).data.cast("B")]
    _send(sock, [memoryview(header), *(image.data.cast("B") for image in images), *asked])


def receive_batch(
    sock: socket.socket, image_size: int, most: int
) -> tuple[Array, NDArray[np.int32] | None] | None:
    """N x H x W x 3 uint8 or N x 3 x H x W float32, and the labels whose maps are asked for, if
    any; None where the peer has closed."""
    header = bytearray(BATCH.size)
    if not _receive(sock, memoryview(header), eof=True):
        return None
    magic, kind, count, *dimensions = BATCH.unpack(header)
    explained, kind = divmod(kind, EXPLAINED)
    expected = [[image_size, image_size, 3], [3, image_size, image_size]]
    if magic != BATCH_MAGIC or explained > 1 or dimensions != expected[kind]:
        raise WireError(f"a batch with the header {header.hex()}")
    if not 1 <= count <= most:
        raise WireError(f"a batch of {count} images; at most {most} were agreed")
    batch: Array = np.empty((count, *dimensions), KINDS[kind])
    _receive(sock, batch.data.cast("B"))
    if not explained:
        return batch, None
    labels = np.empty(count, np.int32)
    _receive(sock, labels.data.cast("B"))
    return batch, labels


def send_answer(sock: socket.socket, probabilities: NDArray[np.float32]) -> None:
    rows = np.ascontiguousarray(probabilities, np.float32)
    header = ANSWER.pack(ANSWER_MAGIC, 0, *rows.shape)
    _send(sock, [memoryview(header), rows.data.cast("B")])


def send_failure(sock: socket.socket, message: str, kind: int = FAILED) -> None:
    """`FAILED`: the engine ends. `REFUSED`: it could not answer this batch and takes the next."""
    text = message.encode()[:MAX_MESSAGE_BYTES]
    header = ANSWER.pack(ANSWER_MAGIC, kind, len(text), 0)
    _send(sock, [memoryview(header), memoryview(text)])


def receive_answer(
    sock: socket.socket, count: int, classes: int, maps: bool = False
) -> NDArray[np.float32]:
    """`count` x `classes` probabilities; where `maps` were asked for, their numbers may follow in
    each row. Raises WireError, in the engine's own words if any, or BatchError, after which the
    stream is as good as before."""
    header = bytearray(ANSWER.size)
    _receive(sock, memoryview(header))
    magic, failed, first, second = ANSWER.unpack(header)
    if magic == ANSWER_MAGIC and failed in (FAILED, REFUSED) and first <= MAX_MESSAGE_BYTES:
        text = bytearray(first)
        _receive(sock, memoryview(text))
        words = text.decode("utf-8", "replace")
        raise BatchError(words) if failed == REFUSED else WireError(words)
    most = classes + (MAX_PLACES if maps else 0)
    if (magic, failed, first) != (ANSWER_MAGIC, 0, count) or not classes <= second <= most:
        raise WireError(f"an answer with the header {header.hex()}")
    rows = np.empty((count, second), np.float32)
    _receive(sock, rows.data.cast("B"))
    return rows


def _send(sock: socket.socket, buffers: list[memoryview]) -> None:
    while buffers:
        sent = sock.sendmsg(buffers[:BUFFERS_PER_CALL])
        while buffers and sent >= len(buffers[0]):
            sent -= len(buffers.pop(0))
        if sent:
            buffers[0] = buffers[0][sent:]


def _receive(sock: socket.socket, view: memoryview, eof: bool = False) -> bool:
    """Fills `view`. False where the peer has closed before the first byte, if `eof` allows that."""
    start = 0
    while start < len(view):
        count = sock.recv_into(view[start:])
        if count == 0:
            if eof and start == 0:
                return False
            raise WireError("the connection ended in the middle of a frame")
        start += count
    return True
