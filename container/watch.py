"""A job of several processes or hosts, from its start to its end, as one host's supervisor sees it.

The rule: all hosts end together. Any process's death ends every host, with the reason of the first
one that failed; nobody exits with success before the leader has saved. A process that only noticed
that another one is gone is not the first: its supervisor waits for the cause.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from container import failure
from container.cluster import Cluster
from container.link import SILENCE_SECONDS, Links, Message
from container.ranks import Rank, Ranks

TICK_SECONDS = 0.25
CAUSE_SECONDS = SILENCE_SECONDS + 4
"""A process may notice at once what takes the supervisors the time of a silence."""
ANSWER_SECONDS = 5.0
"""For the leader to say to all hosts what ends them."""
FAREWELL_SECONDS = 5.0


@dataclass(frozen=True)
class Reason:
    host: str
    who: str
    text: str

    @property
    def is_cause(self) -> bool:
        return not self.text.startswith(f"{failure.PeerLostError.name}: ")


class Watch:
    """`explain` turns a process that left no reason into one."""

    def __init__(
        self,
        cluster: Cluster,
        links: Links,
        ranks: Ranks,
        stopped: Callable[[], bool],
        explain: Callable[[Rank], str],
    ) -> None:
        self.cluster, self.links, self.ranks = cluster, links, ranks
        self.stopped, self.explain = stopped, explain
        self.done: set[str] = set()
        self.stopping = self.finished = False
        self.verdict: Reason | None = None
        self.suspect: Reason | None = None
        self.suspect_until = 0.0

    def run(self) -> Reason | None:
        """Until all is done on all hosts (None), or something ends them all."""
        while True:
            self._look_at_ranks()
            self._hear()
            if self.stopped():
                self._stop()
            if self.verdict is None and self.suspect and time.monotonic() >= self.suspect_until:
                self.verdict = self.suspect
            if self.verdict is not None:
                self._end_all(self.verdict)
                return self.verdict
            if self.finished or (self.cluster.leads and self._all_done()):
                return None

    def _all_done(self) -> bool:
        return self.done >= set(self.cluster.hosts)

    def _look_at_ranks(self) -> None:
        for rank in self.ranks.ended():
            if rank.status:
                who = f"{self.cluster.shown(self.cluster.current)} (rank {rank.number})"
                self._blame(Reason(self.cluster.current, who, self.explain(rank)))
        own = self.cluster.current
        if not self.ranks.running and self.ranks.succeeded and own not in self.done:
            self.done.add(own)
            self.links.tell("done")

    def _hear(self) -> None:
        for host, message in self.links.listen(TICK_SECONDS):
            self._take(host, message)
        if self.finished:
            return  # the leader goes, as it said
        for host, why in self.links.lost():
            # its work is in the leader's hands; what it failed in since is its own exit code
            if self.cluster.leads and host in self.done:
                continue
            gone = failure.PeerLostError(f"{self.cluster.shown(host)} is lost: {why}")
            lost = Reason(host, host, failure.reason(gone))
            if self.cluster.leads:
                self._blame(lost, at_once=True)
            elif self.verdict is None:
                cause = self.suspect if self.suspect and self.suspect.is_cause else lost
                self.verdict = cause

    def _take(self, host: str, message: Message) -> None:
        kind = message["kind"]
        if kind == "stop":
            self._stop()
        elif kind == "done" and self.cluster.leads:
            self.done.add(host)
        elif kind == "failed" and self.cluster.leads:
            self._blame(_reason(host, message))
        elif kind == "end" and not self.cluster.leads and self.verdict is None:
            self.verdict = _reason(str(message.get("host")), message)
        elif kind == "finished" and not self.cluster.leads:
            self.finished = True

    def _stop(self) -> None:
        """The platform's SIGTERM to one host is one to all: they stop at the same update."""
        if self.stopping:
            return
        self.stopping = True
        self.ranks.terminate()
        self.links.tell("stop")

    def _blame(self, reason: Reason, at_once: bool = False) -> None:
        """The first cause counts; a mere consequence does only if no cause comes in time."""
        if self.suspect and (self.suspect.is_cause or not (reason.is_cause or at_once)):
            return
        self.suspect = reason
        patience = CAUSE_SECONDS
        if reason.is_cause or at_once:
            patience = 0.0 if self.cluster.leads else ANSWER_SECONDS
        self.suspect_until = time.monotonic() + patience
        if not self.cluster.leads:
            self.links.tell("failed", who=reason.who, text=reason.text)

    def _end_all(self, reason: Reason) -> None:
        self.links.tell("end", host=reason.host, who=reason.who, text=reason.text)
        self.ranks.kill()

    def farewell(self) -> None:
        """Lets the others go. The leader is the last to leave, when all have heard it."""
        if self.cluster.leads and self.verdict is None:
            self.links.tell("finished")
        self.links.close(FAREWELL_SECONDS if self.cluster.leads else 1.0)


def _reason(host: str, message: Message) -> Reason:
    text = str(message.get("text", ""))[: failure.REASON_CHARACTERS]
    return Reason(host, str(message.get("who", host))[:200], text)


def written(reason: Reason, current: str, output: Path) -> str:
    """Leaves the reason in this host's `output`; returns it."""
    own = reason.host == current
    text = reason.text if own else failure.reason(failure.of_peer(reason.who, reason.text))
    failure.write(output, text)
    return text
