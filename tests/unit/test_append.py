"""The append, as the kernel gets it: everything, in order, in short calls."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from pytest import MonkeyPatch

from sheaf import tail


@given(st.lists(st.binary(max_size=40), max_size=30), st.integers(1, 25), st.integers(1, 6))
def test_pieces_are_divided_into_short_writes(pieces: list[bytes], most_bytes: int, most_pieces: int) -> None:
    """No call gets more bytes or buffers than it may; together they are what was given."""
    with MonkeyPatch.context() as patch:
        patch.setattr(tail, "WRITE_BYTES", most_bytes)
        patch.setattr(tail, "PIECES", most_pieces)
        portions = list(tail._portions(pieces))

    assert b"".join(bytes(part) for portion in portions for part in portion) == b"".join(pieces)
    assert all(0 < sum(map(len, portion)) <= most_bytes for portion in portions)
    assert all(len(portion) <= most_pieces for portion in portions)
