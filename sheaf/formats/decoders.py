"""The decoders of the WHATWG Encoding Standard: Python's codecs, and what browsers read differently.

`webencodings` knows the standard's labels and names, but decodes with Python's codecs as they are. Where the two differ
is written down here by rule, and compared with a browser's implementation in docs/decisions/0041-charsets.md.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable
from functools import cache, lru_cache

import webencodings

#: The standard's name -> Python's codec, where it is not the same word. `windows-*` and `iso-*` follow a rule.
_SINGLE_BYTE = {
    "ibm866": "cp866",
    "iso-8859-8-i": "iso8859-8",
    "koi8-r": "koi8-r",
    "koi8-u": "koi8-u",
    "macintosh": "mac-roman",
    "x-mac-cyrillic": "mac-cyrillic",
}
#: Imported when the first such page comes: their tables take a few milliseconds.
_EAST_ASIAN = ("big5", "euc-jp", "euc-kr", "gb18030", "gbk", "iso-2022-jp", "shift_jis")
#: Bytes that browsers read differently from Python's codec.
_READ_DIFFERENTLY = {
    # Both letters of Belarusian, as KOI8-RU has them.
    "koi8-u": {0xAE: "ў", 0xBE: "Ў"},
    "windows-1255": {0xCA: "\u05ba"},
}
_UNKNOWN = "\ufffd"


@lru_cache(maxsize=1024)
def name_of(label: str) -> str | None:
    """The standard's name of the encoding that a label means, in lower case; None for a label that browsers ignore."""
    found = webencodings.LABELS.get(webencodings.ascii_lower(label.strip("\t\n\f\r ")))
    return str(found) if found else None


def decode(body: bytes, name: str) -> str:
    """Decode a body in the encoding of that name; what it does not know becomes U+FFFD. Never fails."""
    return _decoder(name)(body)


@cache
def _decoder(name: str) -> Callable[[bytes], str]:
    if name in ("utf-8", "utf-16le", "utf-16be"):
        return lambda body: body.decode(name, "replace")
    if name == "replacement":
        # What once could hide markup from a filter is shown as one sign.
        return lambda body: _UNKNOWN if body else ""
    if name in _EAST_ASIAN:
        from sheaf.formats.east_asian import DECODERS

        return DECODERS[name]
    table = _table(name)
    return lambda body: codecs.charmap_decode(body, "strict", table)[0]


def _table(name: str) -> str:
    """The 256 characters of a single-byte encoding."""
    if name == "x-user-defined":
        return "".join(chr(byte if byte < 0x80 else 0xF700 + byte) for byte in range(256))
    codec = _SINGLE_BYTE.get(name) or name.replace("windows-", "cp").replace("iso-", "iso")
    differently = _READ_DIFFERENTLY.get(name, {})
    # Bytes that a Windows code page leaves open are control characters to browsers.
    opened = 0xA0 if name.startswith("windows-") else 0
    return "".join(differently.get(byte) or _character(byte, codec, opened) for byte in range(256))


def _character(byte: int, codec: str, opened: int) -> str:
    try:
        return bytes([byte]).decode(codec)
    except UnicodeDecodeError:
        return chr(byte) if byte < opened else _UNKNOWN
