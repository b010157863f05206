"""Which addresses may be asked."""

import ipaddress

import pytest

from container.failure import SettingError
from container.settings import Settings, networks
from serve.refusal import PayloadError
from serve.urls.address import Rule, is_public, resolve

PUBLIC = ["8.8.8.8", "52.216.1.1", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "2a00:1450::1"]
NOT_PUBLIC = [
    "0.0.0.0", "10.1.2.3", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.255.1.2",
    "169.254.169.254", "169.254.170.2", "172.16.0.1", "172.31.255.255", "192.0.0.170",
    "192.0.2.1", "192.88.99.1", "192.168.1.1", "198.18.0.1", "198.51.100.7", "203.0.113.9",
    "224.0.0.1", "240.0.0.1", "255.255.255.255", "168.63.129.16",
    "::", "::1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::7f00:1", "64:ff9b::7f00:1",
    "64:ff9b::808:808", "64:ff9b:1::a00:1", "100::1", "2001::1", "2001:0:7f00:1::1", "2001:2::1",
    "2001:db8::1", "2002:7f00:1::1", "2002:808:808::1", "3fff::1", "fc00::1", "fd00:ec2::254",
    "fe80::1", "fe80::1%eth0", "fe80::1%2", "2606:4700::1111%eth0", "fec0::1", "ff02::1",
    "5f00::1",
]  # fmt: skip


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_may_be_asked(address: str) -> None:
    rule = Rule(resolve=lambda host, port: [address])

    assert rule.addresses("a.example", 443) == [address]


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_any_other_address_refuses_its_host(address: str) -> None:
    rule = Rule(resolve=lambda host, port: ["8.8.8.8", address])

    assert not is_public(ipaddress.ip_address(address))
    with pytest.raises(PayloadError, match="not public") as caught:
        rule.addresses("a.example", 80)
    assert address not in caught.value.message


@pytest.mark.parametrize(
    "host", ["127.1", "0x7f.1", "0177.0.0.1", "2130706433", "0", "localhost", "0x7f000001", "::1"]
)
def test_an_address_in_disguise_is_known(host: str) -> None:
    with pytest.raises(PayloadError, match=r"not public|no address"):
        Rule().addresses(host, 80)


def test_disguises_are_resolved_on_this_machine() -> None:
    assert resolve("0x7f.1", 80) == resolve("2130706433", 80) == ["127.0.0.1"]


@pytest.mark.parametrize("count", [0, 33])
def test_a_name_of_no_address_or_of_dozens_is_refused(count: int) -> None:
    rule = Rule(resolve=lambda host, port: ["8.8.8.8"] * count)

    with pytest.raises(PayloadError, match=f"{count} addresses"):
        rule.addresses("a.example", 80)


def test_an_odd_port_is_for_named_networks_only() -> None:
    named = Rule(networks("10.1.0.0/16, fd00:1::/64"), resolve=lambda host, port: [host])

    assert named.addresses("10.1.2.3", 9000) == ["10.1.2.3"]
    assert named.addresses("fd00:1::5", 6379) == ["fd00:1::5"]
    with pytest.raises(PayloadError, match="port 22 is not asked; only 80 and 443"):
        named.addresses("8.8.8.8", 22)


@pytest.mark.parametrize("address", ["10.2.0.1", "::ffff:10.1.2.3", "fd00:1::5%eth0", "127.0.0.1"])
def test_a_named_network_opens_nothing_beside_it(address: str) -> None:
    named = Rule(networks("10.1.0.0/16,fd00:1::/64"), resolve=lambda host, port: [address])

    with pytest.raises(PayloadError, match="not public"):
        named.addresses("a.example", 80)


def test_a_network_that_is_none_ends_the_start() -> None:
    assert not Settings.read({}).allow_urls
    with pytest.raises(SettingError, match="URL_NETWORKS='10.0.0.1/8'"):
        Settings.read({"URL_NETWORKS": "10.0.0.1/8"})
