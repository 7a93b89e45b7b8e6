"""What may be said about a `load`: its options, checked once, before the run is submitted and again in each child."""

from __future__ import annotations

import dataclasses
import functools
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from sheaf.core.errors import TaskError
from sheaf.core.version import __version__
from sheaf.tasks.load.address import EVERYTHING

_STATUSES = re.compile(r"any|(?:[1-5]xx|[1-5]\d\d)(?:,(?:[1-5]xx|[1-5]\d\d))*")
#: libcurl's select() cannot see a file descriptor above 1023; as many connections again may be kept idle.
MOST_CONNECTIONS = 400
#: Smallest and largest value of each number.
_LIMITS: dict[str, tuple[float, float]] = {
    "connections": (1, MOST_CONNECTIONS),
    "deadline_s": (0.01, 86_400),
    "connect_timeout_s": (0.01, 3_600),
    "max_bytes": (1, 1 << 30),
    "attempts": (1, 100),
    "max_redirects": (0, 50),
}


#: Options that say how to load, not what ends up in the output: a run that is submitted with others is the same run.
TUNING = frozenset({"connections", "deadline_s", "connect_timeout_s", "attempts"})
#: Paths on the worker's machine: there they may hold anything that a path may.
_PATHS = frozenset({"ca_bundle", "ca_folder"})
#: Characters of certificates that a run may bring: all public authorities together are half of that.
_MOST_CERTIFICATES = 512 << 10
#: Seconds that a retry waits at most, as the server asks for it, and then until its host is to be asked again; and what
#: a busy child may add to an item's time.
_LONGEST_WAIT_S = 61.0 + 60.0
_SLACK_S = 60.0


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """The options of the `load` task and their defaults."""

    #: URLs that one child loads at the same time; 0, the default: what turns out to pay (see `connections.py`).
    connections: int = 0
    #: Seconds until a page, with all its redirects, must be whole. Each attempt has as long.
    deadline_s: float = 30.0
    #: Seconds until a connection must be established.
    connect_timeout_s: float = 10.0
    #: The largest body, in bytes, as received and when unpacked.
    max_bytes: int = 16 << 20
    #: Keep the first `max_bytes` of a larger page, and what came of one that ends early at its last attempt.
    truncate: bool = False
    #: How often a URL is tried before it counts as failed.
    attempts: int = 3
    #: The statuses that count as success: `any`, or a list such as `2xx,404`.
    accept: str = "2xx"
    #: Networks, in CIDR form, that may be loaded from although they are private or local.
    allow_net: tuple[str, ...] = ()
    #: What `allow_net` can open at most: each worker sets its own, whatever a run says.
    allow_net_most: tuple[str, ...] = EVERYTHING
    #: Certificates of authorities (PEM) that are trusted beside those of the workers.
    ca_certificates: str = ""
    #: The file and the folder of the authorities that are trusted; empty: the public ones. Each worker sets its own.
    ca_bundle: str = ""
    ca_folder: str = ""
    user_agent: str = f"Sheaf/{__version__}"
    #: How many redirects are followed: as many as browsers do.
    max_redirects: int = 20

    @classmethod
    def from_mapping(cls, options: Mapping[str, Any]) -> Self:
        """Raises TaskError for an option that is unknown or has a value that cannot be used."""
        kinds = {field.name: type(field.default) for field in dataclasses.fields(cls)}
        unknown = sorted(set(options) - set(kinds))
        if unknown:
            raise TaskError(f"`load` has no option {unknown[0]!r}; its options are {', '.join(kinds)}")
        return cls(**{name: _convert(name, value, kinds[name]) for name, value in options.items()})

    @property
    def longest_s(self) -> float:
        """Seconds after which a URL that still has no result hangs where no deadline of ours reaches."""
        return self.attempts * (self.deadline_s + _LONGEST_WAIT_S) + _SLACK_S

    def accepts(self, status: int) -> bool:
        """Whether an answer of that status is a page."""
        return _accepts(self.accept, status)


@functools.lru_cache(maxsize=1024)
def _accepts(accept: str, status: int) -> bool:
    return accept == "any" or any(wanted in (str(status), f"{status // 100}xx") for wanted in accept.split(","))


def _convert(name: str, value: Any, kind: type) -> Any:
    if kind is bool:
        if not isinstance(value, bool):
            raise TaskError(f"the option {name!r} of `load` must be true or false, not {value!r}")
        return value
    if kind is tuple:
        return _networks(name, value)
    if kind is str:
        return _text(name, value)
    return _number(name, value, kind)


def _number(name: str, value: Any, kind: type) -> float:
    low, high = _LIMITS[name]
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not low <= value <= high or (kind is int and value != int(value)):
        raise TaskError(f"the option {name!r} of `load` must be a number from {low:g} to {high:,.0f}, not {value!r}")
    converted: float = kind(value)
    return converted


def _networks(name: str, value: Any) -> tuple[str, ...]:
    networks = [value] if isinstance(value, str) else value
    if not isinstance(networks, (list, tuple)) or not all(isinstance(network, str) for network in networks):
        raise TaskError(f"the option {name!r} of `load` must be a list of networks such as 10.0.0.0/8, not {value!r}")
    for network in networks:
        try:
            ipaddress.ip_network(network)
        except ValueError as error:
            raise TaskError(
                f"the network {network!r} cannot be used: {error}; write it as 10.0.0.0/8 or fd00::/8"
            ) from error
    return tuple(networks)


def _text(name: str, given: Any) -> str:
    if not isinstance(given, str):
        raise TaskError(f"the option {name!r} of `load` must be a string, not {given!r}")
    if name in _PATHS:
        return given
    value = given.strip()
    if name == "ca_certificates":
        if value and (len(value) > _MOST_CERTIFICATES or "-----BEGIN CERTIFICATE-----" not in value):
            raise TaskError(
                "the option 'ca_certificates' of `load` must be certificates in PEM format, "
                f"{_MOST_CERTIFICATES >> 10} KiB at most"
            )
    elif name == "accept":
        value = value.replace(" ", "").lower()
        if not _STATUSES.fullmatch(value):
            raise TaskError(f"the option 'accept' of `load` must be `any` or a list such as 2xx,404, not {given!r}")
    elif not value.isascii() or not value.isprintable():
        raise TaskError(
            f"the option {name!r} of `load` must be one line of ASCII, as it is sent as a header, not {given!r}"
        )
    return value
