"""Which encoding a page's first bytes declare (HTML standard, "prescan a byte stream to determine its encoding")."""

from __future__ import annotations

import re

from sheaf.formats.decoders import name_of

#: As far as the standard looks before it reads a page at all.
_PRESCANNED_BYTES = 1024
#: As far as we look for a declaration on whose account browsers would read the page once more.
_READ_AGAIN_BYTES = 4096
_SPACE = rb"\t\n\f\r\x20"
#: From a place in lower case to just after the next `<meta`: over texts, comments, other tags with their attributes and
#: other markup, as far as each of them shows its end. A comment's end may begin with the hyphens of its beginning.
_TO_META = re.compile(
    rb"""
    (?: [^<]++ | <!--(?:-?>|.*?-->) | <(?!meta[/%(s)b])/?[a-z][^>%(s)b]*+
            (?: [/%(s)b]*+ [^>/%(s)b][^=>/%(s)b]*+
                (?: [%(s)b]*+=[%(s)b]*+ (?: "[^"]*+" | '[^']*+' | [^"'>%(s)b][^>%(s)b]*+ | (?=>) ) | (?![%(s)b]*+=) )
            )*+ [/%(s)b]*+>
        | <(?!!--|/[a-z])[!/?][^>]*+> | <(?![a-z!/?])
    )*+ <meta[/%(s)b]
    """
    % {b"s": _SPACE},
    re.VERBOSE | re.DOTALL,
)
_ATTRIBUTE = re.compile(
    rb"""
    [/%(s)b]* (?: > | (?P<name> [^>/%(s)b][^=>/%(s)b]*) (?: [%(s)b]* = [%(s)b]*
    (?: "(?P<double>[^"]*)(?:"|\Z) | '(?P<single>[^']*)(?:'|\Z) | (?P<bare>[^"'>%(s)b][^>%(s)b]*)? ) )? )
    """
    % {b"s": _SPACE},
    re.VERBOSE,
)
_CHARSET = re.compile(
    rb"""charset[%(s)b]*=[%(s)b]*(?:"(?P<double>[^"]*)"|'(?P<single>[^']*)'|["']|(?P<bare>[^;%(s)b]*))"""
    % {b"s": _SPACE}
)
_XML = re.compile(rb"""<\?xml[^>]*?encoding[\0- ]*=[\0- ]*(?:"([^">]*)"|'([^'>]*)')[^>]*>""")
#: What a parser takes for text, and a prescan does not.
_RAW_TEXT = re.compile(rb"<(script|style)\b.*?(?:</\1|\Z)", re.DOTALL)


def declared(body: bytes) -> str | None:
    """The name of the encoding that a meta tag or an XML declaration names; None without one that browsers know."""
    if body.startswith(b"<\0?\0x\0"):
        return "utf-16le"
    if body.startswith(b"\0<\0?\0x"):
        return "utf-16be"
    name = _by_meta(body[:_PRESCANNED_BYTES].lower())
    if name is None and body.startswith(b"<?xml"):
        name = _by_xml(body[:_PRESCANNED_BYTES])
    return name or _by_late_meta(body[:_READ_AGAIN_BYTES].lower())


def _by_late_meta(start: bytes) -> str | None:
    if start.find(b"charset", _PRESCANNED_BYTES - len("<meta charset=")) < 0:
        return None
    return _by_meta(_RAW_TEXT.sub(b"", start))


def _by_meta(start: bytes) -> str | None:
    """`start` is in lower case, as labels and attributes are compared."""
    position = 0
    while start.find(b"charset", position) >= 0 and (found := _TO_META.match(start, position)):
        attributes, position = _attributes(start, found.end())
        if attributes is None:
            return None
        name = _named(attributes)
        if name is not None:
            return name
    return None


def _attributes(start: bytes, position: int) -> tuple[dict[bytes, bytes] | None, int]:
    """A tag's attributes, and where it ends; None if what we have of it does not show its end."""
    attributes: dict[bytes, bytes] = {}
    while found := _ATTRIBUTE.match(start, position):
        position = found.end()
        if found["name"] is None:
            return attributes, position
        if position >= len(start):
            break
        attributes.setdefault(found["name"], found["double"] or found["single"] or found["bare"] or b"")
    return None, position


def _named(attributes: dict[bytes, bytes]) -> str | None:
    label = attributes.get(b"charset")
    if label is None and attributes.get(b"http-equiv") == b"content-type":
        found = _CHARSET.search(attributes.get(b"content", b""))
        label = found["double"] or found["single"] or found["bare"] if found else None
    name = _readable(label) if label is not None else None
    return "windows-1252" if name == "x-user-defined" else name


def _by_xml(start: bytes) -> str | None:
    found = _XML.match(start)
    return _readable(found[1] or found[2] or b"") if found else None


def _readable(label: bytes) -> str | None:
    name = name_of(label.decode("latin-1"))
    # A declaration that could be read as ASCII is not in UTF-16.
    return "utf-8" if name in ("utf-16le", "utf-16be") else name
