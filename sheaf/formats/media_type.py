"""What a response's Content-Type lines say, as browsers read them (Fetch, "extract a MIME type")."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

#: A value, up to a comma that is not inside quotation marks.
_VALUE = re.compile(r'((?:"(?:[^"\\]|\\.)*"?|[^",])*)(?:,|\Z)', re.DOTALL)
_PARAMETER = re.compile(r';\s*([^\s;="]*)\s*=\s*(?:"((?:[^"\\]|\\.)*)"?|([^;]*))', re.DOTALL)
_WORD = r"[!#$%&'*+.^_`|~\w-]+"
_ESSENCE = re.compile(rf"\s*({_WORD}/{_WORD})\s*(?:;|\Z)", re.ASCII)
_QUOTED_PAIR = re.compile(r"\\(.)", re.DOTALL)


def combined(values: Sequence[str]) -> str:
    """The one media type that several lines, or several values in a line, come to: the last one that is a media type.

    It takes over the charset of those before it that are of the same type. Without any media type: the first value.
    """
    last, last_essence, charset = None, None, None
    for value in _split(",".join(values)):
        essence = _essence(value)
        if essence is None or essence == "*/*":
            continue
        if essence != last_essence:
            charset = None
        last, last_essence, own = value.strip(), essence, charset_of(value)
        if own is not None:
            charset = own
        elif charset is not None:
            last = f"{last};charset={charset}"
    return values[0] if last is None else last


@lru_cache(maxsize=1024)
def charset_of(content_type: str) -> str | None:
    """The charset that a media type names, as it is written there; of several the first. Laxer than the standard about
    blanks around the `=` and about single quotation marks, of which servers send many.
    """
    for name, quoted, plain in _PARAMETER.findall(content_type):
        if name.lower() == "charset":
            value = _QUOTED_PAIR.sub(r"\1", quoted) if quoted else plain
            return str(value).strip(" \t\r\n\f'\"") or None
    return None


def _split(text: str) -> list[str]:
    return [value for value in _VALUE.findall(text) if value.strip()]


def _essence(value: str) -> str | None:
    found = _ESSENCE.match(value)
    return found[1].lower() if found else None
