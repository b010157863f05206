"""How the supervisors of a job's hosts find each other, and agree on who starts what.

The first host leads: it listens, the others call. Each says how many processes it starts (one per
GPU, which may differ between instance groups), each tries whether it reaches each other one, and
only then anything is started. Whoever is missing when the time is up is named on every host that
can be reached.
"""

import os
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from container import cluster as clusters
from container.cluster import Cluster
from container.failure import InterruptedFailure, PeerLostError, SettingError
from container.link import Link, Links, Message, readable

PORT = "CLUSTER_PORT"
DEFAULT_PORT = 7777
WAIT = "CLUSTER_WAIT_SECONDS"
DEFAULT_WAIT = 60.0
TICK_SECONDS = 0.25
PROBE_SECONDS = 5.0
ANSWER_SECONDS = 20.0
"""For a host to try all the others and say so."""
PROBES_AT_A_TIME = 32
STRANGERS = 32
"""Connections that have not said yet who they are; more are not taken at a time."""
MAX_PROCESSES = 1024
MAX_NUMBER = 65536


@dataclass(frozen=True)
class Meeting:
    """What one host brings to the meeting."""

    cluster: Cluster
    token: str
    processes: int
    port: int
    seconds: float
    stopped: Callable[[], bool]
    say: Callable[[str], None]

    @classmethod
    def of(
        cls,
        cluster: Cluster,
        processes: int,
        stopped: Callable[[], bool],
        say: Callable[[str], None],
        environment: dict[str, str] | None = None,
    ) -> "Meeting":
        environment = dict(os.environ) if environment is None else environment
        return cls(
            cluster,
            cluster.token(environment.get("TRAINING_JOB_NAME", "")),
            processes,
            int(_number(environment, PORT, DEFAULT_PORT)),
            _number(environment, WAIT, DEFAULT_WAIT),
            stopped,
            say,
        )

    def check_stop(self) -> None:
        if self.stopped():
            raise InterruptedFailure("stopped by SIGTERM while the hosts were meeting")


def _number(environment: dict[str, str], name: str, default: float) -> float:
    text = environment.get(name) or str(default)
    try:
        number = float(text)
    except ValueError:
        number = 0
    if not 0 < number < MAX_NUMBER:
        raise SettingError(
            f"{name}={text!r}: expected a number above 0 and below {MAX_NUMBER}",
            f"set another one, or none for {default:g}",
        )
    return number


@dataclass(frozen=True)
class Start:
    """What all hosts have agreed on."""

    processes: dict[str, int]
    """Host -> processes, in the order of the ranks."""
    address: str
    """Where the process of rank 0 listens, as seen from this host."""
    port: int

    @property
    def world(self) -> int:
        return sum(self.processes.values())

    def first_rank(self, host: str) -> int:
        hosts = list(self.processes)
        return sum(self.processes[each] for each in hosts[: hosts.index(host)])


def meet(meeting: Meeting, links: Links) -> Start:
    """Raises PeerLostError, the same one on every host that can be reached, or
    InterruptedFailure. `links` holds the connections afterwards."""
    cluster = meeting.cluster
    if not cluster.others:
        port = clusters.free_port()
        return Start({cluster.current: meeting.processes}, "127.0.0.1", port)
    address = clusters.own_address(cluster)
    try:
        links.listener = clusters.listen(address, meeting.port)
    except OSError as error:
        raise PeerLostError(
            f"{cluster.current} cannot listen on port {meeting.port}: {error.strerror}",
            f"free the port, or set another one in {PORT} on all hosts",
        ) from error
    try:
        return _lead(meeting, links, address) if cluster.leads else _follow(meeting, links)
    except (PeerLostError, InterruptedFailure) as failure:
        links.tell("end", host=cluster.current, who=cluster.current, text=_text(failure))
        raise


def _text(failure: PeerLostError | InterruptedFailure) -> str:
    return f"{failure.name}: {failure.cause}; fix: {failure.fix}"


# the leader


def _lead(meeting: Meeting, links: Links, address: str) -> Start:
    processes = _gather(meeting, links)
    links.tell("roster", hosts=list(processes))
    _reach(meeting, links)
    start = Start(processes, address or "127.0.0.1", clusters.free_port())
    links.tell("start", processes=processes, port=start.port)
    return start


def _gather(meeting: Meeting, links: Links) -> dict[str, int]:
    """Host -> processes, once every host has called."""
    cluster, deadline = meeting.cluster, time.monotonic() + meeting.seconds
    counts = {cluster.current: meeting.processes}
    strangers: list[tuple[Link, float]] = []
    meeting.say(f"cluster: {cluster.current} waits for {', '.join(cluster.others)}")
    while missing := [host for host in cluster.others if host not in links.of]:
        meeting.check_stop()
        if time.monotonic() > deadline:
            raise PeerLostError(
                f"{', '.join(map(cluster.shown, missing))} not heard within {meeting.seconds:.0f} "
                f"s by {cluster.current}, which heard {', '.join(links.of) or 'no other host'}"
            )
        _take_calls(links, strangers)
        for link in readable([link for link, _ in strangers if not link.closed], 0):
            _introduce(meeting, links, link, counts)
        now = time.monotonic()
        strangers = [each for each in strangers if not each[0].closed
                     and each[0] not in links.of.values() and now < each[1]]  # fmt: skip
        _heed(meeting, links.listen(TICK_SECONDS))
        for host, why in links.lost():  # it may call again
            meeting.say(f"cluster: {host} is gone again: {why}")
    return {host: counts[host] for host in cluster.hosts}


def _take_calls(links: Links, strangers: list[tuple[Link, float]]) -> None:
    assert links.listener is not None
    while len(strangers) < STRANGERS and readable([links.listener], 0):
        connection, _ = links.listener.accept()
        try:
            strangers.append((Link(connection), time.monotonic() + PROBE_SECONDS))
        except OSError:  # it hung up at once
            connection.close()


def _introduce(meeting: Meeting, links: Links, link: Link, counts: dict[str, int]) -> None:
    """A caller becomes a host by its first message, or is cut."""
    messages = link.receive()
    for message in messages[:1]:
        host, processes = message.get("host"), message.get("processes")
        if message.get("token") != meeting.token or host not in meeting.cluster.others:
            meeting.say(f"cluster: a caller from {link.address} is of another job")
            link.send("stranger")
            link.close("it is of another job")
        elif not isinstance(processes, int) or not 0 < processes <= MAX_PROCESSES:
            link.close("it said no number of processes")
        else:
            if host in links.of:  # it has started anew, or lost its way
                links.of[host].close("it called again")
            links.of[host], counts[host] = link, processes
            meeting.say(f"cluster: {meeting.cluster.shown(host)} is here, processes: {processes}")
            _heed(meeting, [(host, each) for each in messages[1:]])


def _reach(meeting: Meeting, links: Links) -> None:
    """Until every host has reached every other one."""
    cluster, open_ = meeting.cluster, set(meeting.cluster.others)
    deadline = time.monotonic() + ANSWER_SECONDS
    apart = [f"{cluster.current} cannot reach {host}" for host in unreachable(meeting)]
    while open_:
        meeting.check_stop()
        for host, message in _heed(meeting, links.listen(TICK_SECONDS)):
            if message["kind"] == "reached" and host in open_:
                open_.remove(host)
                missing = message.get("missing")
                apart += [f"{host} cannot reach {each}"
                          for each in (missing if isinstance(missing, list) else [])
                          if each in cluster.hosts]  # fmt: skip
        for host, why in links.lost():
            raise PeerLostError(f"{cluster.shown(host)} is lost: {why}")
        if time.monotonic() > deadline:
            raise PeerLostError(f"{', '.join(sorted(open_))} did not answer while meeting")
    if apart:
        raise PeerLostError(f"hosts cannot reach each other: {'; '.join(apart)}")


def unreachable(meeting: Meeting) -> list[str]:
    """Other hosts whose port cannot be connected to: gradients go between all of them."""
    others = meeting.cluster.others
    with ThreadPoolExecutor(PROBES_AT_A_TIME) as pool:
        reached = pool.map(lambda host: _connects(host, meeting.port), others)
        return [host for host, well in zip(others, reached, strict=True) if not well]


def _connects(host: str, port: int) -> bool:
    deadline = time.monotonic() + PROBE_SECONDS / 2
    while True:
        try:
            socket.create_connection((host, port), timeout=PROBE_SECONDS / 2).close()
            return True
        except OSError:
            if time.monotonic() > deadline:
                return False
            time.sleep(TICK_SECONDS)


def _heed(meeting: Meeting, messages: list[tuple[str, Message]]) -> list[tuple[str, Message]]:
    """A host that ends before the start ends all; the other messages are handed on."""
    for host, message in messages:
        if message["kind"] == "end":
            words = str(message.get("text", ""))[:1024].partition("; fix: ")
            name, _, cause = words[0].partition(": ")
            kind = InterruptedFailure if name == InterruptedFailure.name else PeerLostError
            raise kind(cause or f"{host} ended while the hosts were meeting", words[2] or None)
    return messages


# the others


def _follow(meeting: Meeting, links: Links) -> Start:
    cluster = meeting.cluster
    links.of[cluster.leader] = _call(meeting, links)
    leader = links.of[cluster.leader]
    while True:
        meeting.check_stop()
        for _, message in _heed(meeting, links.listen(TICK_SECONDS)):
            if message["kind"] == "roster":
                links.tell("reached", missing=unreachable(meeting))
            elif message["kind"] == "stranger":
                raise PeerLostError(
                    f"{cluster.leader} takes {cluster.current} for a host of another job",
                    "give all hosts the same TRAINING_JOB_NAME and hosts",
                )
            elif message["kind"] == "start":
                return Start(_counts(cluster, message), leader.address, int(message["port"]))
        for host, why in links.lost():
            raise PeerLostError(f"the leader {cluster.shown(host)} is lost: {why}")


def _counts(cluster: Cluster, message: Message) -> dict[str, int]:
    processes = message.get("processes")
    if not isinstance(processes, dict) or list(processes) != cluster.hosts:
        raise PeerLostError(f"{cluster.leader} has other hosts in its resourceconfig.json")
    return {host: int(count) for host, count in processes.items()}


def _call(meeting: Meeting, links: Links) -> Link:
    """The connection to the leader, whose name may not resolve at once and who may be late."""
    cluster = meeting.cluster
    deadline = time.monotonic() + meeting.seconds
    meeting.say(f"cluster: {cluster.current} calls {cluster.leader}")
    why = "its name does not resolve"
    while time.monotonic() < deadline:
        meeting.check_stop()
        try:
            connection = socket.create_connection((cluster.leader, meeting.port), timeout=2)
        except OSError as error:
            why = f"{error.strerror or error}"
            time.sleep(TICK_SECONDS)
            continue
        link = Link(connection)
        link.send("hello", token=meeting.token, host=cluster.current, processes=meeting.processes)
        if not link.closed:
            return link
        why = link.closed
    raise PeerLostError(
        f"{cluster.shown(cluster.leader)}, the leader, not heard within {meeting.seconds:.0f} s by "
        f"{cluster.current}: {why}"
    )
