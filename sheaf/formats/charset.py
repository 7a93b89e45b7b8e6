"""Which characters a page's bytes represent, as browsers decide it (WHATWG): BOM, header, declaration, then a guess."""

from __future__ import annotations

import codecs
import re
from functools import lru_cache
from typing import NamedTuple

from sheaf.formats import decoders
from sheaf.formats.declaration import declared
from sheaf.formats.media_type import charset_of
from sheaf.formats.utf8 import is_utf8

_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16le"), (codecs.BOM_UTF16_BE, "utf-16be"))
_FIRST_OF_BOM = frozenset(bom[:2] for bom, _ in _BOMS)
#: Media types besides text/* that are text.
_TEXT_TYPES = re.compile(
    r"text/|application/(?:(?:.*\+)?(?:xml|json)|(?:x-)?javascript|ecmascript|x-ndjson|jsonl)(?:$|[;\s])|.*\+(?:xml|json)"
)
#: A declaration inside the text counts in markup only.
_MARKUP_TYPES = re.compile(r"text/(?:html|xml)|application/(?:.*\+)?xml|.*\+xml")
_SNIFFED_BYTES = 1024


class Decoded(NamedTuple):
    text: str
    #: The encoding's name in the WHATWG standard, in lower case, such as `windows-1252`.
    charset: str
    #: `bom`, `header`, `declaration`, `guess`.
    source: str


def is_text(content_type: str | None, body: bytes) -> bool:
    """Whether a body is text; without a usable Content-Type, whether its first bytes look like text."""
    if content_type and not content_type.startswith("*") and "/" in content_type:
        return _is_text_type(content_type)
    return b"\0" not in body[:_SNIFFED_BYTES]


def decode(body: bytes, content_type: str | None, *, cut: bool = False) -> Decoded:
    """Decode a text body; what its charset does not know becomes U+FFFD. Never fails.

    `cut`: it is known that the body ends early, perhaps in the middle of a character.
    """
    for bom, name in _BOMS:
        if body.startswith(bom):
            return Decoded(decoders.decode(body[len(bom) :], name), name, "bom")
    named, source = _named(body, content_type)
    return _guess(body, cut) if named is None else Decoded(decoders.decode(body, named), named, source)


def as_utf8(body: bytes, content_type: str | None, *, cut: bool = False) -> bytes:
    """Return the text that `decode` finds, in UTF-8. A body that is valid UTF-8 already is not taken apart for it."""
    if utf8_source(body, content_type) is not None and is_utf8(body):
        return body
    return decode(body, content_type, cut=cut).text.encode()


def utf8_source(body: bytes, content_type: str | None) -> str | None:
    """The `source` that `decode` gives a body if its bytes are valid UTF-8; None if it takes them for anything else."""
    if body[:2] in _FIRST_OF_BOM:
        return None
    name, source = _named(body, content_type)
    return source if name in (None, "utf-8") else None


def _named(body: bytes, content_type: str | None) -> tuple[str | None, str]:
    """The encoding that the header names, or else the body itself, and which of them did; None if neither does."""
    header = _by_header(content_type) if content_type else None
    if header is not None:
        return header, "header"
    by_itself = declared(body) if not content_type or _is_markup_type(content_type) else None
    return by_itself, "guess" if by_itself is None else "declaration"


def _guess(body: bytes, cut: bool) -> Decoded:
    try:
        return Decoded(body.decode(), "utf-8", "guess")
    except UnicodeDecodeError as error:
        name = "utf-8" if _is_cut_utf8(body, error, cut) else "windows-1252"
    return Decoded(decoders.decode(body, name), name, "guess")


def _is_cut_utf8(body: bytes, error: UnicodeDecodeError, cut: bool) -> bool:
    """Whether a body is UTF-8 but for its last character, which is not whole.

    Where everything before it is ASCII that proves nothing: the text has to be known to be cut.
    """
    unfinished = error.end == len(body) and error.start > 0 and error.reason == "unexpected end of data"
    return unfinished and (cut or not body[: error.start].isascii())


@lru_cache(maxsize=1024)
def _by_header(content_type: str) -> str | None:
    label = charset_of(content_type)
    return decoders.name_of(label) if label else None


@lru_cache(maxsize=1024)
def _is_text_type(content_type: str) -> bool:
    return _TEXT_TYPES.match(content_type.lower()) is not None


@lru_cache(maxsize=1024)
def _is_markup_type(content_type: str) -> bool:
    return _MARKUP_TYPES.match(content_type.lower()) is not None
