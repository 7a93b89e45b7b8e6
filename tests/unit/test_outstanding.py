"""What a child has in hand: lines and numbers, finished in whatever order, never mixed up and never forgotten."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sheaf.run.number_range import Numbers
from sheaf_worker.pool.backlog import ItemBlock
from sheaf_worker.pool.outstanding import Outstanding
from sheaf_worker.wire.channel import pack_indexes, unpack_indexes, unpack_spans


def block_of_numbers(first: int, count: int) -> ItemBlock:
    """Items from `first` on, which are every third number from 10 times that on."""
    return ItemBlock(range(first, first + count), Numbers(range(10 * first, 10 * first + 3 * count, 3)))


def block_of_lines(first: int, count: int) -> ItemBlock:
    return ItemBlock(range(first, first + count), [f"line {index}" for index in range(first, first + count)])


@given(st.data())
def test_it_is_a_dict_that_takes_numbers_without_spelling_them_out(data: st.DataObject) -> None:
    """Whatever is given and finished, in or out of order, known or not: the same as of a dict of texts."""
    outstanding, expected, next_index = Outstanding(), dict[int, str](), 0
    for _ in range(data.draw(st.integers(1, 12))):
        if data.draw(st.booleans()):
            make = data.draw(st.sampled_from([block_of_numbers, block_of_lines]))
            block = make(next_index, data.draw(st.integers(1, 9)))
            outstanding.add(block)
            expected.update(zip(block.indexes, block.texts, strict=True))
            next_index += len(block.indexes) + data.draw(st.integers(0, 2))
        else:
            first = data.draw(st.integers(0, next_index))
            taken = range(first, first + data.draw(st.integers(0, 12)))
            if data.draw(st.booleans()):
                taken = range(min(expected, default=0), min(expected, default=0) + len(taken))
            given_as = taken if data.draw(st.booleans()) else list(taken)
            assert outstanding.take(given_as) == {index for index in taken if index not in expected}
            for index in taken:
                expected.pop(index, None)
        assert len(outstanding) == len(expected)
        assert all(index in outstanding for index in expected)
        assert next_index + 5 not in outstanding
    assert dict(outstanding.items()) == expected
    assert set(outstanding) == set(expected)
    assert outstanding.weight == sum(map(len, expected.values()))
    assert all(outstanding[index] == text for index, text in expected.items())


def test_numbers_that_come_back_in_order_stay_a_range() -> None:
    """A million of them cost as much as ten, and weigh nothing until their texts are needed."""
    outstanding = Outstanding()
    outstanding.add(block_of_numbers(0, 1_000_000))
    outstanding.add(block_of_numbers(1_000_000, 1_000_000))

    assert outstanding.take(range(1_500_000)) == set()

    assert len(outstanding) == 500_000
    assert outstanding.weight == 0
    assert outstanding[1_500_000] == "11500000"
    assert outstanding.weight > 500_000


@given(st.lists(st.integers(0, 2000), max_size=900))
def test_indexes_come_through_the_pipe_as_they_are(indexes: list[int]) -> None:
    """Any order, doubles included: what is unpacked is what was packed, stretch by stretch or one by one."""
    packed = pack_indexes(indexes)

    assert [index for stretch in unpack_spans(packed) for index in stretch] == indexes
    assert list(unpack_indexes(packed)) == indexes


@given(st.lists(st.tuples(st.integers(1, 400), st.integers(1, 9)), max_size=6))
def test_stretches_with_gaps_between_come_through_the_pipe(steps: list[tuple[int, int]]) -> None:
    """What is left of several batches: long and short stretches, in order."""
    indexes: list[int] = []
    for count, gap in steps:
        first = indexes[-1] + 1 + gap if indexes else gap
        indexes += range(first, first + count)
    packed = pack_indexes(indexes)

    assert list(unpack_indexes(packed)) == indexes
    assert [index for stretch in unpack_spans(packed) for index in stretch] == indexes


def test_long_stretches_are_sent_as_such() -> None:
    """What two blocks of a range became takes as many bytes as four numbers; short stretches are not worth it."""
    assert pack_indexes([*range(1000), *range(5000, 5500)]) == (0, -1000, 5000, -500)
    assert unpack_spans((0, -1000, 5000, -500)) == [range(1000), range(5000, 5500)]
    assert pack_indexes(range(7, 10)) == (7, -3)
    odd = list(range(1, 1001, 2))
    assert unpack_spans(pack_indexes(odd)) == [tuple(odd)]
