"""Which URLs can be loaded, and their one normal form. Parsed as browsers do (WHATWG), by ada."""

from __future__ import annotations

import re

import ada_url

from sheaf.tasks.load.errors import InvalidUrl

#: A scheme, unless what follows the colon is a port: `localhost:8080` has none.
_SCHEME = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.\-]*):(?!\d+(?:[/?#]|$))")
#: What people and programs put around a URL.
_WRAPPING = "[](){}<>\"'`,;\u201c\u201d\u2018\u2019\u00ab\u00bb \t\ufeff\u200b\u2060"
#: What no URL holds and the parser would take out or encode, so that another page would be asked for.
_CONTROL = re.compile("[\0-\x1f\x7f-\x9f\u2028\u2029]")
_SECOND = re.compile(r"\s(#|https?://)", re.IGNORECASE)
_HREF = ("href",)
_OCTET = r"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
#: Most URLs are in normal form already. This knows a part of those in a third of the parser's time: a plain host or
#: IPv4 address, no default port, no segment that begins with a dot, nothing that would have to be encoded.
_is_normal = re.compile(
    rf"https?://(?:(?![^/]*xn--)(?:[a-z0-9-]+\.)*[a-z][a-z0-9-]*|{_OCTET}(?:\.{_OCTET}){{3}})"
    r"(?::(?!(?:80|443)/)[1-9]\d{0,3}|:[1-5]\d{4})?"
    r"/(?:[\w~-][\w.~-]*/)*(?:[\w~-][\w.~-]*)?(?:\?[\w.~=&+,:;@/%-]*)?",
    re.ASCII,
).fullmatch
#: Bytes of paths and queries that stay as they are, in either, and the ends of lines.
_PLAIN_BYTES = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~/?=&+,:;%@!*$()\n"
#: The longest URL: readers of archives take no longer header of a record.
LONGEST_URL = 16 << 10
#: How much of a bad URL a message shows.
_SHOWN = 200


def check_url(text: str, default_scheme: str | None = None) -> str:
    """Return the URL's normal form, without fragment. Raises InvalidUrl, whose message suggests a cure.

    `default_scheme` is put before a text that has no scheme; without it, such a text is refused. A URL that holds a
    user name or password is refused, since URLs are written into the output, the index and messages.
    """
    text = text.strip()
    if len(text) <= LONGEST_URL and _is_normal(text):
        return text
    if " " in text or not text.isprintable():
        _check_is_one(text)
    try:
        href = ada_url.parse_url(text, _HREF)["href"]
    except ValueError:
        href = ""
    if not href.startswith(("http://", "https://")):
        href = _with_scheme(text, default_scheme)
    cut = href.find("#")
    if cut >= 0:
        href = href[:cut]
    _check_length(href)
    if "@" in href and _has_credentials(href):
        raise InvalidUrl("the URL contains a user name or password, which would end up in the output; remove it")
    return href


def split_normal(lines: bytes) -> list[str] | None:
    """Return the URLs of lines that all are in normal form; None if that takes a closer look, or is not so.

    Where scheme and host end is looked for in each line; all else is looked at in all of them at once.
    """
    if lines.translate(None, _PLAIN_BYTES) or b"/." in lines or (b"%" in lines and b"%2e" in lines.lower()):
        return None
    texts = lines.decode("ascii").split("\n")
    if not texts[-1]:
        texts.pop()
    origins = {text[: text.find("/", len("https://")) + 1] for text in texts}
    return texts if all(map(_is_normal, origins)) else None


def join_url(base: str, location: str) -> str:
    """Return where a redirect leads, without fragment and without credentials. Raises InvalidUrl."""
    try:
        href = ada_url.join_url(base, location.strip())
    except ValueError as error:
        raise InvalidUrl(f"{_show(location)} is not a valid URL") from error
    if not href.startswith(("http://", "https://")):
        raise InvalidUrl(f"{_show(location)} is not http or https")
    if "@" in href and _has_credentials(href):
        href = ada_url.replace_url(href, username="", password="")
    href = href.partition("#")[0]
    _check_length(href)
    return href


def split_url(href: str) -> tuple[str, str]:
    """Split a normal form into authority (host, and port if it is not the scheme's own) and request target."""
    _, _, authority, target = href.split("/", 3)
    return authority, "/" + target


def _check_is_one(text: str) -> None:
    """Raise InvalidUrl for what is more than a URL: read as one, it would ask for a page that was never named."""
    shown = "the line" if "@" in text else _show(text)  # there may be a password before it
    control = _CONTROL.search(text)
    if control is not None:
        name = "tab" if control[0] == "\t" else f"control character ({control[0]!r})"
        cure = "take the table's column with the URLs: cut -f1 FILE | sheaf load -" if name == "tab" else "remove it"
        raise InvalidUrl(f"{shown} contains a {name}, which is not allowed in a URL; {cure}")
    second = _SECOND.search(text)
    if second is not None and second[1] == "#":
        raise InvalidUrl(f"{shown} has a comment after the URL; write it on its own line")
    if second is not None:
        raise InvalidUrl(f"{shown} contains more than one URL; write each on its own line")


def _check_length(href: str) -> None:
    if len(href) > LONGEST_URL:
        raise InvalidUrl(f"{_show(href)} is a URL of {len(href):,} bytes; archives allow at most {LONGEST_URL:,}")


def _has_credentials(href: str) -> bool:
    return "@" in split_url(href)[0]


def _with_scheme(text: str, default_scheme: str | None) -> str:
    """Return the normal form of a text that is not an http(s) URL, if the default scheme makes it one."""
    match = _SCHEME.match(text)
    if match is None and default_scheme is not None and text:
        href = _parse(f"{default_scheme}://{text.removeprefix('//')}")
        if href is not None:
            return href
    raise InvalidUrl(_complaint(text, match["scheme"] if match else None))


def _complaint(text: str, scheme: str | None) -> str:
    if any("\ud800" <= char <= "\udfff" for char in text):
        return f"{_show(text)} is not valid Unicode"
    bare = text.strip(_WRAPPING)
    if bare != text and _parse(bare) is not None:
        return f"{_show(text)} is not a valid URL; did you mean {_show(bare)}, without what is around it?"
    if scheme is None:
        return _complain_of_no_scheme(text, bare.removeprefix("//"))
    if scheme.lower() not in ("http", "https"):
        return f"{_show(text)} is a {scheme.lower()[:20]!r} URL; only http and https are loaded"
    return f"{_show(text)} is not a valid URL: its host or port cannot be read"


def _complain_of_no_scheme(text: str, bare: str) -> str:
    if not text:
        return "the line is empty"
    if _parse("https://" + bare) is None:
        return f"{_show(text)} is not a valid URL; one looks like https://example.org/page"
    return f"{_show(text)} has no scheme; write {_show('https://' + bare)}, or use --default-scheme https"


def _parse(text: str) -> str | None:
    try:
        href = ada_url.normalize_url(text)
    except ValueError:
        return None
    return href if href.startswith(("http://", "https://")) else None


def _show(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "…")
