"""The processes that need the features of the same photos: each computes a part, all get all."""

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from train.distributed import Team
from train.evaluate import StopRequestedError
from train.features.engines import UnfitError
from train.features.photo_ids import Ids
from train.features.store import Store, StoreError
from train.gathered import Gathered
from train.index import Index

MESSAGE_BYTES = 16 << 20
"""Of rows, at a time, whatever the number of photos."""

KINDS: dict[str, type[Exception]] = {
    kind.__name__: kind for kind in (StoreError, UnfitError, StopRequestedError)
}
"""Errors after which features are done without, or all stop."""

Result = TypeVar("Result")
Array = NDArray[Any]


def agreed(team: Team, step: Callable[..., Result], *arguments: Any) -> Result:
    """What `step` gives, if it worked everywhere; else all raise what the first one raised: a
    process that went on alone would wait for the others for ever. Raises KINDS."""
    results, failed = [], None
    try:
        results.append(step(*arguments))
    except tuple(KINDS.values()) as error:
        failed = [type(error).__name__, str(error)]
    for said in team.gather(failed):
        if said is not None:
            kind, words = said
            raise KINDS[kind](words)
    return results[0]


class Peers:
    """All processes, or those of this host where every host has photos of its own."""

    def __init__(self, gathered: Gathered, index: Index) -> None:
        self.team = gathered.team
        self.own_photos = gathered.sharded(index)
        self.share = gathered.share(index)
        hosts = self.team.gather(self.team.host)
        self._ranks = [
            rank for rank, host in enumerate(hosts) if host == self.team.host or not self.own_photos
        ]
        self._number = self._ranks.index(self.team.rank)

    def part(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.array_split(positions, self.share.parts)[self.share.part]

    def values(self, own: Any) -> list[Any]:
        said = self.team.gather(own)
        return [said[rank] for rank in self._ranks]

    def arrays(self, own: Array) -> list[Array]:
        said = self.team.gather_arrays(own)
        return [said[rank] for rank in self._ranks]

    def missing(self, ids: Ids, kept: Store) -> NDArray[np.int64]:
        """Positions whose row nobody has."""
        return np.flatnonzero(np.all(self.arrays(self._lacks(ids, kept)), axis=0))

    def _lacks(self, ids: Ids, kept: Store) -> NDArray[np.bool_]:
        lacks: NDArray[np.bool_] = kept.rows().find(ids) < 0
        return lacks

    def exchange(self, ids: Ids, kept: Store) -> None:
        """Rows that some hosts have go to those that lack them. Processes of one host share their
        store, and so photos that only they have are theirs already. Raises StoreError."""
        if self.team.world == 1 or self.own_photos:
            return
        lacks = np.stack(self.arrays(self._lacks(ids, kept)))
        wanted = np.flatnonzero(lacks.any(0) & ~lacks.all(0))
        giver = (~lacks).argmax(0)
        size = max(1, MESSAGE_BYTES // kept.record.itemsize)
        rows = kept.rows()
        if not len(wanted):
            return
        writer = agreed(self.team, kept.writer)
        try:
            for start in range(0, len(wanted), size):
                here = wanted[start : start + size]
                given = here[giver[here] == self._number]
                records = np.empty(len(given), kept.record)
                records["photo"], records["row"] = ids[given], rows.take(rows.find(ids[given]))
                received = np.concatenate(self.arrays(records))
                new = received[rows.find(received["photo"]) < 0]
                if self.team.local_rank:
                    new = new[:0]
                agreed(self.team, writer.add, new["photo"], new["row"])
            agreed(self.team, writer.publish)
        finally:
            writer.close()
