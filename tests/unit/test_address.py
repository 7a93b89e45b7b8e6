"""Which addresses may be connected to."""

import pytest

from sheaf.core.errors import SettingsError
from sheaf.core.settings import Settings
from sheaf.tasks.load.address import METADATA, AddressGate
from sheaf.tasks.load.options import LoadOptions
from sheaf.tasks.registry import limited

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
    """Also where an IPv6 address represents a public IPv4 address."""
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


#: The service of metadata as it is, and inside other addresses.
SECRET = [
    "169.254.169.254",
    "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "2002:a9fe:a9fe::1",
    "fe80::a9fe:a9fe%eth0",
]


@pytest.mark.parametrize("address", [*SECRET, *(str(network.network_address) for network in METADATA)])
@pytest.mark.parametrize("opened", ["169.254.0.0/16", "0.0.0.0/0", "64:ff9b::/96", "2002::/16", "fe80::/10", "::/0"])
def test_no_network_opens_a_clouds_secrets_with_it(address: str, opened: str) -> None:
    """Neither a run nor an operator who opens a network means the one address in it that gives keys away."""
    assert not AddressGate([opened]).lets_through(address)
    assert not AddressGate([opened], [opened]).lets_through(address)


def test_a_clouds_secrets_are_opened_only_if_both_name_them() -> None:
    """The run's word is not enough, nor is the operator's."""
    name = ["169.254.169.254/32"]
    assert not AddressGate(name).lets_through("169.254.169.254")
    assert not AddressGate([], name).lets_through("169.254.169.254")
    assert AddressGate(name, name).lets_through("169.254.169.254")
    assert AddressGate(name, name).lets_through("::ffff:169.254.169.254")
    assert not AddressGate(name, name).lets_through("169.254.170.2")


def test_an_operator_says_what_a_run_can_open_at_most() -> None:
    """What is beyond it stays closed; the public internet is open to all; nothing is opened that no run asked for."""
    gate = AddressGate(["10.0.0.0/8", "127.0.0.0/8", "fd00::/8"], ["10.1.0.0/16", "192.168.0.0/16"])
    opened = ["10.1.2.3", "::ffff:10.1.2.3", "8.8.8.8", "2606:4700:4700::1111"]
    refused = ["10.2.0.1", "127.0.0.1", "192.168.0.1", "fd00::1", "64:ff9b::7f00:1"]
    assert [address for address in opened + refused if gate.lets_through(address)] == opened
    assert not AddressGate(["0.0.0.0/0", "::/0"], []).lets_through("127.0.0.1")


def test_a_cure_never_leads_to_a_clouds_secrets() -> None:
    """The message about a refused address says what would open it, if anything would and anybody should."""
    assert "--allow-net 10.0.0.1" in AddressGate().cure("10.0.0.1")
    assert "SHEAF_ALLOW_NET_MOST" in AddressGate([], ["10.0.0.0/8"]).cure("127.0.0.1")
    for address in [*SECRET, *(str(network.network_address) for network in METADATA)]:
        assert "--allow-net" not in AddressGate().cure(address)
        assert "SHEAF_ALLOW_NET_MOST" not in AddressGate().cure(address)


def test_a_workers_setting_stands_above_what_a_run_says() -> None:
    """A run whose manifest brings a list of its own gets the worker's."""
    settings = Settings.from_env({"SHEAF_ALLOW_NET_MOST": "10.0.0.0/8, fd00::/8"})
    said = {"allow_net": ["127.0.0.0/8"], "allow_net_most": ["0.0.0.0/0"]}

    options = LoadOptions.from_mapping(limited("load", said, settings.networks))

    assert options.allow_net_most == ("10.0.0.0/8", "fd00::/8")
    assert limited("tasks:mine", said, settings.networks) == said
    assert Settings.from_env({"SHEAF_ALLOW_NET_MOST": "none"}).networks == ()
    with pytest.raises(SettingsError, match="SHEAF_ALLOW_NET_MOST"):
        Settings.from_env({"SHEAF_ALLOW_NET_MOST": "10.0.0.1/8"})
