"""Values without parts: numbers, strings, bytes, dates, paths, patterns."""

from __future__ import annotations

import array
import datetime
import re
import uuid
from decimal import Decimal
from fractions import Fraction
from functools import cache
from pathlib import PosixPath, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any, TypeVar
from zoneinfo import ZoneInfo, available_timezones

from sheaf.core.errors import ValueUnreadable
from sheaf.values.encoding import Unsendable
from sheaf.values.kind import makes, writes

_Moment = TypeVar("_Moment", datetime.datetime, datetime.time)

if TYPE_CHECKING:
    from sheaf.values.decoding import Decoding
    from sheaf.values.encoding import Encoding

_SINGLETONS: dict[str, Any] = {"Ellipsis": ..., "NotImplemented": NotImplemented}
_FLOATS = {"nan": float("nan"), "inf": float("inf"), "-inf": float("-inf")}
_PATHS = {kind.__name__: kind for kind in (PosixPath, PurePosixPath, PureWindowsPath)}
#: The flags that a pattern may have. Not DEBUG, which prints.
_FLAGS = re.A | re.I | re.L | re.M | re.S | re.U | re.X
_ARRAY_CODES = "bBhHiIlLqQfd"
#: Arrays of characters; Python 3.13 added the second and deprecated the first.
_TEXT_CODES = ("u", "w")


@makes("int")
def _int(decoding: Decoding, node: list[Any]) -> int:
    _, text = node
    # Hexadecimal takes linear time to read, decimal digits quadratic.
    if type(text) is not str or not re.fullmatch("-?0x[0-9a-f]+", text):
        raise ValueUnreadable("the message is damaged: not an integer")
    if len(text) > decoding.limits.integer_bits // 4 + 4:
        raise ValueUnreadable(f"an integer has more than {decoding.limits.integer_bits:,} bits, the limit")
    return int(text, 16)


@makes("float")
def _float(_decoding: Decoding, node: list[Any]) -> float:
    _, text = node
    return _FLOATS[text]


@makes("text")
def _text(decoding: Decoding, node: list[Any]) -> str:
    _, frame = node
    return str(decoding.frame(frame), "utf-8", "surrogatepass")


@writes(complex)
def _write_complex(encoding: Encoding, value: complex) -> list[Any]:
    return ["complex", encoding.cell(value.real), encoding.cell(value.imag)]


@makes("complex")
def _complex(decoding: Decoding, node: list[Any]) -> complex:
    real, imaginary = (decoding.expect(cell, float) for cell in node[1:])
    return complex(real, imaginary)


@writes(type(...), type(NotImplemented))
def _write_singleton(_encoding: Encoding, value: Any) -> list[Any]:
    return ["singleton", "Ellipsis" if value is ... else "NotImplemented"]


@makes("singleton")
def _singleton(_decoding: Decoding, node: list[Any]) -> Any:
    _, name = node
    return _SINGLETONS[name]


@writes(bytes, memoryview)
def _write_bytes(encoding: Encoding, value: bytes | memoryview) -> list[Any]:
    return ["bytes", encoding.frame(value)]


@makes("bytes")
def _bytes(decoding: Decoding, node: list[Any]) -> bytes:
    _, frame = node
    return bytes(decoding.frame(frame))


@writes(bytearray)
def _write_bytearray(encoding: Encoding, value: bytearray) -> list[Any]:
    # A copy, because a bytearray cannot be resized while a view of it exists.
    return ["bytearray", encoding.frame(bytes(value))]


@makes("bytearray")
def _bytearray(decoding: Decoding, node: list[Any]) -> bytearray:
    _, frame = node
    return bytearray(decoding.frame(frame))


@writes(array.array)
def _write_array(encoding: Encoding, value: array.array[Any]) -> list[Any]:
    if value.typecode in _TEXT_CODES:
        return ["array", value.typecode, encoding.cell(encoding.temporary(value.tounicode()))]
    if value.typecode not in _ARRAY_CODES:
        raise Unsendable(f"an array of the type {value.typecode!r} cannot be sent; send a list or a NumPy array")
    return ["array", value.typecode, encoding.frame(value.tobytes()), value.itemsize]


@makes("array")
def _array(decoding: Decoding, node: list[Any]) -> array.array[Any]:
    code = node[1]
    if code in _TEXT_CODES:
        _, _, cell = node
        return array.array(code, decoding.expect(cell, str))
    _, _, frame, size = node
    if type(code) is not str or len(code) != 1 or code not in _ARRAY_CODES:
        raise ValueUnreadable(f"the message is damaged: unknown type code of an array: {str(code)[:20]!r}")
    made: array.array[Any] = array.array(code)
    if made.itemsize != size:
        raise ValueUnreadable(f"an array of type {code!r} has items of {size} bytes, but of {made.itemsize} here")
    made.frombytes(decoding.frame(frame))
    return made


@writes(datetime.date)
def _write_date(_encoding: Encoding, value: datetime.date) -> list[Any]:
    return ["date", value.isoformat()]


@makes("date")
def _date(_decoding: Decoding, node: list[Any]) -> datetime.date:
    _, text = node
    return datetime.date.fromisoformat(text)


@writes(datetime.datetime)
def _write_datetime(encoding: Encoding, value: datetime.datetime) -> list[Any]:
    zone = encoding.part(value.tzinfo, ".tzinfo")
    return ["datetime", value.replace(tzinfo=None).isoformat(), value.fold, zone]


@makes("datetime")
def _datetime(decoding: Decoding, node: list[Any]) -> datetime.datetime:
    _, text, fold, zone = node
    return _naive(datetime.datetime.fromisoformat(text)).replace(fold=fold, tzinfo=decoding.value(zone))


@writes(datetime.time)
def _write_time(encoding: Encoding, value: datetime.time) -> list[Any]:
    zone = encoding.part(value.tzinfo, ".tzinfo")
    return ["time", value.replace(tzinfo=None).isoformat(), value.fold, zone]


@makes("time")
def _time(decoding: Decoding, node: list[Any]) -> datetime.time:
    _, text, fold, zone = node
    return _naive(datetime.time.fromisoformat(text)).replace(fold=fold, tzinfo=decoding.value(zone))


def _naive(moment: _Moment) -> _Moment:
    if moment.tzinfo is not None:
        raise ValueUnreadable("the message is damaged: a time has two time zones")
    return moment


@writes(datetime.timedelta)
def _write_timedelta(_encoding: Encoding, value: datetime.timedelta) -> list[Any]:
    return ["timedelta", value.days, value.seconds, value.microseconds]


@makes("timedelta")
def _timedelta(decoding: Decoding, node: list[Any]) -> datetime.timedelta:
    return datetime.timedelta(*(decoding.expect(cell, int) for cell in node[1:4]))


@writes(datetime.timezone)
def _write_timezone(encoding: Encoding, value: datetime.timezone) -> list[Any]:
    arguments = value.__getinitargs__()  # type: ignore[attr-defined]  # as pickle does
    return ["timezone", *encoding.cells(encoding.temporary(arguments))]


@makes("timezone")
def _timezone(decoding: Decoding, node: list[Any]) -> datetime.timezone:
    offset = decoding.expect(node[1], datetime.timedelta)
    if len(node) == 2:
        return datetime.timezone(offset) if offset else datetime.UTC
    return datetime.timezone(offset, decoding.expect(node[2], str))


@writes(ZoneInfo)
def _write_zone(encoding: Encoding, value: ZoneInfo) -> list[Any]:
    if value.key is None:
        raise Unsendable("a ZoneInfo that was read from a file cannot be sent; make it by its name: ZoneInfo('…')")
    return ["zone", encoding.cell(value.key)]


@makes("zone")
def _zone(_decoding: Decoding, node: list[Any]) -> ZoneInfo:
    _, name = node
    # Only names of installed zones: ZoneInfo would look for any other as a file, and as a module of tzdata.
    if type(name) is not str or name.removeprefix("posix/").removeprefix("right/") not in _zones():
        raise ValueUnreadable(f"the time zone {str(name)[:60]!r} is not installed here; `pip install tzdata`")
    return ZoneInfo(name)


@cache
def _zones() -> set[str]:
    return available_timezones()


@writes(Decimal)
def _write_decimal(encoding: Encoding, value: Decimal) -> list[Any]:
    text = str(value)
    if len(text) > encoding.limits.decimal_chars:
        raise Unsendable(f"a Decimal of {len(text):,} characters cannot be sent; send it as bytes")
    return ["decimal", text]


@makes("decimal")
def _decimal(decoding: Decoding, node: list[Any]) -> Decimal:
    _, text = node
    if type(text) is not str or len(text) > decoding.limits.decimal_chars:
        raise ValueUnreadable(
            f"a Decimal is not text, or has more than {decoding.limits.decimal_chars:,} characters, the limit"
        )
    return Decimal(text)


@writes(Fraction)
def _write_fraction(encoding: Encoding, value: Fraction) -> list[Any]:
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > encoding.limits.fraction_bits:
        raise Unsendable("a Fraction of such large numbers cannot be sent; send numerator and denominator separately")
    return ["fraction", encoding.cell(value.numerator), encoding.cell(value.denominator)]


@makes("fraction")
def _fraction(decoding: Decoding, node: list[Any]) -> Fraction:
    above, below = (decoding.expect(cell, int) for cell in node[1:])
    if max(above.bit_length(), below.bit_length()) > decoding.limits.fraction_bits:
        raise ValueUnreadable(f"a Fraction has more than {decoding.limits.fraction_bits:,} bits, the limit")
    return Fraction(above, below)


@writes(uuid.UUID)
def _write_uuid(_encoding: Encoding, value: uuid.UUID) -> list[Any]:
    return ["uuid", value.hex]


@makes("uuid")
def _uuid(_decoding: Decoding, node: list[Any]) -> uuid.UUID:
    _, text = node
    return uuid.UUID(hex=text)


@writes(*_PATHS.values())
def _write_path(encoding: Encoding, value: Any) -> list[Any]:
    return ["path", type(value).__name__, encoding.cell(str(value))]


@makes("path")
def _path(decoding: Decoding, node: list[Any]) -> Any:
    _, kind, cell = node
    return _PATHS[kind](decoding.expect(cell, str))


@writes(re.Pattern)
def _write_pattern(encoding: Encoding, value: re.Pattern[Any]) -> list[Any]:
    if len(value.pattern) > encoding.limits.pattern_chars:
        raise Unsendable(f"a pattern of {len(value.pattern):,} characters cannot be sent; compile it where it is used")
    return ["pattern", encoding.cell(value.pattern), value.flags & _FLAGS]


@makes("pattern")
def _pattern(decoding: Decoding, node: list[Any]) -> re.Pattern[Any]:
    _, cell, flags = node
    pattern = decoding.value(cell)
    if type(pattern) not in (str, bytes) or len(pattern) > decoding.limits.pattern_chars:
        raise ValueUnreadable(
            "a pattern is not text or bytes, or has more than {decoding.limits.pattern_chars:,} characters"
        )
    if type(flags) is not int or flags & ~int(_FLAGS):
        raise ValueUnreadable(f"the message is damaged: unknown flags of a pattern: {str(flags)[:20]}")
    return re.compile(pattern, flags)


@writes(range, slice)
def _write_range(encoding: Encoding, value: range | slice) -> list[Any]:
    parts = (value.start, value.stop, value.step)
    cells = (encoding.part(part, f".{name}") for part, name in zip(parts, _BOUNDS, strict=True))
    return [type(value).__name__, *cells]


_BOUNDS = ("start", "stop", "step")


@makes("range")
def _range(decoding: Decoding, node: list[Any]) -> range:
    first, end, step = (decoding.expect(cell, int) for cell in node[1:])
    return range(first, end, step)


@makes("slice")
def _slice(decoding: Decoding, node: list[Any]) -> slice:
    first, end, step = decoding.values(node[1:])
    return slice(first, end, step)
