"""Whether the memory for one more model is there: its need, what is free, and what could go.

A need is estimated before anything is loaded: from what loaded engines of this kind and about this
size really took, else from the size of the files. Memory that is promised to a model which has not
taken it yet, because it is loading or its engine is starting again, is not free. Nor is that of the
libraries of a kind whose first engines are all still loading.
"""

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from artifact import archive
from container.settings import MIB
from serve.engine import choice, memory
from serve.engine.memory import Room

TORCH, OPENVINO = "torch", "openvino"

OWN_MIB = {TORCH: 310, OPENVINO: 35}
"""Of an engine whose model weighs nothing: interpreter, the libraries' own data, a warm batch.
Measured on x86-64 with the tests' smallest network; learned anew from every engine that is up."""
SHARED_MIB = {TORCH: 260, OPENVINO: 65}
"""Libraries' code: one copy in memory for all engines of a kind; measured as above."""
FACTOR = {TORCH: 2.5, OPENVINO: 3.0}
"""Bytes of memory for a byte of weights: file and tensors at once, then activations."""

PHOTOS_SHARE = 4
"""At most this part of the memory is kept for photos in hand."""
UNBOUNDED = 1 << 60
"""Where nothing tells what there is."""


@dataclass(frozen=True)
class Size:
    """What is known of a model before it is loaded."""

    kind: str
    file_bytes: int


@dataclass(frozen=True)
class Holding:
    """What one model holds. `promised` is what it may take, `taken` what it has now, in bytes
    without what it shares with others, which is `shared`; `idle_seconds` since its last request."""

    name: str
    kind: str
    promised: int
    taken: int
    idle_seconds: float
    loaded: bool = True
    shared: int = 0


@dataclass(frozen=True)
class Verdict:
    """Bytes. `could_go`: the least recently used models whose going makes room, first to go first;
    all there are where that is not enough."""

    need: int
    free: int
    could_go: list[Holding]

    @property
    def fits(self) -> bool:
        return self.need <= self.free

    @property
    def enough(self) -> bool:
        return self.need <= self.free + sum(held(each) for each in self.could_go)


def held(holding: Holding) -> int:
    return max(holding.promised, holding.taken)


class Budget:
    """`limit` is bytes of all models together, 0 where only the container limits them; `photos` is
    what photos in hand may take of the container's memory; `room` tells what that is.
    """

    def __init__(self, limit: int, photos: int, room: Callable[[], Room] = memory.room) -> None:
        self._limit, self._photos, self._room = limit, photos, room
        self._lock = threading.Lock()
        self._own: dict[tuple[str, int], tuple[int, int]] = {}
        """Kind and class of size -> file bytes and memory of the engine that took most."""
        self._shared = {kind: mib * MIB for kind, mib in SHARED_MIB.items()}

    def weigh(self, size: Size, holdings: Iterable[Holding]) -> Verdict:
        """Whether a model of this size can be loaded beside those that hold memory."""
        there = list(holdings)
        with self._lock:
            return self._weigh(size, there)

    def _weigh(self, size: Size, there: list[Holding]) -> Verdict:
        need = self.need(size)
        if size.kind not in {each.kind for each in there}:
            need += self._shared[size.kind]
        free = self._free(there)
        idle = sorted((each for each in there if each.loaded), key=lambda each: -each.idle_seconds)
        could_go: list[Holding] = []
        room = free
        while room < need and idle:
            could_go.append(idle.pop(0))
            room += held(could_go[-1])
        return Verdict(need, free, could_go)

    def need(self, size: Size) -> int:
        """Bytes of its own, without what engines of a kind share."""
        factor = FACTOR[size.kind]
        seen = self._own.get((size.kind, _class(size.file_bytes)))
        if seen is None:
            return OWN_MIB[size.kind] * MIB + int(factor * size.file_bytes)
        file_bytes, took = seen
        return took + int(factor * max(0, size.file_bytes - file_bytes))

    def learn(self, size: Size, engine: memory.Size) -> None:
        """From an engine that has warmed up."""
        key = (size.kind, _class(size.file_bytes))
        with self._lock:
            known = self._own.get(key)
            if known is None or engine.own_peak > known[1]:
                self._own[key] = (size.file_bytes, engine.own_peak)
            self._shared[size.kind] = engine.shared

    def _free(self, holdings: list[Holding]) -> int:
        """Bytes; never less than 0."""
        bounds = []
        room = self._room()
        if room.limit is not None and room.used is not None:
            promised = sum(max(0, each.promised - each.taken) for each in holdings)
            photos = min(self._photos, room.limit // PHOTOS_SHARE)
            bounds.append(room.limit - room.used - photos - promised - self._coming(holdings))
        if self._limit:
            shared = sum(self._shared[kind] for kind in {each.kind for each in holdings})
            bounds.append(self._limit - shared - sum(held(each) for each in holdings))
        return max(0, min(bounds, default=UNBOUNDED))

    def _coming(self, holdings: list[Holding]) -> int:
        """Bytes of libraries that are on their way into memory: of the kinds of which no engine is
        up, since one that is has brought them. What a loading one has brought is in use already."""
        up = {each.kind for each in holdings if each.loaded}
        coming = 0
        for kind in {each.kind for each in holdings} - up:
            brought = max(each.shared for each in holdings if each.kind == kind)
            coming += max(0, self._shared[kind] - brought)
        return coming


def _class(file_bytes: int) -> int:
    """Sizes within a factor of two are alike."""
    return file_bytes.bit_length()


def size_of(folder: Path, precision: str) -> Size:
    """Of the artifact in `folder`, and the engine that the setting takes. Raises OSError or
    ArtifactError."""
    compiled = choice.is_compiled(folder, precision)
    files = archive.ENGINE_FILES if compiled else (archive.WEIGHTS,)
    kind = OPENVINO if compiled else TORCH
    return Size(kind, sum((folder / name).stat().st_size for name in files))
