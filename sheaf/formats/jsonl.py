"""JSON lines: one object per item."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from functools import cache
from json.encoder import encode_basestring as _quote
from typing import Any

import orjson
import xxhash
from isal import igzip_lib

from sheaf.core.errors import TaskError
from sheaf.formats.charset import decode, is_text, utf8_source
from sheaf.formats.page import Exchange, Page, utc_date
from sheaf.formats.values import encode, finite_text

#: isal's level 1 is three times as fast as zlib's, and packs about as well.
_LEVEL = 1
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
_encode_ascii = json.JSONEncoder(ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode


class JsonLinesFormat:
    """One JSON object a line; compressed, each line is a gzip member of its own."""

    keeps_coding = False

    def __init__(self, *, compressed: bool) -> None:
        self._compressed = compressed

    def header(self, name: str) -> bytes:  # noqa: ARG002
        return b""

    def page(self, page: Page) -> bytes:
        facts, content_type = _page_facts(page), page.final.content_type
        try:
            # A page's fields hold nothing that orjson writes otherwise than we want: no NaN, no number beyond 64 bits.
            line = _utf8_line(facts, page.final, content_type) or orjson.dumps(
                facts | _text_fields(page.final, content_type), option=orjson.OPT_APPEND_NEWLINE
            )
        except orjson.JSONEncodeError:
            # A lone surrogate has no UTF-8 form; as an escape it comes through.
            return self._line(facts | _text_fields(page.final, content_type))
        return self._packed(line)

    def value(self, index: int, text: str | int, value: object) -> bytes:
        kind = type(value)
        # Put together by hand: for a small value that is seven times as fast as the encoder, and writes the same.
        if kind is int and type(text) is int:
            # The commonest of all by number; one text less to make.
            try:
                encoded = f'{{"index":{index},"item":"{text}","value":{value}}}\n'.encode()
            except ValueError:  # more digits than Python writes
                encoded = self._encoded(index, value).encode()
            return self._packed(encoded) if self._compressed else encoded
        item = f'"{text}"' if type(text) is int else _quote(text)  # type: ignore[arg-type]
        if kind is int:
            try:
                line = f'{{"index":{index},"item":{item},"value":{value}}}\n'
            except ValueError:  # more digits than Python writes
                line = self._encoded(index, value)
        elif kind is bytes:
            line = f'{{"index":{index},"item":{item},"value_base64":"{base64.b64encode(value).decode()}"}}\n'  # type: ignore[arg-type]
        elif kind is str:
            line = f'{{"index":{index},"item":{item},"value":{_quote(value)}}}\n'  # type: ignore[arg-type]
        else:
            line = f'{{"index":{index},"item":{item},"value":{self._encoded(index, value)}}}\n'
        try:
            encoded = line.encode()
        except UnicodeEncodeError:
            # A lone surrogate has no UTF-8 form; as an escape it comes through.
            encoded = (_encode_ascii(json.loads(line)) + "\n").encode()
        return self._packed(encoded) if self._compressed else encoded

    def _encoded(self, index: int, value: object) -> str:
        """The value, and where it has texts for NaN and infinity."""
        try:
            try:
                return finite_text(value)
            except ValueError:
                written, not_finite = encode(value)
                return f'{written},"not_finite":{_encode(not_finite)}'
        except (TypeError, ValueError, RecursionError) as error:
            raise TaskError(
                f"item {index} returned a {type(value).__name__} that JSON cannot hold: {error}; "
                "return text, numbers, booleans, None, and lists and dicts of these"
            ) from error

    def _line(self, fields: dict[str, Any]) -> bytes:
        try:
            return self._packed((_encode(fields) + "\n").encode())
        except UnicodeEncodeError:
            return self._packed((_encode_ascii(fields) + "\n").encode())

    def _packed(self, line: bytes) -> bytes:
        if not self._compressed:
            return line
        packed: bytes = igzip_lib.compress(line, _LEVEL, igzip_lib.COMP_GZIP)
        return packed


def _page_facts(page: Page) -> dict[str, Any]:
    """The fields that come before the text."""
    final = page.final
    return {
        "index": page.item.index,
        "url": page.item.text,
        "final_url": final.url,
        "status": final.status,
        "headers": final.headers,
        "fetched_at": utc_date(final.started),
        "elapsed_s": round(final.elapsed_s, 4),
        "ip": final.ip,
        "protocol": final.protocol,
        "redirects": [{"url": hop.url, "status": hop.status} for hop in page.exchanges[:-1]],
        "bytes": len(final.body),
        "xxh128": xxhash.xxh3_128_hexdigest(final.body),
        "truncated": final.truncated,
    }


def _text_fields(final: Exchange, content_type: str | None) -> dict[str, Any]:
    """The text and how its charset was found; the body itself, in base64, if it is no text."""
    if is_text(content_type, final.body):
        text, charset, source = decode(final.body, content_type, cut=final.truncated is not None)
        return {"text": text, "charset": charset, "charset_source": source}
    return {"charset": None, "charset_source": None, "text": None, "body_base64": base64.b64encode(final.body).decode()}


def _utf8_line(facts: dict[str, Any], final: Exchange, content_type: str | None) -> bytes | None:
    """The page's line if its text is UTF-8 beyond ASCII, without taking it apart and putting it together; else None.

    An ASCII body costs orjson nothing but the escapes; any other one it has to encode, after we decoded it.
    """
    body = final.body
    if body.isascii() or not is_text(content_type, body):
        return None
    source = utf8_source(body, content_type)
    if source is None:
        return None
    write = _utf8_to_json()
    try:
        text = write(body) if write else None
    except ValueError:
        return None
    if text is None:
        return None
    charset = f',"charset":"utf-8","charset_source":"{source}"}}\n'.encode()
    return b"".join((orjson.dumps(facts)[:-1], b',"text":', text, charset))


@cache
def _utf8_to_json() -> Callable[[bytes], bytes] | None:
    """The function that writes UTF-8 as a JSON string; it raises ValueError for bytes that are none.

    It comes from pydantic-core, which belongs to pydantic and is no dependency of ours: a user's tasks may have
    brought it. Without it the long way is taken. Imported when first needed, as it takes 17 ms and 6 MB, and most
    children load no pages.
    """
    try:
        from pydantic_core import to_json
    except (ImportError, OSError, MemoryError):
        return None  # not there, or the system refuses it just now: no page should have to wait for it
    return to_json
