"""Features of the photos that have none yet, batch by batch, into the store."""

import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from train.batches import Loader
from train.evaluate import StopRequestedError
from train.features.engines import Fitting
from train.features.photo_ids import Ids
from train.features.store import Store, Writer
from train.index import Index

FILE_SECONDS = 20.0
FILE_SHARE = 0.02
"""A file of rows is closed after so many seconds, or so great a part of all that have passed: a
killed job loses no more, and a long one does not leave thousands of files."""


def extract(
    engine: Fitting,
    loader: Loader,
    positions: NDArray[np.int64],
    view: int,
    ids: Ids,
    store: Store,
    should_stop: Callable[[], bool],
    bad_files_seen: Callable[[Index, list[str]], None],
    advance: Callable[[int], None],
) -> dict[int, str]:
    """Returns the photos that could not be used, position -> line. Raises StopRequestedError
    between batches, with all that was computed by then kept; StoreError where the disk says no."""
    bad: dict[int, str] = {}
    started = opened = time.monotonic()
    writer = store.writer()
    try:
        for batch in loader.these(positions, view):
            if should_stop():
                raise StopRequestedError
            if batch.bad:
                bad_files_seen(loader.index, batch.bad)
                bad |= dict(zip(batch.missing, batch.bad, strict=True))
            if len(batch.targets):
                writer.add(ids[batch.spec.positions], engine.compute(batch.inputs))
            advance(len(batch.targets) + len(batch.missing))
            now = time.monotonic()
            if now - opened > max(FILE_SECONDS, FILE_SHARE * (now - started)):
                writer = _next(writer, store)
                opened = now
    except StopRequestedError:
        writer.publish()
        raise
    except BaseException:
        writer.close()
        raise
    writer.publish()
    return bad


def _next(writer: Writer, store: Store) -> Writer:
    writer.publish()
    return store.writer()
