"""Keys of shared dicts as bytes: those that are equal in Python are the same bytes, as are 1, 1.0 and True."""

from __future__ import annotations

import fractions
import numbers
from collections.abc import Callable
from typing import Any

Encode = Callable[[Any], bytes]

#: Types whose keys can be read back out of these bytes.
_REVERSIBLE = (str, int, bytes, type(None))


def field_of(key: Any, encode: Encode) -> bytes:
    """Raises TypeError for what cannot be a key."""
    hash(key)
    if isinstance(key, str):
        return b"s" + str.encode(key, "utf-8", "surrogatepass")
    if isinstance(key, numbers.Number):
        return _of_number(key, encode)
    if isinstance(key, bytes) or key is None:
        return b"n" if key is None else b"b" + key
    if isinstance(key, tuple):
        return b"t" + b"".join(map(_framed, (field_of(part, encode) for part in key)))
    if isinstance(key, frozenset):
        return b"f" + b"".join(map(_framed, sorted(field_of(part, encode) for part in key)))
    return b"x" + encode(key)


def is_reversible(key: Any) -> bool:
    return type(key) in _REVERSIBLE


def key_of(field: bytes) -> Any:
    """The key of what `is_reversible`."""
    kind, rest = field[:1], field[1:]
    if kind == b"s":
        return rest.decode("utf-8", "surrogatepass")
    if kind == b"i":
        return int(rest, 16)
    return rest if kind == b"b" else None


def _of_number(key: Any, encode: Encode) -> bytes:
    if isinstance(key, complex) and key.imag == 0:
        key = key.real
    try:
        exact = fractions.Fraction(key)
    except OverflowError:
        return b"d%+f" % float(key)
    except (TypeError, ValueError):
        return b"x" + encode(key)
    if exact.denominator == 1:
        return b"i%x" % exact.numerator
    return b"q%x/%x" % (exact.numerator, exact.denominator)


def _framed(part: bytes) -> bytes:
    return b"%d:%b" % (len(part), part)
