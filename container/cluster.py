"""Which hosts a job has, which of them this one is, and how they reach each other.

Everything comes from `resourceconfig.json`; `/etc/hosts` and the container's own host name are not
trusted, for the platform's local mode sets neither.
"""

import fcntl
import hashlib
import json
import socket
import struct
from dataclasses import dataclass, field
from typing import Any

from container.failure import ChannelError

SIOCGIFADDR = 0x8915
ANY_PORT = 9
"""Of an address that is only asked for its route: nothing is sent."""


@dataclass(frozen=True)
class Cluster:
    hosts: list[str]
    """Sorted, so that every host has the same order; the first one leads."""
    current: str
    interface: str = ""
    groups: dict[str, list[str]] = field(default_factory=dict)
    """Instance group -> its hosts; empty where the platform names none."""

    @property
    def leader(self) -> str:
        return self.hosts[0]

    @property
    def leads(self) -> bool:
        return self.current == self.leader

    @property
    def others(self) -> list[str]:
        return [host for host in self.hosts if host != self.current]

    def token(self, job: str) -> str:
        """Keeps other jobs' processes out. No secret: what keeps strangers out is the network."""
        return hashlib.sha256(json.dumps([job, self.hosts]).encode()).hexdigest()

    def shown(self, host: str) -> str:
        """The host, with its group where there are several kinds of machines."""
        named = [name for name, hosts in self.groups.items() if host in hosts]
        return f"{host} ({named[0]})" if named and len(self.groups) > 1 else host


def parse(config: dict[str, Any]) -> Cluster:
    """From `resourceconfig.json`; a missing one is one host. Raises ChannelError with every
    mistake."""
    mistakes = []
    hosts = config.get("hosts") or ["algo-1"]
    if not _names(hosts) or len(set(hosts)) != len(hosts):
        mistakes.append(f"hosts={hosts!r}: expected a list of different host names")
        hosts = ["algo-1"]
    current = config.get("current_host") or hosts[0]
    if current not in hosts and not mistakes:
        mistakes.append(f"current_host={current!r}: not among hosts={hosts!r}")
    interface = config.get("network_interface_name") or ""
    if not isinstance(interface, str):
        mistakes.append(f"network_interface_name={interface!r}: expected a name")
    groups = config.get("instance_groups") or []
    if not isinstance(groups, list) or not all(map(_is_group, groups)):
        mistakes.append("instance_groups: expected objects with instance_group_name and hosts")
        groups = []
    strangers = sorted({host for group in groups for host in group["hosts"]} - set(hosts))
    if strangers and not mistakes:
        mistakes.append(f"instance_groups: {', '.join(strangers)}: not among hosts={hosts!r}")
    if mistakes:
        raise ChannelError(
            f"resourceconfig.json cannot be used: {'; '.join(mistakes)}",
            "correct resourceconfig.json, or leave it out where there is one host",
        )
    named = {group["instance_group_name"]: list(group["hosts"]) for group in groups}
    return Cluster(sorted(hosts), current, interface, named)


def _names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) and name for name in value)


def _is_group(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and isinstance(value.get("instance_group_name"), str)
        and _names(value.get("hosts"))
    )


def addresses(host: str) -> list[str]:
    """IP addresses of a host; none yet, where its name does not resolve at once."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return []
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def own_address(cluster: Cluster) -> str:
    """The address to listen on; every one ("") where the own name means only this machine."""
    own = addresses(cluster.current)
    if not own:
        return ""
    local = own[0].startswith("127.") or own[0] == "::1"
    elsewhere = (address for host in cluster.others for address in addresses(host))
    if local and not any(address.startswith("127.") for address in elsewhere):
        return ""
    return own[0] if _bindable(own[0]) else ""


def _bindable(address: str) -> bool:
    try:
        with socket.create_server((address, 0), family=_family(address)):
            return True
    except OSError:
        return False


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def listen(address: str, port: int) -> socket.socket:
    """A socket that takes connections, also ones that nobody accepts. Raises OSError."""
    return socket.create_server((address, port), family=_family(address), backlog=128)


def free_port() -> int:
    with socket.create_server(("", 0)) as server:
        return int(server.getsockname()[1])


def interface(named: str, towards: str) -> str | None:
    """The interface that the platform names, if it exists (local mode names one that does not);
    else the one that the way to the address `towards` begins with."""
    names = [name for _, name in socket.if_nameindex()]
    if named in names:
        return named
    try:
        with socket.socket(_family(towards), socket.SOCK_DGRAM) as probe:
            probe.connect((towards, ANY_PORT))
            own = probe.getsockname()[0]
    except OSError:
        return None
    # every 127.x.x.x is this machine, whichever of them the interface itself has
    return next(
        (name for name in names if _address_of(name) == own),
        "lo" if own.startswith("127.") and "lo" in names else None,
    )


def _address_of(name: str) -> str | None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        try:
            answer = fcntl.ioctl(asked, SIOCGIFADDR, struct.pack("256s", name.encode()[:15]))
        except OSError:  # it has no address
            return None
    return socket.inet_ntoa(answer[20:24])
