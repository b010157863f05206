"""Reads TensorBoard's files as it does: records with their lengths, each an Event."""

import struct
from pathlib import Path

from tensorboardX.proto.event_pb2 import Event


def read(folder: Path) -> list[Event]:
    events = []
    for path in sorted(folder.glob("*tfevents*")):
        data, at = path.read_bytes(), 0
        while at < len(data):
            (length,) = struct.unpack_from("<Q", data, at)
            event = Event()
            event.ParseFromString(data[at + 12 : at + 12 + length])
            events.append(event)
            at += 12 + length + 4
    return events


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Name -> step and value."""
    found: dict[str, list[tuple[int, float]]] = {}
    for event in read(folder):
        for value in event.summary.value:
            found.setdefault(value.tag, []).append((event.step, value.simple_value))
    return found
