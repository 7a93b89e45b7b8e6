"""pyarrow, which reads and writes Parquet: imported only when it is needed, since it is large and not everybody's."""

from __future__ import annotations

from typing import Any

from sheaf.core.errors import UsageError


def pyarrow_parquet() -> Any:
    """Return the module `pyarrow.parquet`. Raises UsageError that says how to get it."""
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise UsageError(
            f"Parquet needs the package pyarrow, which cannot be imported here ({error}); install it with "
            "`pip install pyarrow`, or in the containers as docs/map.md says"
        ) from error
    return pyarrow.parquet
