"""The address of a Redis as a person writes it: checked, and shown without its password."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

#: A host, perhaps with a port and a database: what may be shown of an address without `@`.
_PLACE = re.compile(r"(\[[0-9a-fA-F:.]+\]|[\w.-]*)(:\d+)?(/\d*)?")
_HIDDEN = "***"


def shown_address(url: str) -> str:
    """The address with its password hidden; of one that cannot be taken apart, nothing that may be part of one."""
    scheme, separator, rest = url.partition("://")
    if not separator or not scheme.isalnum():
        return _HIDDEN
    if scheme == "unix" and "@" not in rest:
        return f"unix://{rest.partition('?')[0]}"
    # A password may hold an `@`, a host does not.
    credentials, at, place = rest.rpartition("@")
    if "?" in credentials:
        return f"{scheme}://{_HIDDEN}"
    place, query, _ = place.partition("?")
    more = "?…" if query else ""
    if at:
        user, colon, _ = credentials.partition(":")
        return f"{scheme}://{user if colon else ''}:{_HIDDEN}@{place}{more}"
    return f"{scheme}://{place if _PLACE.fullmatch(place) else _HIDDEN}{more}"


def fault_of(url: str) -> str | None:
    """What is wrong with the address, without a part of it; None if it may be right."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return "its port is not a number, or its host is in brackets that do not close"
    if parts.scheme not in ("redis", "rediss", "unix"):
        return "it does not begin with redis://, rediss:// or unix://"
    if parts.fragment or "#" in url:
        return "it holds a #"
    if "@" in parts.query or (parts.scheme != "unix" and "@" in parts.path):
        return "its password holds a / or a ?"
    if parts.scheme != "unix" and not re.fullmatch(r"(/\d*)?", parts.path):
        return "its database is not a number"
    return None
