"""Which addresses a client's URL may lead to: public ones, and networks that a setting names.

A server that fetches what it is told to can be made to ask its own machine, its neighbours, or the
cloud's credentials at 169.254.169.254. So an address is checked, never a name, and it is the
checked address that is connected to: a name may mean another one a moment later.
"""

import ipaddress
import socket
from collections.abc import Callable
from dataclasses import dataclass

from container.settings import Network
from serve.refusal import PayloadError

MOST_ADDRESSES = 32
"""Of one name; more is no web server's."""

_NOT_PUBLIC_4 = tuple(
    ipaddress.IPv4Network(network)
    for network in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16",
        "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16",
        "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3",
        "168.63.129.16/32",
    )
)  # fmt: skip
"""IANA's special-purpose registry, multicast, what is reserved, and Azure's own host."""

_PUBLIC_6 = ipaddress.IPv6Network("2000::/3")
"""What IANA gives out. Outside of it lie loopback, link-local and private addresses, and those that
carry an IPv4 address inside: mapped (::ffff:0:0/96) and NAT64 (64:ff9b::/96, 64:ff9b:1::/48)."""

_NOT_PUBLIC_6 = tuple(
    ipaddress.IPv6Network(network)
    for network in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")
)
"""Of those: protocols such as Teredo, examples, 6to4, which carries an IPv4 address, examples."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], list[str]]


def resolve(host: str, port: int) -> list[str]:
    """All addresses of a name, or of an address however it is written (`0x7f.1`, `2130706433`)."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    # the same address with a scope (fe80::1%eth0) is another one, so the scope stays visible
    return list(dict.fromkeys(_text(entry[4]) for entry in found))


def _text(sockaddr: tuple[object, ...]) -> str:
    scope = sockaddr[3] if len(sockaddr) == 4 else 0
    return f"{sockaddr[0]}%{scope}" if scope and "%" not in str(sockaddr[0]) else str(sockaddr[0])


def is_public(address: Address) -> bool:
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in _NOT_PUBLIC_4)
    if address.scope_id is not None or address not in _PUBLIC_6:
        return False
    return not any(address in network for network in _NOT_PUBLIC_6)


@dataclass(frozen=True)
class Rule:
    """`networks` may be asked beside the public addresses, at any port."""

    networks: tuple[Network, ...] = ()
    ports: tuple[int, ...] = (80, 443)
    resolve: Resolve = resolve

    def addresses(self, host: str, port: int) -> list[str]:
        """Of a host, all of them allowed: one that is not refuses the host. Raises PayloadError,
        without the address: a client is not told what names mean in here."""
        try:
            found = self.resolve(host, port)
        except (OSError, UnicodeError, ValueError):
            raise PayloadError(f"url: the host {host[:100]!r} has no address") from None
        if not 0 < len(found) <= MOST_ADDRESSES:
            raise PayloadError(f"url: the host {host[:100]!r} has {len(found)} addresses")
        parsed = [ipaddress.ip_address(each) for each in found]
        named = [self._is_named(each) for each in parsed]
        if not all(known or is_public(each) for known, each in zip(named, parsed, strict=True)):
            raise PayloadError(f"url: the host {host[:100]!r} has an address that is not public")
        if port not in self.ports and not all(named):
            ports = " and ".join(map(str, self.ports))
            raise PayloadError(f"url: port {port} is not asked; only {ports} are")
        return [str(each) for each in parsed]

    def _is_named(self, address: Address) -> bool:
        if isinstance(address, ipaddress.IPv6Address) and address.scope_id is not None:
            return False
        return any(address in network for network in self.networks)
