"""The column `settled` of `batches`, the only place that knows its form: a bit for each item, the first one lowest.

NULL: all of them, so that a batch that is done costs no bytes.
"""

from __future__ import annotations


def decode(column: bytes | None, count: int) -> int:
    """The settled items of a batch of `count`, as the bits of a number."""
    return (1 << count) - 1 if column is None else int.from_bytes(column, "little")


def encode(bits: int, count: int) -> tuple[int, bytes | None]:
    """The columns `left` and `settled`."""
    left = count - bits.bit_count()
    return left, bits.to_bytes((count + 7) // 8, "little") if left else None


def open_items(left: int, column: bytes | None, count: int) -> int:
    """The items that are not settled, as bits. Raises TypeError for NULL in a batch of which some are left."""
    if left == 0:
        return 0
    if column is None:
        raise TypeError(f"{left} items are left, but all of them are noted as settled")
    return ((1 << count) - 1) & ~int.from_bytes(column, "little")
