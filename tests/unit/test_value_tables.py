"""Tables of Arrow, pandas and polars. Where one of the last two is not installed, the error is what is tested."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from typing import Any

import pyarrow as pa
import pytest

from sheaf.core.errors import ValueNotSendable, ValueUnreadable
from sheaf.values import Codec, Limits, container

CODEC = Codec()
#: A table of one column, as it is in a frame.
STREAM = bytes(container.unpack(CODEC.encode(pa.table({"a": [1]})), Limits()).frames[0])


def round_trip(value: Any) -> Any:
    return CODEC.decode(CODEC.encode(value))


def test_arrow_tables_and_batches() -> None:
    """With the metadata of their schema; of no rows, too."""
    table = pa.table({"a": [1, None], "b": ["x", "y"], "c": [[1], []]}).replace_schema_metadata({"k": "v"})
    for given in (table, table.to_batches()[0], table.slice(0, 0), pa.RecordBatch.from_pylist([], schema=table.schema)):
        read = round_trip([given, given])
        assert type(read[0]) is type(given) and read[0].equals(given, check_metadata=True) and read[0] is read[1]
    words = pa.table({"w": pa.array(["a", "b", "a"]).dictionary_encode()})
    assert round_trip(words).equals(words)


def test_other_things_of_arrow_are_refused() -> None:
    with pytest.raises(ValueNotSendable, match="Int64Array cannot be sent"):
        CODEC.encode(pa.array([1]))
    with pytest.raises(ValueNotSendable, match="extension type"):
        CODEC.encode(pa.table({"a": pa.ExtensionArray.from_storage(pa.uuid(), pa.array([b"0" * 16], pa.binary(16)))}))


PANDAS = """
import pandas as pd, numpy as np
from sheaf.values import Codec
c = Codec()
frames = [
    pd.DataFrame({"a": [1, 2], "b": ["x", None], "c": pd.to_datetime(["2020-01-01", "2021-01-01"], utc=True)}),
    pd.DataFrame({1: [1.5], 2: [True]}), pd.DataFrame({"a": [1]}, index=pd.Index(["r"], name="n")), pd.DataFrame(),
    pd.DataFrame({"a": pd.Categorical(["x", "y", "x"])}),
    pd.DataFrame([[1, 2]], columns=["a", "b"], index=pd.MultiIndex.from_tuples([("i", 1)])),
    pd.DataFrame({"a": np.arange(5)})[::2],
]
for frame in frames:
    read = c.decode(c.encode([frame, (frame,)]))
    pd.testing.assert_frame_equal(read[0], frame)
    assert read[0] is read[1][0]
    if len(read[0]):
        read[0].iloc[0, 0] = frame.iloc[-1, 0]
for series in (pd.Series([1, 2], name="s"), pd.Series(["a"], index=["i"]), pd.Series([1], name=("a", 1))):
    read = c.decode(c.encode(series))
    pd.testing.assert_series_equal(read, series)
    assert read.name == series.name
try:
    c.encode({"f": pd.DataFrame({"x": [object()]})}, "args")
except TypeError as error:
    assert "args['f']: the DataFrame cannot be sent" in str(error), error
else:
    raise AssertionError
"""

POLARS = """
import datetime, polars as pl
from sheaf.values import Codec
c = Codec()
for frame in (
    pl.DataFrame({"a": [1, None], "b": ["x", "yy"], "c": [[1], []], "d": [datetime.date(2020, 1, 1)] * 2}),
    pl.DataFrame({"a": pl.Series(["x", "y"], dtype=pl.Categorical)}), pl.DataFrame(), pl.DataFrame({"a": []}),
):
    read = c.decode(c.encode((frame,)))[0]
    assert type(read) is pl.DataFrame and read.equals(frame) and read.schema == frame.schema
series = pl.Series("s", [1, 2, None])
read = c.decode(c.encode(series))
assert read.equals(series) and read.name == "s"
data = bytearray(c.encode(frame))
from sheaf.core.errors import ValueUnreadable
for place in range(40, len(data)):
    changed = bytearray(data); changed[place] ^= 0xFF
    try: c.decode(changed)
    except ValueUnreadable: pass
"""


@pytest.mark.parametrize(("package", "code"), [("pandas", PANDAS), ("polars", POLARS)])
def test_data_frames(package: str, code: str) -> None:
    """As they were, to the index and the names; where the package is missing, the reader's error says what to do."""
    if importlib.util.find_spec(package) is None:
        head = b'[[0],[["%s","frame",0]]]' % package.encode()
        with pytest.raises(ValueUnreadable, match=f"the package {package} was received, .* install it"):
            CODEC.decode(b"".join(container.pack(head, [memoryview(STREAM)])))
        return
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_no_package_is_imported_before_a_value_of_it_is_met() -> None:
    """A process of the pool pays for none that its task does not use."""
    code = (
        "import sys; from sheaf.values import Codec; c = Codec()\n"
        "c.decode(c.encode([(1, {2: b'x'}), 1j, {3}]))\n"
        "print({'numpy', 'pyarrow', 'pandas', 'polars', 'redis', 'rq', 'pydantic'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
