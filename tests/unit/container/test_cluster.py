"""Hosts from resourceconfig.json, the interface between them, and how their supervisors meet."""

import json
import socket
import threading
import time

import pytest

from container import cluster, failure, rendezvous
from container.failure import ChannelError, InterruptedFailure, PeerLostError
from container.link import MAX_LINE_BYTES, SILENCE_SECONDS, Link, Links
from container.ranks import environments
from container.rendezvous import Meeting, Start


def group(name, *hosts):
    return {"instance_group_name": name, "instance_type": "ml.m5.xlarge", "hosts": list(hosts)}


def test_a_missing_file_is_one_host_that_leads():
    alone = cluster.parse({})

    assert alone.hosts == ["algo-1"]
    assert alone.leads


def test_every_host_has_the_same_order_and_leader():
    config = {"hosts": ["algo-2", "algo-10", "algo-1"], "current_host": "algo-2"}

    parsed = cluster.parse(config)

    assert parsed.hosts == ["algo-1", "algo-10", "algo-2"]
    assert parsed.leader == "algo-1"
    assert parsed.others == ["algo-1", "algo-10"]


def test_instance_groups_take_part_and_are_named():
    groups = [group("cpu", "algo-3"), group("gpu", "algo-2", "algo-1")]
    config = {"hosts": ["algo-1", "algo-2", "algo-3"], "current_host": "algo-3",
              "instance_groups": groups}  # fmt: skip

    parsed = cluster.parse(config)

    assert parsed.groups == {"cpu": ["algo-3"], "gpu": ["algo-2", "algo-1"]}
    assert parsed.shown("algo-3") == "algo-3 (cpu)"


@pytest.mark.parametrize(
    ("config", "words"),
    [
        pytest.param({"hosts": "algo-1"}, ["hosts='algo-1'"], id="hosts are text"),
        pytest.param({"hosts": ["a", "a"]}, ["different host names"], id="a host twice"),
        pytest.param({"hosts": [""]}, ["different host names"], id="a host without a name"),
        pytest.param({"hosts": ["a"], "current_host": "b"}, ["current_host='b'"], id="stranger"),
        pytest.param(
            {"hosts": ["a"], "network_interface_name": 3, "instance_groups": [1]},
            ["network_interface_name=3", "instance_groups"],
            id="two mistakes at once",
        ),
        pytest.param(
            {"hosts": ["a"], "instance_groups": [group("g", "b")]}, ["b: not among"], id="group"
        ),
    ],
)
def test_an_unusable_file_is_refused_with_every_mistake(config, words):
    with pytest.raises(ChannelError) as refused:
        cluster.parse(config)

    for word in words:
        assert word in str(refused.value)


@pytest.mark.parametrize("named", ["lo", "ethwe", ""])
def test_an_interface_that_does_not_exist_is_replaced_by_the_one_that_is_used(named):
    assert cluster.interface(named, "127.0.0.1") == "lo"


def test_the_token_differs_between_jobs():
    one = cluster.parse({"hosts": ["a", "b"], "current_host": "a"})
    other = cluster.parse({"hosts": ["b", "a"], "current_host": "b"})

    assert one.token("job-1") == other.token("job-1")
    assert one.token("job-1") != one.token("job-2")


def test_hosts_may_start_different_numbers_of_processes(tmp_path):
    config = {"hosts": ["127.0.0.1", "127.0.0.2"], "current_host": "127.0.0.2"}
    start = Start({"127.0.0.1": 4, "127.0.0.2": 2}, "127.0.0.1", 4000)

    made = environments(cluster.parse(config), start, tmp_path)

    assert [own["RANK"] for own in made] == ["4", "5"]
    assert [own["LOCAL_RANK"] for own in made] == ["0", "1"]
    assert {own["WORLD_SIZE"] for own in made} == {"6"}
    assert {own["GROUP_RANK"] for own in made} == {"1"}
    assert {own["GLOO_SOCKET_IFNAME"] for own in made} == {"lo"}
    assert len({own[failure.FOLDER] for own in made}) == 2


@pytest.fixture
def pair():
    with socket.create_server(("127.0.0.1", 0)) as server:
        caller = socket.create_connection(server.getsockname())
        taken, _ = server.accept()
        yield caller, Link(taken)
        caller.close()
        taken.close()


def heard(link):
    links = Links()
    links.of["peer"] = link
    return links.listen(1.0)


def test_messages_arrive_whole_however_they_are_cut(pair):
    caller, link = pair

    caller.sendall(b'{"kind": "do')
    assert heard(link) == []
    caller.sendall(b'ne"}\n{"kind": "beat"}\n{"kind": "stop"}\n')

    assert [message["kind"] for _, message in heard(link)] == ["done", "stop"]


@pytest.mark.parametrize(
    ("sent", "why"),
    [
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", "no message", id="http"),
        pytest.param(b"[1]\n", "no message", id="no object"),
        pytest.param(b"{}\n", "no message", id="no kind"),
        pytest.param(b"[" * 5000 + b"\n", "no message", id="nested"),
        pytest.param(b"\xff\xfe\n", "no message", id="no text"),
        pytest.param(b"x" * (MAX_LINE_BYTES + 9), "more than", id="endless line"),
    ],
)
def test_a_peer_that_sends_anything_else_is_cut(pair, sent, why):
    caller, link = pair

    caller.sendall(sent)
    for _ in range(3):
        heard(link)
        if link.closed:
            break

    assert why in link.closed


def test_a_closed_connection_is_a_lost_host(pair):
    caller, link = pair
    links = Links()
    links.of["algo-2"] = link

    caller.close()
    links.listen(1.0)

    assert links.lost() == [("algo-2", "it closed its connection")]
    assert links.lost() == []


def test_a_host_without_a_sign_of_life_is_lost(pair):
    _, link = pair

    link.heard -= SILENCE_SECONDS + 1

    assert "silent for 16 s" in link.lost()


class Host(threading.Thread):
    """A host's part of the meeting; all of it but the processes."""

    def __init__(self, hosts, current, port, processes=1, seconds=10.0, job="job", stopped=False):
        super().__init__()
        parsed = cluster.parse({"hosts": hosts, "current_host": current})
        self.links = Links()
        self.meeting = Meeting(parsed, parsed.token(job), processes, port, seconds,
                               lambda: stopped, lambda line: None)  # fmt: skip
        self.result = None
        self.start()

    def run(self):
        try:
            self.result = rendezvous.meet(self.meeting, self.links)
        except (PeerLostError, InterruptedFailure) as failed:
            self.result = failed
        self.links.close(2.0)


HOSTS = ["127.0.0.1", "127.0.0.2", "127.0.0.3"]


def results(*hosts):
    for host in hosts:
        host.join(30)
    return [host.result for host in hosts]


def test_hosts_agree_on_ranks_and_port_in_any_order_of_arrival():
    port = cluster.free_port()
    third = Host(HOSTS, HOSTS[2], port, processes=4)
    second = Host(HOSTS, HOSTS[1], port, processes=2)

    starts = results(Host(HOSTS, HOSTS[0], port, processes=2), second, third)

    assert {start.world for start in starts} == {8}
    assert [start.first_rank(host) for start, host in zip(starts, HOSTS, strict=True)] == [0, 2, 4]
    assert len({(start.address, start.port) for start in starts}) == 1


def test_whoever_is_missing_is_named_on_every_other_host():
    port = cluster.free_port()
    present = [Host(HOSTS, host, port, seconds=1.0) for host in (HOSTS[0], HOSTS[2])]

    failures = results(*present)

    for failed in failures:
        assert str(failed).startswith("peer-lost: 127.0.0.2 not heard within 1 s by 127.0.0.1")


def test_a_host_of_another_job_is_not_taken():
    port = cluster.free_port()
    pair_of_hosts = HOSTS[:2]
    stranger = Host(pair_of_hosts, HOSTS[1], port, job="other")
    leader = Host(pair_of_hosts, HOSTS[0], port, seconds=2.0)

    failed, refused = results(leader, stranger)

    assert "127.0.0.2 not heard" in str(failed)
    assert "a host of another job" in str(refused)


def test_a_stop_while_they_meet_is_an_interruption():
    stopped = Host(HOSTS[:2], HOSTS[0], cluster.free_port(), stopped=True)

    (failed,) = results(stopped)

    assert isinstance(failed, InterruptedFailure)


def test_a_host_that_calls_and_ends_in_one_breath_is_heard():
    port = cluster.free_port()
    leader = Host(HOSTS[:2], HOSTS[0], port)
    hello = {"kind": "hello", "host": HOSTS[1], "processes": 1, "token": leader.meeting.token}
    end = {"kind": "end", "who": HOSTS[1], "text": "interrupted: stopped; fix: start it again"}
    deadline = time.monotonic() + 10

    while True:
        try:
            caller = socket.create_connection((HOSTS[0], port), timeout=5)
            break
        except ConnectionRefusedError:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    with caller:
        caller.sendall(b"".join(json.dumps(said).encode() + b"\n" for said in (hello, end)))
        (failed,) = results(leader)

    assert isinstance(failed, InterruptedFailure)


@pytest.mark.parametrize(
    ("text", "start"),
    [
        pytest.param("data: bad; fix: repair", "algo-2 failed first: data: bad; fix: repair",
                     id="a cause"),
        pytest.param("peer-lost: algo-3 is lost; fix: look", "algo-3 is lost; fix: look",
                     id="a lost host has no words"),
        pytest.param("odd", "algo-2 failed first: odd; fix: look", id="no fix"),
    ],
)  # fmt: skip
def test_the_first_ones_reason_is_everybodys(text, start):
    reason = failure.reason(failure.of_peer("algo-2", text))

    assert reason.startswith(f"peer-lost: {start}")
