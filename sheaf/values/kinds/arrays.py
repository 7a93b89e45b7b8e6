"""NumPy arrays and scalars as raw frames with dtype and shape. NumPy is imported when the first one is met."""

from __future__ import annotations

import importlib
import math
import re
from typing import TYPE_CHECKING, Any

from sheaf.core.errors import ValueUnreadable
from sheaf.values.encoding import Unsendable
from sheaf.values.kind import Writer, makes

if TYPE_CHECKING:
    from sheaf.values.decoding import Decoding
    from sheaf.values.encoding import Encoding

#: Simple dtypes as NumPy spells them: no objects, no variable length, no zero length.
_SIMPLE = re.compile(
    r"[<>|=](?:b1|[iu][1248]|f(?:2|4|8|12|16)|c(?:8|16|24|32)|[mM]8(?:\[[\w/]{1,12}\])?|[SUV][1-9]\d{0,8})"
)
_MOST_FIELDS, _MOST_DIMENSIONS = 1000, 32
_C_ORDER, _FORTRAN_ORDER = "C", "F"


def numpy() -> Any:
    """Import NumPy. Raises ValueUnreadable if it is not installed."""
    return package("numpy")


def package(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ValueUnreadable(
            f"a value of the package {name} was received, which cannot be imported here ({error}); install it on "
            "this side, in the containers by requirements/extra.txt"
        ) from error


def writer_for(kind: type) -> Writer | None:
    np = numpy()
    if kind in (np.ndarray, np.memmap):
        return _write_array
    if issubclass(kind, np.generic):
        return _write_scalar
    if issubclass(kind, np.dtype):
        return _write_dtype
    return _write_ufunc if kind is np.ufunc else None


def _write_array(encoding: Encoding, value: Any) -> list[Any]:
    described = _describe(value.dtype)
    order = _C_ORDER
    if not value.flags.c_contiguous and value.flags.f_contiguous:
        order, value = _FORTRAN_ORDER, value.T
    np = numpy()
    whole = np.ascontiguousarray(value)
    shape = value.shape if order == _C_ORDER else value.shape[::-1]
    # As bytes, since some dtypes (dates) do not support the buffer protocol.
    data = encoding.temporary(whole.reshape(-1).view(np.uint8) if whole.size else b"")
    return ["ndarray", [[described]], [list(shape)], order, encoding.frame(data)]


def _write_scalar(encoding: Encoding, value: Any) -> list[Any]:
    """Write a scalar like an array without dimensions; an empty string gets an item of one character."""
    np = numpy()
    array = np.array(value) if value.dtype.itemsize else np.array(value, dtype=f"{value.dtype.char}1")
    return ["npscalar", [[_describe(array.dtype)]], encoding.frame(array.tobytes())]


def _write_dtype(_encoding: Encoding, value: Any) -> list[Any]:
    return ["dtype", [[_describe(value)]]]


def _write_ufunc(_encoding: Encoding, value: Any) -> list[Any]:
    name: str = value.__name__
    if vars(numpy()).get(name) is not value:
        raise Unsendable(f"the function {name!r} cannot be sent, as it is not one of NumPy's own; call it in a `def`")
    return ["ufunc", name]


def _describe(dtype: Any) -> Any:
    """Describe a dtype in JSON: a string, or a list of fields. Raises Unsendable if it is not a simple one."""
    if dtype.hasobject:
        raise Unsendable(
            "a NumPy array of Python objects cannot be sent; send a list (`.tolist()`), or convert it to numbers or "
            "text (`.astype(…)`)"
        )
    described = numpy().lib.format.dtype_to_descr(dtype)
    try:
        _check(described, [_MOST_FIELDS])
    except ValueUnreadable:
        raise Unsendable(f"a NumPy array of dtype {dtype} cannot be sent; convert it with `.astype(…)`") from None
    return described


def _check(described: Any, left: list[int]) -> None:
    """Raises ValueUnreadable for a dtype that is not made of simple ones."""
    left[0] -= 1
    if left[0] < 0:
        raise ValueUnreadable(f"a NumPy dtype has more than {_MOST_FIELDS} fields, the limit")
    if type(described) is str:
        if not _SIMPLE.fullmatch(described):
            raise ValueUnreadable(f"the NumPy dtype {described[:40]!r} is not accepted")
        return
    if type(described) not in (list, tuple) or not described:
        raise ValueUnreadable("the message is damaged: not a NumPy dtype")
    for field in described:
        if type(field) not in (list, tuple) or not 2 <= len(field) <= 3:
            raise ValueUnreadable("the message is damaged: not a field of a NumPy dtype")
        if type(field[0]) is not str and not _is_titled(field[0]):
            raise ValueUnreadable("the message is damaged: a field of a NumPy dtype without a name")
        _check(field[1], left)
        if len(field) == 3:
            _check_shape(field[2])


def _is_titled(name: Any) -> bool:
    return type(name) in (list, tuple) and len(name) == 2 and all(type(part) is str for part in name)


def _check_shape(shape: Any) -> None:
    if type(shape) not in (list, tuple) or len(shape) > _MOST_DIMENSIONS:
        raise ValueUnreadable("the message is damaged: not the shape of a NumPy array")
    if not all(type(length) is int and 0 <= length < 1 << 48 for length in shape):
        raise ValueUnreadable("the message is damaged: not the shape of a NumPy array")


def _dtype(cell: Any) -> Any:
    """Return the dtype that a cell describes."""
    described = cell[0][0]
    _check(described, [_MOST_FIELDS])
    found = numpy().lib.format.descr_to_dtype(_tuples(described))
    if found.hasobject or not 0 < found.itemsize < 1 << 31:
        raise ValueUnreadable("the message is damaged: a NumPy dtype of zero length, or of objects")
    return found


def _tuples(described: Any) -> Any:
    """Turn lists back into tuples where NumPy needs them: a list of fields, each of which is a tuple."""
    if type(described) is str:
        return described
    return [tuple(_field_part(part, place) for place, part in enumerate(field)) for field in described]


def _field_part(part: Any, place: int) -> Any:
    return _tuples(part) if place == 1 else tuple(part) if type(part) is list else part


@makes("ndarray")
def _array(decoding: Decoding, node: list[Any]) -> Any:
    _, described, shape_cell, order, frame = node
    dtype, shape = _dtype(described), shape_cell[0]
    _check_shape(shape)
    if order not in (_C_ORDER, _FORTRAN_ORDER):
        raise ValueUnreadable("the message is damaged: unknown order of a NumPy array")
    data = decoding.frame(frame)
    if math.prod(shape) * dtype.itemsize != data.nbytes:
        raise ValueUnreadable(
            f"the message is damaged: the shape of a NumPy array does not match its {data.nbytes:,} bytes"
        )
    np = numpy()
    made = np.empty(tuple(shape), dtype=dtype, order=order)
    if data.nbytes:
        made.reshape(-1, order=order).view(np.uint8)[:] = np.frombuffer(data, dtype=np.uint8)
    return made


@makes("npscalar")
def _scalar(decoding: Decoding, node: list[Any]) -> Any:
    _, described, frame = node
    dtype, data = _dtype(described), decoding.frame(frame)
    if data.nbytes != dtype.itemsize:
        raise ValueUnreadable("the message is damaged: the dtype of a NumPy scalar does not match its length")
    return numpy().frombuffer(bytearray(data), dtype=dtype)[0]


@makes("dtype")
def _make_dtype(_decoding: Decoding, node: list[Any]) -> Any:
    _, described = node
    return _dtype(described)


@makes("ufunc")
def _ufunc(_decoding: Decoding, node: list[Any]) -> Any:
    _, name = node
    np = numpy()
    found = vars(np).get(name)
    if not isinstance(found, np.ufunc):
        raise ValueUnreadable(f"NumPy has no function {str(name)[:40]!r} that can be sent")
    return found
