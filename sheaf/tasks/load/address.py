"""Which addresses may be connected to: those of the public internet, and the networks that `allow_net` names.

The check is made when a connection is opened, on the very address it goes to. So it holds for names, for every
spelling of a literal address, after redirects, and for a name server that answers differently the second time.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

#: Python's `is_global` differs between versions, and calls some of these global.
_REFUSED: tuple[Network, ...] = (
    ipaddress.IPv4Network("192.0.0.0/24"),  # protocol assignments; 192.0.0.192 serves a cloud's metadata
    ipaddress.IPv4Network("192.88.99.0/24"),  # relays of 6to4
    ipaddress.IPv4Network("168.63.129.16/32"),  # a cloud's metadata and name service, on a public address
    ipaddress.IPv4Network("100.100.100.200/32"),  # a cloud's metadata
    ipaddress.IPv4Network("169.254.0.0/16"),  # link-local, and most clouds' metadata
    ipaddress.IPv4Network("198.18.0.0/15"),  # benchmarks of devices
    ipaddress.IPv6Network("3fff::/20"),  # documentation
)
#: The only part of IPv6 that is given out for the public internet.
_PUBLIC_V6 = ipaddress.IPv6Network("2000::/3")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_COMPATIBLE = ipaddress.IPv6Network("::/96")
#: A run that meets more addresses than this starts its memory of verdicts anew.
_MOST_VERDICTS = 50_000


class AddressGate:
    """Decides about addresses, and remembers each verdict."""

    def __init__(self, allow_net: Iterable[str] = ()) -> None:
        self._allowed = tuple(ipaddress.ip_network(network) for network in allow_net)
        self._verdicts: dict[str, bool] = {}

    def lets_through(self, address: str) -> bool:
        """Whether a connection to the address may be opened. An address that cannot be read may not."""
        verdict = self._verdicts.get(address)
        if verdict is None:
            if len(self._verdicts) >= _MOST_VERDICTS:
                self._verdicts.clear()
            verdict = self._verdicts[address] = self._judge(address)
        return verdict

    def _judge(self, text: str) -> bool:
        try:
            address: Address = ipaddress.ip_address(text.partition("%")[0])
        except ValueError:
            return False
        embedded = list(_embedded(address))
        if any(face in network for face in (address, *embedded) for network in self._allowed):
            return True
        return all(_is_public(face) for face in embedded or [address])


def _embedded(address: Address) -> Iterator[Address]:
    """The IPv4 addresses that traffic to an IPv6 address really goes to: mapped, compatible, NAT64, 6to4, Teredo."""
    if isinstance(address, ipaddress.IPv4Address):
        return
    if address.ipv4_mapped is not None:
        yield address.ipv4_mapped
    elif address in _NAT64 or (address in _COMPATIBLE and int(address) > 1):
        yield ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    elif address.sixtofour is not None:
        yield address.sixtofour
    elif address.teredo is not None:
        yield from address.teredo


def _is_public(address: Address) -> bool:
    if any(address in network for network in _REFUSED):
        return False
    if isinstance(address, ipaddress.IPv6Address) and address not in _PUBLIC_V6:
        return False
    return address.is_global and not (address.is_multicast or address.is_reserved)
