"""The processes of one job on this host: one per GPU, each told its rank as torchrun tells it.

torchrun itself is not used: it starts the others anew, or ends them without a word, where one
fails, and it has no way to say on every host which one was first and why.
"""

import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from container import cluster as clusters
from container import failure, resources
from container.cluster import Cluster
from container.pump import Output
from container.rendezvous import Start


def environments(cluster: Cluster, start: Start, reasons: Path) -> list[dict[str, str]]:
    """torchrun's variables for each process of this host, and where it leaves its reason."""
    count = start.processes[cluster.current]
    # a leader alone has no way to anybody; its processes meet on the loopback
    towards = next((a for host in cluster.others for a in clusters.addresses(host)), "127.0.0.1")
    found = clusters.interface(cluster.interface if cluster.others else "lo", towards)
    shared = {
        "WORLD_SIZE": str(start.world),
        resources.PROCESSES_HERE: str(count),
        "GROUP_RANK": str(cluster.hosts.index(cluster.current)),
        "GROUP_WORLD_SIZE": str(len(cluster.hosts)),
        "MASTER_ADDR": start.address,
        "MASTER_PORT": str(start.port),
    }
    if found:
        shared |= {"GLOO_SOCKET_IFNAME": found, "NCCL_SOCKET_IFNAME": found}
    first = start.first_rank(cluster.current)
    return [
        {
            **shared,
            "RANK": str(first + local),
            "LOCAL_RANK": str(local),
            failure.FOLDER: str(reasons / f"rank-{first + local}"),
        }
        for local in range(count)
    ]


@dataclass
class Rank:
    number: int
    pid: int
    reason: Path
    process: "subprocess.Popen[bytes]"
    status: int | None = None


@dataclass
class Ranks:
    """Those of this host; nobody else may wait for children while it is in use."""

    all: list[Rank] = field(default_factory=list)
    words: Output = field(default_factory=Output)

    def start(self, command: list[str], environments: list[dict[str, str]]) -> None:
        for own in environments:
            # one log per host: the others would only say the same again
            quiet = own["LOCAL_RANK"] != "0"
            process = subprocess.Popen(
                command, env=own, start_new_session=True, stderr=self.words.stderr,
                stdout=subprocess.DEVNULL if quiet else self.words.stdout,
            )  # fmt: skip
            reason = Path(own[failure.FOLDER])
            self.all.append(Rank(int(own["RANK"]), process.pid, reason, process))
        self.words.started()

    @property
    def running(self) -> list[Rank]:
        return [rank for rank in self.all if rank.status is None]

    @property
    def succeeded(self) -> bool:
        return all(rank.status == 0 for rank in self.all)

    def ended(self) -> Iterator[Rank]:
        """Those that have ended since; orphans that ended meanwhile are buried with them."""
        by_pid = {rank.pid: rank for rank in self.running}
        while self.running:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            if pid in by_pid:
                rank = by_pid[pid]
                rank.status = rank.process.returncode = os.waitstatus_to_exitcode(status)
                yield rank

    def terminate(self) -> None:
        for rank in self.running:
            os.kill(rank.pid, signal.SIGTERM)

    def kill(self) -> None:
        """With everything that they have started."""
        for rank in self.all:
            try:
                os.killpg(rank.pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                continue
        for rank in self.running:
            _, status = os.waitpid(rank.pid, 0)
            rank.status = rank.process.returncode = os.waitstatus_to_exitcode(status)
