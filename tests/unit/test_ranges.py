"""Item indexes in bulk: what goes in comes out, and bits are where their items are."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sheaf.core.bitmap import Bitmap
from sheaf.core.ranges import (
    count_of,
    pack,
    pack_ranges,
    place_of,
    set_bits,
    to_masks,
    to_ranges,
    unpack,
    unpack_ranges,
)

INDEXES = st.sets(st.integers(0, 300), max_size=200).map(sorted)


@given(INDEXES)
def test_ranges_hold_exactly_the_indexes_they_were_made_of(indexes: list[int]) -> None:
    """No index is lost or added, and no two ranges touch, however the indexes are spread."""
    ranges = to_ranges(indexes)

    assert [index for first, end in ranges for index in range(first, end)] == indexes
    assert all(end < first for (_, end), (first, _) in itertools.pairwise(ranges))
    assert count_of(ranges) == len(indexes)
    assert unpack_ranges(pack_ranges(ranges)) == ranges


@given(INDEXES, st.integers(0, 300))
def test_the_place_of_an_index_is_its_position_in_the_list(indexes: list[int], index: int) -> None:
    """A record is found by counting the records before it; an index that is not there has no place."""
    expected = indexes.index(index) if index in indexes else None

    assert place_of(to_ranges(indexes), index) == expected


@given(INDEXES, st.integers(1, 70))
def test_a_batch_mask_has_the_bits_of_its_items(indexes: list[int], batch_size: int) -> None:
    """Whatever the batch size, the masks say the same as the indexes."""
    masks = to_masks(to_ranges(indexes), batch_size)

    assert sorted(number * batch_size + bit for number, mask in masks.items() for bit in set_bits(mask)) == indexes


@given(st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 300), max_size=300))
def test_packed_numbers_come_out_as_they_went_in(numbers: list[int]) -> None:
    """Small, huge, many, none."""
    assert unpack(pack(numbers)) == numbers


def test_ten_thousand_small_lengths_take_at_most_a_byte_each() -> None:
    """The index stays small: tiny records cost less than their length would as text."""
    assert len(pack([40 + place % 50 for place in range(10_000)])) <= 10_001
    assert len(pack([77] * 10_000)) < 200


def test_bytes_that_are_no_packed_list_are_refused() -> None:
    """A damaged index is named as such, not read as something else."""
    with pytest.raises(ValueError, match="cannot begin"):
        unpack(b"\x03abc")
    with pytest.raises(ValueError, match="does not decompress"):
        unpack(b"\x81abc")


@given(st.lists(st.tuples(st.integers(0, 120), st.integers(1, 40)), max_size=12), st.integers(1, 100))
def test_a_bitmap_counts_what_was_set_twice_and_what_lies_outside(spans: list[tuple[int, int]], size: int) -> None:
    """The same answers as a set of numbers gives."""
    bitmap, model, outside = Bitmap(size), set[int](), 0
    for first, length in spans:
        inside = set(range(first, first + length)) & set(range(size))
        outside += length - len(inside)
        assert bitmap.add(first, first + length) == len(inside & model)
        model |= inside

    assert bitmap.count() == len(model)
    assert bitmap.outside == outside
    assert set_bits(bitmap.bits(3, 40)) == [bit for bit in range(40) if bit + 3 in model]
