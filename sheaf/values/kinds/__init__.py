"""Every kind of object: how it becomes a node, and how it is rebuilt from one.

plain.py        numbers, texts, bytes, dates, paths, patterns      collections.py   lists, dicts, sets and their like
names.py        classes, functions, methods, members of enums      instances.py     objects of the program's classes
exceptions.py   exceptions with their causes                       arrays.py        NumPy
tables.py       Arrow, pandas, polars                              remedies.py      what cannot be sent, and why
"""

from __future__ import annotations

import enum
from collections.abc import Callable

from sheaf.values.kind import Kind, Writer, kinds, writers
from sheaf.values.kinds import arrays, collections, exceptions, instances, names, plain, references, tables  # noqa: F401

__all__ = ["KINDS", "Kind", "Writer", "writer_for"]

#: By tag. Importing this module completes it.
KINDS: dict[str, Kind] = kinds

#: Packages whose types have writers of their own. They are imported when a value of one of them is sent.
_PACKAGES: dict[str, Callable[[type], Writer | None]] = {
    "numpy": arrays.writer_for,
    "pyarrow": tables.arrow_writer,
    "pandas": tables.pandas_writer,
    "polars": tables.polars_writer,
}


def writer_for(kind: type) -> Writer:
    """Return the writer for a type; for one that cannot be sent, the writer raises the error."""
    writer = writers.get(kind)
    if writer is not None:
        return writer
    package = _PACKAGES.get(str(kind.__module__).partition(".")[0])
    if package is not None and (writer := package(kind)) is not None:
        return writer
    if issubclass(kind, enum.Enum):
        return names.write_member
    if issubclass(kind, type):
        return names.write_class
    if issubclass(kind, BaseException):
        return exceptions.write
    return instances.write
