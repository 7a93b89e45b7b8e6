"""From an item's text to a call of the user's function: the three ways to pass an item, and what `setup` gave."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from sheaf.core.errors import InputError, TaskError

Call = Callable[[str], Any]
NumberCall = Callable[[int], Any]

#: How an item's line gets to the function: as it is, as its JSON value, or as JSON `[args, kwargs]` to call it with.
WAYS = ("text", "json", "call")
_scan = json.JSONDecoder().scan_once  # type: ignore[attr-defined]  # there in every version, and used by json itself


def check_way(options: Mapping[str, Any]) -> str:
    """Return how a run passes its items. Raises TaskError for a way that there is not."""
    way = options.get("pass", "text")
    if way not in WAYS:
        raise TaskError(f"the run's option pass={way!r} is not one of {', '.join(WAYS)}")
    return str(way)


def parser(way: str) -> Call:
    """What turns an item's line into the value that the function gets. Raises InputError for a line it cannot read."""
    return _read_json if way == "json" else str


def build_call(function: Callable[..., Any], way: str, extra: tuple[Any, ...]) -> Call:
    """Return what is called with an item's text. `extra`: what setup gave, as the function's second argument."""
    if way == "call":
        return lambda text: _call(function, extra, *_arguments(text))
    if way == "json":
        if extra:
            return lambda text: function(_read_json(text), *extra)
        return lambda text: function(_read_json(text))
    return (lambda text: function(text, *extra)) if extra else function


def build_number_call(function: Callable[..., Any], way: str, extra: tuple[Any, ...]) -> NumberCall:
    """The same for an item that is a number of a range: what its text would have been read as is at hand already."""
    if way != "json":
        call = build_call(function, way, extra)
        return lambda number: call(str(number))
    return (lambda number: function(number, *extra)) if extra else function


def _call(function: Callable[..., Any], extra: tuple[Any, ...], arguments: list[Any], named: dict[str, Any]) -> Any:
    return function(*arguments[:1], *extra, *arguments[1:], **named)


def _read_json(text: str) -> Any:
    try:
        # What json.loads() does in the end, in a fifth of its time; whatever is unusual is left to that.
        value, end = _scan(text, 0)
        if end == len(text):
            return value
    except (StopIteration, ValueError):
        pass  # below comes the same, with words
    try:
        return json.loads(text)
    except ValueError as error:
        raise InputError(
            f"the item {text[:80]!r} is not JSON ({error}), but this run passes its items as JSON"
        ) from None


def _arguments(text: str) -> tuple[list[Any], dict[str, Any]]:
    value = _read_json(text)
    match value:
        case [list() as arguments, dict() as named]:
            return arguments, named
    raise InputError(
        f"the item {text[:80]!r} is not JSON [[arguments], {{names}}], as this run calls its function with"
    )
