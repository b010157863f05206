"""Every photo of every split looked at once, by all processors, in bounded time.

What was seen in an earlier start of the same run is taken from beside its checkpoints, and then
nothing more is looked at: the photos of a run must not depend on how far a look got in its time.
A photo of another size is, though, and some of another time only, whose bytes tell of the rest.
What other jobs of this machine saw is taken from their common cache, file by file.
"""

import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from container import resources
from train.doctor.look import BAD, FACTS, LOOKED, Facts, digest, key, look
from train.doctor.memory import Memory, Reasons
from train.index import Index

SECONDS = 60.0
"""What is not reached in this time is checked when training reads it."""
SAMPLE = 32
"""Photos of a split that are read again where they have their size but another time."""
SHARED_FILE = "photos.npz"

Advance = Callable[[int], None]
"""Told how many photos more were looked at."""
Result = TypeVar("Result")
Look = tuple[Facts, str | None]
"""A photo's row, and why it cannot be used."""

SAME, LATER, OTHER = range(3)
"""A file as it was, of the same size and another time, of another size."""


@dataclass(frozen=True)
class Folders:
    """Where memories lie. `run` belongs to one run, beside its checkpoints, and is written by way
    of `outside`, since the platform uploads it; `shared` to all jobs of a machine kept warm."""

    run: Path | None = None
    shared: Path | None = None
    outside: Path | None = None


@dataclass(frozen=True)
class Seen:
    """One split: a row of FACTS per photo of the index, and why bad ones are bad."""

    index: Index
    facts: Facts
    reasons: Reasons

    def flagged(self, bits: int) -> NDArray[np.bool_]:
        chosen: NDArray[np.bool_] = (self.facts["flags"] & bits) > 0
        return chosen

    def reason(self, position: int) -> str:
        return self.reasons[int(self.facts["name"][position])]


def examine(
    indexes: dict[str, Index],
    folders: Folders,
    say: Callable[[str], None],
    advance: Advance = lambda photos: None,
    seconds: float = SECONDS,
) -> dict[str, Seen]:
    """What there is to know of every split's photos."""
    deadline = time.monotonic() + seconds
    own = folders.run / f"{_listing(indexes)}.npz" if folders.run else None
    earlier = Memory.load(own) if own else None
    shared = folders.shared / SHARED_FILE if folders.shared else None
    common = (Memory.load(shared) if shared else None) or Memory.empty()
    seen: dict[str, Seen] = {}
    # the small splits first: time that runs out then costs the least of what judges the model
    for split in sorted(indexes, key=lambda split: len(indexes[split])):
        index = indexes[split]
        seen[split] = _split(index, earlier or common, earlier is not None, advance, deadline)
    if own:
        _remember(own, Memory.empty(), seen, say, folders.outside)
    if shared and earlier is None:
        _remember(shared, common, seen, say)
    return {split: seen[split] for split in indexes}


def _listing(indexes: dict[str, Index]) -> str:
    """The same for the same names and targets of the same splits."""
    digest = hashlib.blake2b(digest_size=8)
    for split, index in indexes.items():
        digest.update(f"{split} {index.channel} {len(index)}\n".encode())
        for at in range(len(index)):
            digest.update(index.name(at).encode("utf-8", "surrogateescape") + b"\n")
        digest.update(np.ascontiguousarray(index.targets).tobytes())
    return digest.hexdigest()


def _split(index: Index, memory: Memory, own: bool, advance: Advance, deadline: float) -> Seen:
    """Remembered or looked at; a photo that a list names many times is looked at once."""
    count = len(index)
    names = np.fromiter((key(index.channel, index.name(at)) for at in range(count)), "u8", count)
    first = np.sort(np.unique(names, return_index=True)[1])
    remembered, known = memory.recall(names[first])
    looked = remembered["flags"] & LOOKED > 0
    facts, visits = remembered.copy(), np.flatnonzero(looked)
    if not own:  # what the run's first start did not reach stays so
        facts = np.zeros(len(first), FACTS)
        facts["name"], visits = names[first], np.arange(len(first))
    reasons = dict(memory.reasons)
    later: list[int] = []

    def visit(at: int) -> tuple[Look, bool]:
        position = int(first[at])
        asked = known[at] and looked[at]
        age = _age(index, position, remembered[at], own) if asked else OTHER
        if age == OTHER:
            return _look(index, position), False
        return (remembered[at], None), age == LATER

    def put(at: int, seen: Look) -> None:
        row, why = seen
        facts[at] = row
        facts["name"][at] = names[first[at]]
        if why is not None:
            reasons[int(names[first[at]])] = why

    for at, (seen, is_later) in _in_time(visits.tolist(), visit, deadline):
        put(at, seen)
        if is_later:  # a volume that was loaded anew has other times
            later.append(at)
        advance(1)
    if _replaced(index, first[later], facts["content"][later], deadline):
        for at, seen in _in_time(later, lambda at: _look(index, int(first[at])), deadline):
            put(at, seen)
    bad = set(facts["name"][facts["flags"] & BAD > 0].tolist())
    reasons = {name: why for name, why in reasons.items() if name in bad}
    order = np.argsort(facts["name"])
    return Seen(index, facts[order[np.searchsorted(facts["name"][order], names)]], reasons)


def _replaced(
    index: Index, positions: NDArray[np.int64], contents: NDArray[np.uint64], deadline: float
) -> bool:
    """Whether any of a few among these photos holds other bytes than it did."""
    some = np.unique(np.linspace(0, len(positions) - 1, min(SAMPLE, len(positions)), dtype=int))
    reread = _in_time(some.tolist(), lambda at: _content(index, int(positions[at])), deadline)
    return any(content != contents[at] for at, content in reread)


def _content(index: Index, position: int) -> int:
    """As `look` has it, 0 of a photo that cannot be read."""
    try:
        return digest(index.read(position))
    except OSError:
        return 0


def _age(index: Index, position: int, row: Facts, own: bool) -> int:
    """Of a file beside its row. A run's restart does not ask again what could not be read, lest it
    goes on with a photo more, and others' memories are good for nothing but the same file."""
    if own and row["size"] < 0:
        return SAME
    try:
        size, time = index.stamp(position)
    except OSError:
        return SAME if own else OTHER
    if size == row["size"] and time == row["time"]:
        return SAME
    return LATER if own and size == row["size"] else OTHER


def _look(index: Index, position: int) -> Look:
    try:
        data, stamp = index.read_stamped(position)
    except OSError as error:
        row: Facts = np.zeros((), FACTS)
        row["size"], row["time"], row["flags"] = -1, -1, LOOKED | BAD
        return row, f"cannot be read: {error.strerror}"
    row, why = look(data, index.name(position))
    row["size"], row["time"] = stamp
    return row, why


def _in_time(
    positions: list[int], work: Callable[[int], Result], deadline: float
) -> Iterator[tuple[int, Result]]:
    """Position and result, as they come, until the time is up. Pillow decodes and hashlib hashes
    without the interpreter's lock, so threads do; none is waited for, since a read may never end,
    as a pool's would be at the process's end."""
    ahead = iter(positions)
    done: SimpleQueue[tuple[int, Result] | BaseException | None] = SimpleQueue()
    over = threading.Event()

    def run() -> None:
        try:
            for at in ahead:
                if over.is_set() or time.monotonic() > deadline:
                    break
                done.put((at, work(at)))
            done.put(None)
        except BaseException as error:
            done.put(error)

    threads = min(resources.cpu_count(), len(positions))
    for _ in range(threads):
        threading.Thread(target=run, name="look", daemon=True).start()
    try:
        while threads:
            found = done.get(timeout=max(0.0, deadline - time.monotonic()))
            if isinstance(found, BaseException):
                raise found
            if found is None:
                threads -= 1
            else:
                yield found
    except Empty:
        return
    finally:
        over.set()


def _remember(
    path: Path,
    memory: Memory,
    seen: dict[str, Seen],
    say: Callable[[str], None],
    outside: Path | None = None,
) -> None:
    """A job without a memory still trains."""
    facts = np.concatenate([split.facts for split in seen.values()])
    reasons = {name: why for split in seen.values() for name, why in split.reasons.items()}
    try:
        memory.with_more(facts, reasons).save(path, outside)
    except OSError as error:
        say(f"note: what was seen of the photos is not remembered in {path.parent}: "
            f"{error.strerror}")  # fmt: skip
