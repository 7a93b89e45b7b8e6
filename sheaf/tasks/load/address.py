"""Which addresses may be connected to: those of the public internet, and the networks that `allow_net` names.

The submitter of a run sets `allow_net`; the operator of the workers may limit which networks that can open. A cloud's
metadata service, which gives machines their secrets, is opened only by a network that is exactly its address.

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


#: What a run may open by default.
EVERYTHING = ("0.0.0.0/0", "::/0")
#: Where clouds give a machine its name, its user data and its keys; reading them is enough to act as the machine.
METADATA: tuple[Network, ...] = (
    ipaddress.IPv4Network("169.254.169.254/32"),  # most clouds
    ipaddress.IPv4Network("169.254.170.2/32"),  # keys of containers
    ipaddress.IPv4Network("169.254.170.23/32"),  # the same, newer
    ipaddress.IPv4Network("169.254.0.23/32"),
    ipaddress.IPv4Network("169.254.42.42/32"),
    ipaddress.IPv4Network("100.100.100.200/32"),
    ipaddress.IPv4Network("168.63.129.16/32"),
    ipaddress.IPv4Network("192.0.0.192/32"),
    ipaddress.IPv6Network("fd00:ec2::254/128"),
    ipaddress.IPv6Network("fd00:ec2::23/128"),
    ipaddress.IPv6Network("fd00:42::42/128"),
    ipaddress.IPv6Network("fd20:ce::254/128"),
    ipaddress.IPv6Network("fe80::a9fe:a9fe/128"),
)


class AddressGate:
    """Decides about addresses, and remembers each verdict. `most`: what `allow_net` can open at most."""

    def __init__(self, allow_net: Iterable[str] = (), most: Iterable[str] = EVERYTHING) -> None:
        self._allowed = tuple(map(ipaddress.ip_network, allow_net))
        self._most = tuple(map(ipaddress.ip_network, most))
        self._verdicts: dict[str, bool] = {}

    def lets_through(self, address: str) -> bool:
        """Whether a connection to the address may be opened. An address that cannot be read may not."""
        verdict = self._verdicts.get(address)
        if verdict is None:
            if len(self._verdicts) >= _MOST_VERDICTS:
                self._verdicts.clear()
            verdict = self._verdicts[address] = self._quarantine(address)
        return verdict

    def cure(self, text: str) -> str:
        """What to do about an address that was refused, for people."""
        faces = _faces(text)
        if any(_is_metadata(face) for face in faces):
            # Loading pages never needs that one, so the error message does not suggest it.
            return "a cloud keeps there what only its machines may know"
        if not _opened(self._most, faces):
            return "these workers never open it (SHEAF_ALLOW_NET_MOST)"
        return f"if it is meant, allow its network, for example with --allow-net {text}"

    def _quarantine(self, text: str) -> bool:
        faces = _faces(text)
        if not faces:
            return False
        # Of an address that is carried inside another, the inner one is where the traffic goes.
        if all(_is_public(face) for face in faces[1:] or faces):
            return True
        return _opened(self._allowed, faces) and _opened(self._most, faces)


def _opened(networks: Iterable[Network], faces: Iterable[Address]) -> bool:
    """Whether one of the networks has the address in it, in any of its forms; a service of metadata only by itself."""
    secret = [face for face in faces if _is_metadata(face)]
    return any(
        face in network and (not secret or network.num_addresses == 1)
        for face in secret or faces
        for network in networks
    )


def _is_metadata(address: Address) -> bool:
    return any(address in network for network in METADATA)


def _faces(text: str) -> list[Address]:
    """The address, and those inside it; none of what is no address."""
    try:
        address: Address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return []
    return [address, *_embedded(address)]


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
