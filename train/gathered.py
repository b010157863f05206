"""The photos of several hosts: where all have the same, they are compared; where each has a shard
of its own, what is known of them is put together."""

import hashlib
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from container.failure import ChannelError
from container.opt_ml import Job
from train.channels import Splits, union
from train.distributed import Team
from train.index import Index
from train.schedule import Share
from train.sources.absent import Absent


class Gathered:
    """What the hosts' channels have in common, asked of the whole team: every process asks the same
    in the same order."""

    def __init__(self, team: Team, job: Job) -> None:
        self.team, self.hosts = team, sorted(job.hosts)
        self.host = self.hosts[team.host]

    def sharded(self, index: Index) -> bool:
        """Whether every host has photos of its own in this split."""
        return len(self.hosts) > 1 and index.sharded

    def labels(self, own: list[str]) -> list[str]:
        """Of all hosts: a shard may lack a class."""
        return union(self.team.gather(own))

    def compare(self, splits: Splits) -> None:
        """Raises ChannelError, with the hosts named, where replicated photos differ; DataError
        where a list of photos that the hosts share out has one that no host has."""
        indexes = list(splits.indexes.values())
        given = self.team.gather([self.team.host, [index.channel for index in indexes]])
        for host, names in given:
            if names != given[0][1]:
                raise ChannelError(
                    f"the hosts have different splits: {self.hosts[0]} has "
                    f"{', '.join(given[0][1])}, {self.hosts[host]} has {', '.join(names)}",
                    "give all hosts the same channels",
                )
        for index in indexes:
            if self.sharded(index):
                continue
            said = self.team.gather([self.team.host, len(index), _digest(index)])
            _, photos, digest = said[0]
            differing = {host: count for host, count, other in said if other != digest}
            if differing:
                raise ChannelError(
                    f"the {index.channel} photos differ between the hosts: {self.hosts[0]} has "
                    f"{photos}, " + ", ".join(f"{self.hosts[host]} has {count} others or in other "
                    "folders" for host, count in differing.items()),
                    "give all hosts the same files, or distribute the channel by ShardedByS3Key",
                )  # fmt: skip

        for split, index in splits.indexes.items():
            if index.sharded:
                self._compare_lists(splits.absent.get(split) or Absent())

    def _compare_lists(self, absent: Absent) -> None:
        """Each list with those of its own kind: hosts may have lists of their own, too."""
        digest = absent.digest()
        digests = self.team.gather(digest)
        said = self.team.gather_arrays(absent.bits())
        absent.check([bits for bits, other in zip(said, digests, strict=True) if other == digest])

    def share(self, index: Index) -> Share:
        """Which photos of every update and evaluation are this process's."""
        return self.team.share(len(index), self.sharded(index))

    def looks(self, indexes: Iterable[Index]) -> bool:
        """Whether this process looks at photos before training: the leader does, and one process of
        each host that has photos of its own."""
        own = self.team.local_rank == 0 and any(map(self.sharded, indexes))
        return self.team.leads or own

    def here(self, index: Index, positions: list[int]) -> NDArray[np.int64]:
        """Of the leader's `positions` in the photos of all hosts those that are this host's, as
        positions in its own."""
        share = self.share(index)
        own = np.asarray(self.team.from_leader(positions), np.int64)
        own -= sum(share.samples[: share.shard])
        return own[(own >= 0) & (own < len(index))]

    def counts(self, index: Index, classes: int) -> NDArray[np.int64]:
        """Photos per class, over all hosts."""
        counts = index.counts(classes)
        if not self.sharded(index):
            return counts
        return self.team.sum(counts if self.team.local_rank == 0 else counts * 0)

    def contents(self, own: list[NDArray[np.uint64]]) -> NDArray[np.uint64]:
        """Of the splits one after the other, of all that have looked at photos."""
        known = np.concatenate([np.zeros(0, np.uint64), *own])
        return np.concatenate(self.team.gather_arrays(known))

    def key(self, own: str) -> str:
        """One for the photos of all hosts."""
        return "+".join(dict.fromkeys(self.team.gather(own)))


def _digest(index: Index) -> str:
    return hashlib.sha256(index.names.tobytes() + index.targets.tobytes()).hexdigest()
