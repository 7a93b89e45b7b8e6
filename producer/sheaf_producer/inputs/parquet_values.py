"""The values of a Parquet column as JSON can hold them, also those of which Python has no object.

Python's moments begin in the year 1, end in 9999 and know microseconds; pandas, which knows nanoseconds, need not be
there. What still cannot be read costs its own row only.
"""

from __future__ import annotations

import datetime
import decimal
from collections.abc import Callable
from typing import Any

import pyarrow
from pyarrow import types

_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_DAY_S = 86_400
#: Days in 400 years, after which the calendar repeats itself.
_ERA_YEARS, _ERA_DAYS = 400, 146_097
_UTC = datetime.UTC
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=_UTC)


class Unreadable:
    """Marks a value that could not be read; its row is rejected."""

    def __init__(self, error: Exception) -> None:
        self.why = str(error) or type(error).__name__

    def __repr__(self) -> str:
        return "(unreadable)"


def values_of(column: Any) -> list[Any]:
    """A column's values as Python objects; moments that Python has none for as texts."""
    try:
        if "[ns" in str(column.type):
            # As microseconds, if nothing is lost by it: otherwise it depends on pandas what comes.
            column = column.cast(_in_microseconds(column.type))
        return column.to_pylist()  # type: ignore[no-any-return]
    except Exception:  # noqa: BLE001  whatever it is: value by value shows whose it is
        return list(map(_value, column))


def _in_microseconds(type: Any) -> Any:
    """Raises ValueError for nanoseconds inside of something else."""
    if types.is_timestamp(type):
        return pyarrow.timestamp("us", type.tz)
    if types.is_time64(type):
        return pyarrow.time64("us")
    if types.is_duration(type):
        return pyarrow.duration("us")
    raise ValueError(f"{type} has to be read value by value")


def _value(scalar: Any) -> Any:
    try:
        return _read(scalar)
    except Exception as error:  # noqa: BLE001  of pyarrow, of Python, of text that is not UTF-8
        return Unreadable(error)


def _read(scalar: Any) -> Any:
    if not scalar.is_valid:
        return None
    for is_of_kind, read in _READERS:
        if is_of_kind(scalar.type):
            return read(scalar)
    return scalar.as_py()


def _list(scalar: Any) -> list[Any]:
    return [_read(each) for each in scalar.values]


def _struct(scalar: Any) -> dict[str, Any]:
    names = [field.name for field in scalar.type]
    if len(set(names)) < len(names):
        raise ValueError("several fields of a struct have the same name")
    return {name: _read(scalar[place]) for place, name in enumerate(names)}


def _map(scalar: Any) -> list[list[Any]]:
    return [[_read(entry[0]), _read(entry[1])] for entry in scalar.values]


def _timestamp(scalar: Any) -> str:
    """As datetime.isoformat() writes it, with nine digits where there are nanoseconds."""
    seconds, nanoseconds = _split(scalar)
    zone = scalar.type.tz
    try:
        moment = _EPOCH + datetime.timedelta(seconds=seconds)
        moment = moment.replace(tzinfo=None) if zone is None else moment.astimezone(pyarrow.lib.string_to_tzinfo(zone))
        text = moment.isoformat()
        return text[:19] + _fraction(nanoseconds) + text[19:]
    except Exception:  # noqa: BLE001  a year that Python does not have, or a time zone that is not known here
        days, second = divmod(seconds, _DAY_S)
        text = f"{_far_day(days)}T{_clock(second)}{_fraction(nanoseconds)}"
        return text if zone is None else f"{text}+00:00"


def _date(scalar: Any) -> Any:
    try:
        return scalar.as_py()
    except OverflowError:
        return _far_day(scalar.value if types.is_date32(scalar.type) else scalar.value // (_DAY_S * 1000))


def _far_day(days: int) -> str:
    """A day by its distance to 1970, in years beyond Python's as well."""
    eras, day = divmod(days + _EPOCH.toordinal() - 1, _ERA_DAYS)
    within = datetime.date.fromordinal(day + 1)
    year = within.year + eras * _ERA_YEARS
    return f"{'-' if year < 0 else ''}{abs(year):04d}-{within.month:02d}-{within.day:02d}"


def _time(scalar: Any) -> str:
    seconds, nanoseconds = _split(scalar)
    return _clock(seconds) + _fraction(nanoseconds)


def _duration(scalar: Any) -> float | str:
    """Seconds; as text where a float would be another number."""
    exact = decimal.Decimal(scalar.value) / _PER_SECOND[scalar.type.unit]
    return float(exact) if decimal.Decimal(repr(float(exact))) == exact else str(exact)


def _split(scalar: Any) -> tuple[int, int]:
    """Whole seconds, and nanoseconds."""
    per_second = _PER_SECOND[scalar.type.unit]
    seconds, rest = divmod(scalar.value, per_second)
    return seconds, rest * (10**9 // per_second)


def _clock(second: int) -> str:
    return f"{second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}"


def _fraction(nanoseconds: int) -> str:
    if nanoseconds % 1000:
        return f".{nanoseconds:09d}"
    return f".{nanoseconds // 1000:06d}" if nanoseconds else ""


_READERS: list[tuple[Callable[[Any], bool], Callable[[Any], Any]]] = [
    (types.is_timestamp, _timestamp),
    (types.is_date, _date),
    (types.is_time, _time),
    (types.is_duration, _duration),
    (types.is_map, _map),
    (types.is_nested, lambda scalar: _struct(scalar) if types.is_struct(scalar.type) else _list(scalar)),
    (types.is_dictionary, lambda scalar: _read(scalar.value)),
]
