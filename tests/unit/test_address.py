"""Which addresses may be connected to."""

import pytest

from sheaf.tasks.load.address import AddressGate

PUBLIC = [
    "8.8.8.8",
    "1.1.1.1",
    "93.184.215.14",
    "2606:4700:4700::1111",
    "2001:4860:4860::8888",
    "::ffff:8.8.8.8",
    "64:ff9b::808:808",
    "2002:808:808::1",
]
REFUSED = [
    "127.0.0.1",
    "127.255.255.254",
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.0.1",
    "100.64.0.1",
    "100.100.100.200",
    "169.254.169.254",
    "169.254.170.2",
    "192.0.0.192",
    "168.63.129.16",
    "192.0.2.1",
    "198.51.100.1",
    "203.0.113.1",
    "198.18.0.1",
    "192.88.99.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::1",
    "::",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::127.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::808:808",
    "2002:7f00:1::",
    "2002:a00:1::1",
    "2001:0:a00:1:8000:63bf:f5ff:fffe",
    "fec0::1",
    "fe80::1",
    "fe80::1%eth0",
    "fc00::1",
    "fd00:ec2::254",
    "ff02::1",
    "ff0e::1",
    "2001:db8::1",
    "3fff::1",
    "100::1",
    "nonsense",
]


@pytest.mark.parametrize("address", PUBLIC)
def test_the_public_internet_is_let_through(address: str) -> None:
    """Also where an IPv6 address stands for a public IPv4 address."""
    assert AddressGate().lets_through(address)


@pytest.mark.parametrize("address", REFUSED)
def test_everything_else_is_refused(address: str) -> None:
    """Private, local, reserved, multicast and metadata addresses, also inside IPv6; twice gives the same answer."""
    gate = AddressGate()
    assert not gate.lets_through(address)
    assert not gate.lets_through(address)


def test_a_network_that_is_named_is_let_through() -> None:
    """It alone, however its addresses are written."""
    gate = AddressGate(["127.0.0.0/8", "fd00::/8"])
    assert gate.lets_through("127.0.0.1")
    assert gate.lets_through("::ffff:127.0.0.1")
    assert gate.lets_through("fd00::1")
    assert not gate.lets_through("10.0.0.1")
    assert not gate.lets_through("::1")
    assert not gate.lets_through("169.254.169.254")
