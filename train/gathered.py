"""The photos of several hosts: where all have the same, they are compared; where each has a shard
of its own, what is known of them is put together."""

import hashlib
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from container.failure import ChannelError
from container.opt_ml import Job
from train import scan
from train.batches import Share
from train.channels import Splits
from train.distributed import Team
from train.index import Index


class Gathered:
    """What the hosts' channels have in common, asked of the whole team: every process asks the same
    in the same order."""

    def __init__(self, team: Team, job: Job) -> None:
        self.team, self.hosts = team, sorted(job.hosts)
        self.shards = [job.channels[name] for name in job.sharded if name in job.channels]

    def sharded(self, index: Index) -> bool:
        """Whether every host has photos of its own in this split."""
        return len(self.hosts) > 1 and any(index.root.is_relative_to(path) for path in self.shards)

    def labels(self, own: list[str]) -> list[str]:
        """Of all hosts: a shard may lack a class."""
        return sorted({label for labels in self.team.gather(own) for label in labels})

    def compare(self, splits: Splits) -> None:
        """Raises ChannelError, with the hosts named, where replicated photos differ."""
        indexes = [each for each in (splits.train, splits.validation, splits.test) if each]
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

    def share(self, index: Index) -> Share:
        """Which photos of every update and evaluation are this process's."""
        return self.team.share(len(index), self.sharded(index))

    def scan(self, index: Index, advance: Callable[[int], None]) -> tuple[scan.Bad, int]:
        """Bad photos of this host's index and how many were looked at; each process that has the
        same photos looks at a part of them."""
        share = self.share(index)
        mine = np.arange(len(index))[share.part :: share.parts]
        part = index if share.parts == 1 else index.take(mine)
        found, own = scan.scan(part, advance=advance)
        positions = [int(mine[at]) for at in found]
        bad: scan.Bad = {}
        looked = 0
        for shard, at, reasons, count in self.team.gather(
            [share.shard, positions, list(found.values()), own]
        ):
            if shard == share.shard:
                bad |= dict(zip(at, reasons, strict=True))
                looked += count
        return bad, looked

    def counts(self, index: Index, classes: int) -> NDArray[np.int64]:
        """Photos per class, over all hosts."""
        counts = index.counts(classes)
        if not self.sharded(index):
            return counts
        return self.team.sum(counts if self.team.local_rank == 0 else counts * 0)

    def key(self, own: str) -> str:
        """One for the photos of all hosts."""
        return "+".join(dict.fromkeys(self.team.gather(own)))


def _digest(index: Index) -> str:
    return hashlib.sha256(index.names.tobytes() + index.targets.tobytes()).hexdigest()
