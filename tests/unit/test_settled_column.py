"""The column `settled`: what is written is what is read, and its bytes are those that older indexes have."""

from __future__ import annotations

import pytest

from sheaf.output.index.settled import decode, encode, open_items


@pytest.mark.parametrize("count", [1, 8, 9, 64, 5000])
def test_what_is_noted_of_a_batch_is_read_again(count: int) -> None:
    """Nothing, some, all but one, all; of all there are no bytes."""
    whole = (1 << count) - 1
    for bits in {0, 1, whole >> 1, whole & 0b1010101, whole}:
        left, column = encode(bits, count)
        assert left == count - bits.bit_count()
        assert (column is None) == (bits == whole)
        assert decode(column, count) == bits
        assert column is None or open_items(left, column, count) == whole & ~bits
    assert open_items(0, b"", count) == 0


def test_the_bytes_are_those_of_every_index_so_far() -> None:
    """The first item is the lowest bit of the first byte; a batch that is not begun has no bytes, or zeros."""
    assert encode(0b1_0000_0101, 10) == (7, b"\x05\x01")
    assert decode(b"", 10) == decode(b"\0\0", 10) == 0
