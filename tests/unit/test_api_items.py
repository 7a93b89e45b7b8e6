"""The stream behind `map` when a part of it breaks: its reader gets the error and never waits for ever."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sheaf.client.session.map_stream import ItemStream
from sheaf.client.session.stream import CallTarget
from sheaf.core.errors import ClusterError
from sheaf.run.task_spec import TaskSpec

WORK = CallTarget(TaskSpec("a:b"), False, 1)


def stream(items: Iterator[int]) -> ItemStream:
    return ItemStream(WORK, items, lambda: None, ordered=True)


@pytest.mark.timeout(30)
def test_a_session_that_breaks_while_items_are_taken_ends_the_results(monkeypatch: pytest.MonkeyPatch) -> None:
    """The items are neither waiting nor sent then: their results will never come."""
    made = stream(iter(range(3)))
    made._thread.join()

    def breaks(_: object) -> int:
        raise MemoryError

    monkeypatch.setattr("sheaf.client.session.map_stream._fitting", breaks)
    with pytest.raises(MemoryError):
        made.take()
    made.end(ClusterError("a part of this session broke"))

    with pytest.raises(ClusterError, match="a part of this session broke"):
        made.results()


@pytest.mark.timeout(30)
def test_a_reader_that_died_without_a_word_ends_the_results(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before it had begun, say: it cannot report it."""
    monkeypatch.setattr(ItemStream, "_read", lambda *_: None)
    made = stream(iter(range(3)))

    with pytest.raises(ClusterError, match="has ended; start it again"):
        made.results()


@pytest.mark.timeout(30)
@pytest.mark.parametrize("raised", [SystemExit, MemoryError, KeyboardInterrupt])
def test_what_fails_beside_the_items_is_not_taken_for_theirs(raised: type[BaseException]) -> None:
    """The program would end by a SystemExit, say, of which none of its lines says a word."""

    left = [raised("not of the items")]

    def wake() -> None:
        if left:
            raise left.pop()

    made = ItemStream(WORK, iter(range(3)), wake, ordered=True)
    made._thread.join()
    made.take()
    made._segments.clear()

    with pytest.raises(
        ClusterError, match=f"a part of this session broke .{raised.__name__}: not of the items"
    ) as said:
        made.results()
    assert isinstance(said.value.__cause__, raised)
