"""How many connections a child settles on, on a clock and a server that are made up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sheaf.tasks.load.connections import FIRST, MOST_UNASKED, Connections

TICK_S = 0.1


def drive(connections: Connections, seconds: float, latency_s: float, most_per_s: float, start: float = 0.0) -> float:
    """Let a server answer that takes `latency_s` for a page and can do `most_per_s` of them; return the time after."""
    now = start
    owed = 0.0
    for _ in range(round(seconds / TICK_S)):
        now += TICK_S
        wanted = connections.limit / latency_s
        owed += min(wanted, most_per_s) * TICK_S
        for _ in range(int(owed)):
            connections.ended(1)
        owed -= int(owed)
        connections.waited(TICK_S * max(0.0, 1 - min(wanted, most_per_s) / 10_000))
        connections.look(now)
    return now


@pytest.mark.parametrize("latency_s", [0.05, 0.25, 2.0])
def test_connections_grow_while_the_network_is_what_a_child_waits_for(latency_s: float) -> None:
    """A slow server that answers any number at once gets all there may be, and the choice says why."""
    connections = Connections(0, 0.0)
    assert connections.limit == FIRST
    drive(connections, 20 * latency_s, latency_s, 1e6)
    assert connections.choice.value == connections.limit == MOST_UNASKED
    assert "brought" in connections.choice.why


def test_connections_stop_where_more_bring_nothing() -> None:
    """A server that does 300 pages a second at 250 ms is kept busy by 75: 32 are too few, 256 no gain."""
    connections = Connections(0, 0.0)
    drive(connections, 4.0, 0.25, 300)
    assert connections.limit == 128
    assert "256 brought 300" in connections.choice.why


def test_a_child_that_has_no_time_to_spare_stays_where_it_is() -> None:
    """Without latency the core is the limit; more connections would only cost memory."""
    connections = Connections(0, 0.0)
    drive(connections, 5, 0.001, 9_900)
    assert connections.limit == FIRST
    assert "keep a core busy: 9,9" in connections.choice.why


def test_a_number_that_was_asked_for_is_kept() -> None:
    """Never more, and never fewer, whatever comes."""
    connections = Connections(7, 0.0)
    drive(connections, 5, 1.0, 1e6)
    drive(connections, 5, 0.0001, 9_900, start=5.0)
    assert (connections.limit, connections.choice) == (7, ("connections", 7, "as asked for"))


def test_connections_are_no_more_than_files() -> None:
    """Where a process may open few files, it keeps to what it can have, and says why."""
    connections = Connections(0, 0.0, 40)
    assert (connections.limit, connections.most) == (FIRST, 40)
    drive(connections, 20, 0.25, 1e6)
    assert connections.limit == 40
    assert Connections(300, 0.0, 40).choice == (
        "connections",
        40,
        "at most 40, as this process may have few files open",
    )


def test_connections_that_could_not_be_opened_are_not_tried_again() -> None:
    """Files that other code has taken meanwhile lower the number, to one at least, and no trial raises it again."""
    connections = Connections(0, 0.0)
    now = drive(connections, 5, 0.25, 1e6)
    connections.lacks_files(17, now)
    drive(connections, 200, 0.25, 1e6, start=now)
    assert (connections.limit, "no files left" in connections.choice.why) == (17, True)
    connections.lacks_files(0, now)
    assert connections.limit == 1


def test_a_round_that_was_short_of_items_says_nothing() -> None:
    """Connections that find no item are no reason for more of them."""
    connections = Connections(0, 0.0)
    connections.mark_drained(0.0)
    for step in range(1, 40):
        connections.supplied(step * TICK_S - 0.05)
        for _ in range(FIRST):
            connections.ended(1)
        connections.waited(TICK_S)
        connections.look(step * TICK_S)
        connections.mark_drained(step * TICK_S)
        assert connections.drained
    assert connections.limit == FIRST


def round_of(connections: Connections, end: float, pages: int, waited_s: float) -> int:
    """A round that ends then, with this many pages; the number of connections in the next one."""
    connections.ended(pages)
    connections.waited(waited_s)
    connections.look(end)
    return connections.limit


def test_a_round_takes_its_time_and_sees_each_connection() -> None:
    """A tenth of a second, and as many pages as there are connections: how fast fewer are is not known."""
    connections = Connections(0, 0.0)
    assert round_of(connections, 0.05, 2 * FIRST, 0.05) == FIRST
    assert round_of(connections, 0.1, 0, 0.05) > FIRST

    connections = Connections(0, 0.0)
    assert round_of(connections, 1.0, FIRST - 1, 1.0) == FIRST
    assert round_of(connections, 2.0, 1, 1.0) > FIRST


def test_a_trial_has_a_second_chance_while_there_is_time_to_spare() -> None:
    """The first round may have been bad luck; a child that is busy does not wait for another one."""
    connections = Connections(0, 0.0)
    assert round_of(connections, 1.0, 100, 0.5) == 2 * FIRST
    assert round_of(connections, 2.0, 100, 0.5) == 2 * FIRST
    assert round_of(connections, 3.0, 200, 0.5) == 4 * FIRST
    assert "200 pages/s; 32 brought 100" in connections.choice.why

    assert round_of(connections, 4.0, 200, 0.2) == 2 * FIRST


def test_a_trial_that_did_not_pay_is_made_again_later_and_later() -> None:
    """After three seconds, then six, twelve, and so on up to a minute; one that pays begins anew."""
    connections, now, pauses = Connections(0, 0.0), 0.0, []
    for _ in range(7):
        began = now
        while round_of(connections, now := now + 1.0, 100, 0.2) == FIRST:
            pass
        pauses.append(now - began)
        now += 1.0
        assert round_of(connections, now, 100, 0.2) == FIRST
    assert pauses == [1, 3, 6, 12, 24, 48, 60]


def test_a_round_that_ends_short_of_items_says_nothing() -> None:
    """Its end counts, too: the next item has not come yet."""
    connections = Connections(0, 0.0)
    connections.mark_drained(0.5)
    assert round_of(connections, 1.0, FIRST, 1.0) == FIRST
    assert round_of(connections, 2.0, FIRST, 1.0) > FIRST


@given(
    st.integers(0, 400),
    st.lists(st.tuples(st.floats(0, 5), st.integers(0, 600), st.floats(0, 5), st.booleans(), st.booleans())),
)
def test_there_are_never_more_than_allowed_nor_none(
    asked: int, rounds: list[tuple[float, int, float, bool, bool]]
) -> None:
    """Whatever happens in whatever order."""
    connections, now = Connections(asked, 0.0), 0.0
    for passed, ended, waited, drained, lacking in rounds:
        now += passed
        for _ in range(ended):
            connections.ended(1)
        connections.waited(waited)
        if drained:
            connections.mark_drained(now)
        if lacking:
            connections.lacks_files(connections.limit - 1, now)
        connections.look(now)
        assert 1 <= connections.limit <= connections.most <= (asked or MOST_UNASKED)
        if asked and not any(lacking for *_, lacking in rounds):
            assert connections.limit == asked
