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
            connections.ended()
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
    now = drive(connections, 5, 1.0, 1e6)
    connections.overloaded(now)
    assert (connections.limit, connections.choice) == (7, ("connections", 7, "as asked for"))


def test_an_overloaded_server_is_asked_half_as_much() -> None:
    """Many 503 at once count once; a minute long nothing is tried."""
    connections = Connections(0, 0.0)
    for moment in (1.0, 1.1, 1.2, 1.9):
        connections.overloaded(moment)
    assert connections.limit == FIRST // 2
    now = drive(connections, 30, 0.25, 1e6, start=2.0)
    assert connections.limit == FIRST // 2
    assert "overloaded" in connections.choice.why
    drive(connections, 40, 0.25, 1e6, start=now)
    assert connections.limit == MOST_UNASKED


def test_a_round_that_was_short_of_items_says_nothing() -> None:
    """Connections that find no item are no reason for more of them."""
    connections = Connections(0, 0.0)
    connections.ran_dry(0.0)
    for step in range(1, 40):
        connections.supplied(step * TICK_S - 0.05)
        for _ in range(FIRST):
            connections.ended()
        connections.waited(TICK_S)
        connections.look(step * TICK_S)
        connections.ran_dry(step * TICK_S)
        assert connections.dry
    assert connections.limit == FIRST


@given(
    st.integers(0, 400),
    st.lists(st.tuples(st.floats(0, 5), st.integers(0, 600), st.floats(0, 5), st.booleans(), st.booleans())),
)
def test_there_are_never_more_than_allowed_nor_none(
    asked: int, rounds: list[tuple[float, int, float, bool, bool]]
) -> None:
    """Whatever happens in whatever order."""
    connections, now = Connections(asked, 0.0), 0.0
    for passed, ended, waited, dry, refused in rounds:
        now += passed
        for _ in range(ended):
            connections.ended()
        connections.waited(waited)
        if dry:
            connections.ran_dry(now)
        if refused:
            connections.overloaded(now)
        connections.look(now)
        assert 1 <= connections.limit <= (asked or MOST_UNASKED)
        if asked:
            assert connections.limit == asked
