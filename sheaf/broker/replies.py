"""What Redis answers, made into text and numbers in one place.

Producers may write to the queue, to locks and to problems, and a person to everything. So nothing that is read is taken
for what it should be: what is not text is shown with its odd bytes escaped, what is no number counts as the default,
and no value ends the process that has read it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

#: No number that means anything here is larger; larger ones would break sums, and Lua's numbers.
_LARGEST = 2**53
#: Characters shown of a foreign text.
_SHOWN_CHARS = 20_000


def text(value: object) -> str:
    """A text, whatever its bytes; empty for what is none."""
    if isinstance(value, bytes):
        value = value.decode(errors="backslashreplace")
    return value[:_SHOWN_CHARS] if isinstance(value, str) else ""


def number(value: object, default: int = 0) -> int:
    """A whole number; `default` for what is none, is not finite, or is larger than anything that is counted here."""
    return round(amount(value, default))


def amount(value: object, default: float = 0.0) -> float:
    """The same with decimals."""
    try:
        found = float(value)  # type: ignore[arg-type]  # whatever is no number is the default
    except (TypeError, ValueError, OverflowError):
        return default
    # Which is false of what is not finite, too.
    return found if abs(found) <= _LARGEST else default


def fields(value: object) -> dict[str, str]:
    """A hash's fields; none of what is no hash."""
    return {text(name): text(content) for name, content in value.items()} if isinstance(value, Mapping) else {}


def json_object(value: object) -> dict[str, Any]:
    """A JSON object that a script of ours has made; what it quotes from elsewhere may be any bytes."""
    found = json.loads(value.decode(errors="replace")) if isinstance(value, bytes) else {}
    return found if isinstance(found, dict) else {}
