"""One process's connections to the same index: whichever waited in vain has the others closed."""

from __future__ import annotations

import threading

from sheaf.output.index import siblings
from sheaf.output.index.siblings import Usage, add, renew_others


class Connection:
    """What the others of its process see of a connection."""

    def __init__(self, file: tuple[int, int] | None) -> None:
        self.file = file
        self.renewed = 0
        add(self)

    def renew(self) -> None:
        self.renewed += 1


def test_only_the_others_of_the_same_file_are_renewed() -> None:
    waiting, same, other, unopened = (Connection((1, 2)), Connection((1, 2)), Connection((1, 3)), Connection(None))

    renew_others(waiting)

    assert [each.renewed for each in (waiting, same, other, unopened)] == [0, 1, 0, 0]


def test_a_connection_that_is_gone_is_forgotten() -> None:
    kept = Connection((4, 4))
    before = len(siblings._all)
    gone = Connection((4, 4))
    assert len(siblings._all) == before + 1
    del gone

    renew_others(kept)
    assert len(siblings._all) == before


def test_usage_ends_with_the_outermost_use() -> None:
    """Also when that fails; meanwhile another thread can take the lock, to see that it is in use."""
    usage = Usage()
    seen = []

    def look() -> None:
        with usage.lock:
            seen.append(usage.in_use)

    try:
        with usage.using():
            with usage.using():
                pass
            assert usage.in_use
            looking = threading.Thread(target=look)
            looking.start()
            looking.join(60)
            raise KeyError
    except KeyError:
        pass

    assert seen == [True]
    assert not usage.in_use
