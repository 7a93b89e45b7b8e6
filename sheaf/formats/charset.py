"""Which characters a page's bytes stand for, as browsers decide it (WHATWG): BOM, header, declaration, then a guess."""

from __future__ import annotations

import codecs
import re
from functools import lru_cache
from typing import NamedTuple

from w3lib.encoding import html_body_declared_encoding, resolve_encoding, to_unicode

from sheaf.formats.utf8 import is_utf8

_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_FIRST_OF_BOM = frozenset(bom[:2] for bom, _ in _BOMS)
#: What pages declare and neither Python nor w3lib knows, or understands differently from browsers.
_LABELS = {
    "utf-16": "utf-16-le",
    "utf-32": "utf-8",
    "unicode-1-1-utf-8": "utf-8",
    "x-gbk": "gb18030",
    "x-x-big5": "big5hkscs",
    "ks_c_5601-1987": "cp949",
    "windows-949": "cp949",
    "x-mac-cyrillic": "mac-cyrillic",
    "x-mac-roman": "mac-roman",
    "dos-874": "cp874",
    "iso-8859-8-i": "iso8859-8",
    "logical": "iso8859-8",
    "x-user-defined": "cp1252",
    **{f"x-cp125{digit}": f"cp125{digit}" for digit in range(9)},
}
#: The codecs that browsers know, as Python names them. Python has others, such as `hex` or `idna`, that would fail.
_CODECS = frozenset(
    {
        "utf-8",
        "utf-16-le",
        "utf-16-be",
        "cp866",
        "cp874",
        "cp932",
        "cp949",
        "gb18030",
        "big5hkscs",
        "euc_jp",
        "iso2022_jp",
    }
    | {"koi8-r", "koi8-u", "mac-roman", "mac-cyrillic"}
    | {f"cp125{digit}" for digit in range(9)}
    | {f"iso8859-{part}" for part in range(2, 17)}
)
#: Python's name of a codec -> the name that browsers and people use.
_NAMES = {
    "cp932": "shift_jis",
    "big5hkscs": "big5",
    "cp949": "euc-kr",
    "mac-roman": "macintosh",
    "cp874": "windows-874",
}
_COMMENT = re.compile(rb"<!--.*?(?:-->|$)", re.DOTALL)
_META_LABEL = re.compile(rb"<meta[^>]+charset\s*=\s*[\"']?\s*([\w:-]+)", re.IGNORECASE)
_HEADER_LABEL = re.compile(r"charset\s*=\s*[\"']?\s*([\w:-]+)", re.IGNORECASE)
#: Media types besides text/* that are text.
_TEXT_TYPES = re.compile(
    r"text/|application/(?:(?:.*\+)?(?:xml|json)|(?:x-)?javascript|ecmascript|x-ndjson|jsonl)(?:$|[;\s])|.*\+(?:xml|json)"
)
#: A declaration inside the text counts in markup only.
_MARKUP_TYPES = re.compile(r"text/(?:html|xml)|application/(?:.*\+)?xml|.*\+xml")
_SNIFFED_BYTES = 1024


class Decoded(NamedTuple):
    text: str
    #: The charset's usual name in lower case, such as `windows-1252`.
    charset: str
    #: `bom`, `header`, `declaration`, `guess`.
    source: str


def is_text(content_type: str | None, body: bytes) -> bool:
    """Whether a body is text; without a usable Content-Type, whether its first bytes look like text."""
    if content_type and not content_type.startswith("*") and "/" in content_type:
        return _is_text_type(content_type)
    return b"\0" not in body[:_SNIFFED_BYTES]


def decode(body: bytes, content_type: str | None) -> Decoded:
    """Decode a text body; what its charset does not know becomes U+FFFD. Never fails."""
    for bom, codec in _BOMS:
        if body.startswith(bom):
            return Decoded(to_unicode(body[len(bom) :], codec), codec, "bom")
    named, source = _named_codec(body, content_type)
    return _guess(body) if named is None else _decode(body, named, source)


def as_utf8(body: bytes, content_type: str | None) -> bytes:
    """Return the text that `decode` finds, in UTF-8. A body that is valid UTF-8 already is not taken apart for it."""
    if utf8_source(body, content_type) is not None and is_utf8(body):
        return body
    return decode(body, content_type).text.encode()


def utf8_source(body: bytes, content_type: str | None) -> str | None:
    """The `source` that `decode` gives a body if its bytes are valid UTF-8; None if it takes them for anything else."""
    if body[:2] in _FIRST_OF_BOM:
        return None
    codec, source = _named_codec(body, content_type)
    if codec is None:
        return "guess"
    return source if codec == "utf-8" else None


def _named_codec(body: bytes, content_type: str | None) -> tuple[str | None, str]:
    """The codec that the header names, or else the body itself, and which of them did; None if neither does."""
    header_codec = _header_codec(content_type) if content_type else None
    if header_codec is not None:
        return header_codec, "header"
    return (_declared_codec(body) if not content_type or _is_markup_type(content_type) else None), "declaration"


def _guess(body: bytes) -> Decoded:
    try:
        return Decoded(body.decode(), "utf-8", "guess")
    except UnicodeDecodeError as error:
        # A page cut in the middle of a character is UTF-8 all the same.
        codec = (
            "utf-8"
            if error.end == len(body) and error.start > 0 and error.reason == "unexpected end of data"
            else "cp1252"
        )
    return _decode(body, codec, "guess")


def _decode(body: bytes, codec: str, source: str) -> Decoded:
    # Browsers read the bytes that a Windows code page leaves open as control characters, Python refuses them.
    text = body.decode(codec, "sheaf_controls") if codec.startswith("cp125") else to_unicode(body, codec)
    return Decoded(text, _name(codec), source)


def _controls(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    byte = error.object[error.start]
    return (chr(byte) if byte < 0xA0 else "\ufffd"), error.start + 1


codecs.register_error("sheaf_controls", _controls)


@lru_cache(maxsize=1024)
def _header_codec(content_type: str) -> str | None:
    match = _HEADER_LABEL.search(content_type)
    return _codec(match[1]) if match else None


def _declared_codec(body: bytes) -> str | None:
    """The codec that a meta tag or an XML declaration names."""
    label = html_body_declared_encoding(body)
    if label is None:
        # w3lib reads past a label that it does not know.
        match = _META_LABEL.search(_COMMENT.sub(b"", body[:_SNIFFED_BYTES]))
        label = match[1].decode() if match else None
    codec = _codec(label) if label else None
    # Whoever could read the declaration as ASCII is not reading UTF-16.
    return "utf-8" if codec in ("utf-16-le", "utf-16-be") else codec


@lru_cache(maxsize=1024)
def _codec(label: str) -> str | None:
    """The codec that a label means to browsers; None if they do not know it."""
    label = label.lower()
    codec = _LABELS.get(label) or resolve_encoding(label)
    return codec if codec in _CODECS else None


@lru_cache(maxsize=256)
def _name(codec: str) -> str:
    if codec.startswith("cp125"):
        return f"windows-{codec[2:]}"
    return _NAMES.get(codec, codec.replace("iso8859", "iso-8859"))


@lru_cache(maxsize=1024)
def _is_text_type(content_type: str) -> bool:
    return _TEXT_TYPES.match(content_type.lower()) is not None


@lru_cache(maxsize=1024)
def _is_markup_type(content_type: str) -> bool:
    return _MARKUP_TYPES.match(content_type.lower()) is not None
