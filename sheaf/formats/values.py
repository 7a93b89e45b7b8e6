"""What a function returned, as JSON text: NumPy's numbers too, and NaN and infinity, of which JSON has no form.

Those are written as the texts `NaN`, `Infinity` and `-Infinity`; their places go with the record, so that they
can be distinguished from texts of the same letters.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

#: The way to a part of a value: keys and places, from the outside inwards.
Path = list[str | int]
_CONTAINERS = (dict, list, tuple)


def finite_text(value: object) -> str:
    """Write a value as JSON. Raises ValueError for NaN and infinity, and like `encode` for what JSON cannot hold."""
    if type(value) in _CONTAINERS:
        _check_keys(value)
    return _encode(value)


def encode(value: object) -> tuple[str, Sequence[Path]]:
    """Write a value as JSON; return with it where a text represents a number that JSON lacks.

    Raises TypeError, ValueError or RecursionError for what JSON cannot hold.
    """
    try:
        return finite_text(value), ()
    except ValueError:
        not_finite: list[Path] = []
        spelt = _spelt_out(value, [], not_finite)
        if not not_finite:
            raise
        return finite_text(spelt), not_finite


def decoded(value: Any, not_finite: Sequence[Path]) -> Any:
    """A value that was read from JSON, with the numbers that are texts at these places."""
    for path in not_finite:
        if not path:
            return float(value)
        holder = value
        for step in path[:-1]:
            holder = holder[step]
        holder[path[-1]] = float(holder[path[-1]])
    return value


def plain(value: object) -> object:
    """A number, truth value or array of NumPy as Python's own; everything else as it is."""
    if type(value).__module__ == "numpy" and hasattr(value, "tolist"):
        return value.tolist()
    return value


def bare(value: object) -> str:
    """A value by itself in a line or a field: JSON, but for NaN and infinity without quotation marks."""
    value = plain(value)
    return spelling(value) if isinstance(value, float) and not math.isfinite(value) else encode(value)[0]


def spelling(number: float) -> str:
    """How a number that is none is written."""
    return "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"


def default(value: object) -> object:
    """For JSONEncoder: what it cannot write by itself, as something that it can. Raises TypeError, as it would."""
    found = plain(value)
    if type(found) is type(value):
        raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")
    return found


#: Of all kinds of text: a lone surrogate is the concern of the code that writes UTF-8.
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=default).encode


def _check_keys(value: Any) -> None:
    """Raise ValueError for two keys that JSON writes alike: a reader would keep only one."""
    if isinstance(value, dict):
        try:
            "".join(value)  # the quickest way to see that all of them are texts
        except TypeError:
            _check_written(value)
        value = value.values()
    for part in value:
        if type(part) in _CONTAINERS:
            _check_keys(part)


def _check_written(value: dict[Any, Any]) -> None:
    written: dict[str, Any] = {}
    for key in value:
        text = key if isinstance(key, str) else json.dumps(key)
        if text in written:
            raise ValueError(f"the keys {written[text]!r} and {key!r} of a dict are written alike")
        written[text] = key


def _spelt_out(value: Any, path: Path, not_finite: list[Path]) -> Any:
    """The value with texts in place of NaN and infinity; notes where they are."""
    value = plain(value)
    if isinstance(value, float) and not math.isfinite(value):
        not_finite.append(path)
        return spelling(value)
    if isinstance(value, dict):
        written = {key if isinstance(key, str) else json.dumps(key): part for key, part in value.items()}
        return {key: _spelt_out(part, [*path, key], not_finite) for key, part in written.items()}
    if isinstance(value, list | tuple):
        return [_spelt_out(part, [*path, place], not_finite) for place, part in enumerate(value)]
    return value
