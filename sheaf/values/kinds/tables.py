"""Tables of Arrow, pandas and polars, as Arrow IPC streams in a frame. Each needs its package on both sides."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from sheaf.core.errors import ValueUnreadable
from sheaf.values.encoding import Unsendable
from sheaf.values.kind import Writer, makes
from sheaf.values.kinds import arrow_stream
from sheaf.values.kinds.arrays import package

if TYPE_CHECKING:
    from sheaf.values.decoding import Decoding
    from sheaf.values.encoding import Encoding

#: Older versions unpickle parts of a stream (CVE-2023-47248).
_OLDEST_PYARROW = (14, 0, 1)
#: Values per byte of a stream, and values beyond that: a column of nulls takes no bytes.
_MOST_PER_BYTE, _MOST_EMPTY = 16, 1 << 20


def _pyarrow() -> Any:
    pa = package("pyarrow")
    if tuple(int(part) for part in pa.__version__.split(".")[:3] if part.isdigit()) < _OLDEST_PYARROW:
        raise ValueUnreadable(
            f"pyarrow {pa.__version__} can be made to run code by a table, so tables are refused; "
            "`pip install --upgrade pyarrow`"
        )
    package("pyarrow.ipc")
    return pa


def arrow_writer(kind: type) -> Writer | None:
    pa = _pyarrow()
    return {pa.Table: _write_table, pa.RecordBatch: _write_batch}.get(kind)


def pandas_writer(kind: type) -> Writer | None:
    pd = package("pandas")
    return {pd.DataFrame: _write_frame, pd.Series: _write_series}.get(kind)


def polars_writer(kind: type) -> Writer | None:
    pl = package("polars")
    return {pl.DataFrame: _write_polars, pl.Series: _write_polars_series}.get(kind)


def _write_table(encoding: Encoding, value: Any) -> list[Any]:
    return ["arrow", "table", encoding.frame(_stream(value, value.schema))]


def _write_batch(encoding: Encoding, value: Any) -> list[Any]:
    return ["arrow", "batch", encoding.frame(_stream(value, value.schema))]


def _stream(table: Any, schema: Any) -> Any:
    pa = _pyarrow()
    if any(_is_extension(field.type) for field in schema):
        raise Unsendable("an Arrow table with an extension type cannot be sent; cast it to its storage type")
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema, options=pa.ipc.IpcWriteOptions(compression=None)) as stream:
        stream.write(table)
    return sink.getvalue()


def _is_extension(kind: Any) -> bool:
    """Whether a type is, or contains, an extension type."""
    pa = _pyarrow()
    if isinstance(kind, pa.BaseExtensionType):
        return True
    inner = [kind.field(place).type for place in range(kind.num_fields)]
    if pa.types.is_dictionary(kind):
        inner.append(kind.value_type)
    return any(map(_is_extension, inner))


def _write_frame(encoding: Encoding, value: Any) -> list[Any]:
    pa = _pyarrow()
    try:
        table = pa.Table.from_pandas(value)
    except (pa.ArrowException, TypeError, ValueError, KeyError) as error:
        raise Unsendable(f"the DataFrame cannot be sent: {error}; give each column one type that Arrow has") from error
    return ["pandas", "frame", encoding.frame(_stream(table, table.schema))]


def _write_series(encoding: Encoding, value: Any) -> list[Any]:
    _, _, frame = _write_frame(encoding, value.to_frame("values"))
    return ["pandas", "series", frame, encoding.part(value.name, ".name")]


def _write_polars(encoding: Encoding, value: Any) -> list[Any]:
    sink = io.BytesIO()
    try:
        value.write_ipc_stream(sink, compression="uncompressed")
    except Exception as error:
        raise Unsendable(f"the DataFrame cannot be sent: {error}; give each column a type that Arrow has") from error
    return ["polars", "frame", encoding.frame(sink.getbuffer())]


def _write_polars_series(encoding: Encoding, value: Any) -> list[Any]:
    _, _, frame = _write_polars(encoding, value.rename("values").to_frame())
    return ["polars", "series", frame, value.name]


def _read(frame: memoryview) -> Any:
    """Read and fully validate an Arrow table. Raises ValueUnreadable."""
    _check(frame)
    pa = _pyarrow()
    try:
        # A copy, because the table outlives the message.
        with pa.ipc.open_stream(pa.py_buffer(bytes(frame))) as stream:
            _refuse_extensions(stream.schema)
            table = stream.read_all()
        table.validate(full=True)
    except pa.ArrowException as error:
        raise ValueUnreadable(f"the Arrow stream is damaged: {str(error)[:200]}") from error
    return table


def _check(frame: memoryview) -> None:
    values = arrow_stream.check(frame)
    if values > frame.nbytes * _MOST_PER_BYTE + _MOST_EMPTY:
        raise ValueUnreadable(
            f"an Arrow stream of {frame.nbytes:,} bytes claims {values:,} values, too many to be accepted"
        )


def _refuse_extensions(schema: Any) -> None:
    for field in _all_fields(schema):
        if b"ARROW:extension:name" in (field.metadata or {}) or _is_extension(field.type):
            raise ValueUnreadable(f"the Arrow column {field.name[:60]!r} has an extension type, which is not accepted")


def _all_fields(schema: Any) -> list[Any]:
    """Return the fields of a schema, nested ones included."""
    fields = list(schema)
    for field in fields:  # the list grows
        fields += [field.type.field(place) for place in range(field.type.num_fields)]
    return fields


def _is_view(field: Any) -> bool:
    return "view" in str(field.type)


@makes("arrow")
def _arrow(decoding: Decoding, node: list[Any]) -> Any:
    _, form, frame = node
    table = _read(decoding.frame(frame))
    if form == "table":
        return table
    batches = table.combine_chunks().to_batches()
    return batches[0] if batches else _pyarrow().RecordBatch.from_pylist([], schema=table.schema)


@makes("pandas")
def _pandas(decoding: Decoding, node: list[Any]) -> Any:
    package("pandas")
    _, form, frame, *name = node
    table = _read(decoding.frame(frame))
    if any(map(_is_view, _all_fields(table.schema))):
        raise ValueUnreadable("a DataFrame of Arrow's view types is not accepted, as it could expand to any size")
    # A copy, because some columns would be read-only views of the table.
    made = table.to_pandas().copy()
    if form == "frame":
        return made
    return made["values"].rename(decoding.value(name[0]))


@makes("polars")
def _polars(decoding: Decoding, node: list[Any]) -> Any:
    pl = package("polars")
    _, form, frame, *name = node
    data = decoding.frame(frame)
    _check(data)
    try:
        made = pl.read_ipc_stream(io.BytesIO(data))
    except BaseException as error:
        # A panic in its Rust code is not an Exception.
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise
        raise ValueUnreadable(f"the Arrow stream is damaged: {type(error).__name__}: {str(error)[:200]}") from error
    return made if form == "frame" else made["values"].rename(decoding.expect(name[0], str))
