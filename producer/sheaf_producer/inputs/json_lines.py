"""JSON lines: each line is a JSON value; the function gets the value."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import NoReturn

import orjson

from sheaf.submission.tally import Line
from sheaf_producer.inputs.lines import ITEM_LIMIT_BYTES, chunks, good_lines
from sheaf_producer.inputs.stream import Reject


def read_json_lines(source: str, blocks: Iterator[bytes], reject: Reject) -> Iterator[list[str]]:
    """Yield the lines that are JSON, many at once; reject the others, and those with NaN, with the reason."""
    for chunk in chunks(source, blocks, ITEM_LIMIT_BYTES, reject):
        texts = []
        for line in good_lines(source, chunk, ITEM_LIMIT_BYTES, reject):
            why = what_is_wrong(line.text)
            if why is None:
                texts.append(line.text)
            else:
                reject(Line(source, line.number, line.text[:200], why))
        yield texts


def what_is_wrong(text: str) -> str | None:
    """Say why a text is not a JSON value, or None if it is one."""
    try:
        orjson.loads(text)
        return None
    except ValueError:
        pass  # which it also says of lone surrogates and of deep nests: the standard decoder decides, and says why
    if text.startswith("\ufeff"):
        return "not JSON: the line begins with a byte order mark; were files put together that each begin with one?"
    try:
        _DECODER.decode(text)
    except json.JSONDecodeError as error:
        return f"not JSON: {error.msg} at character {error.pos + 1}"
    except RecursionError:
        return "not usable JSON: it is nested too deeply"
    except ValueError as error:
        return f"not usable JSON: {error}"
    return None


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a JSON value; write null, or omit it")


_DECODER = json.JSONDecoder(parse_constant=_refuse)
