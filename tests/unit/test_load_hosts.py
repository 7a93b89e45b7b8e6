"""Hosts that said they are asked too much, on a clock that is made up."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sheaf.run.items import Item
from sheaf.tasks.load.hosts import LONGEST_HELD_S, Hosts
from sheaf.tasks.load.visit import Visit


def visits(host: str, count: int) -> list[Visit]:
    made = [Visit(Item(number, f"http://{host}/{number}")) for number in range(count)]
    for visit in made:
        visit.set_out()
    return made


def is_full(hosts: Hosts) -> bool:
    """Asked by a call, since mypy takes a property to stay what an assertion has found."""
    return hosts.full


def test_an_overloaded_host_is_asked_half_as_much() -> None:
    """Many 503 at once count once, each further second halves again, to one at least; others are not held back."""
    hosts = Hosts(100)
    for moment in (1.0, 1.1, 1.5, 1.9):
        hosts.overloaded("a", 32, moment)
    assert hosts.limits == {"a": 16}
    for second in range(2, 9):
        hosts.overloaded("a", 32, float(second))
    assert hosts.limits == {"a": 1}
    assert not any(hosts.holds_back(visit, 9.0) for visit in visits("b", 50))
    assert hosts.holds_back(visits("a", 1)[0], 9.0)


def test_what_is_held_back_goes_one_by_one_as_its_host_answers() -> None:
    """In the order in which it came, and never more at once than the host's limit."""
    hosts = Hosts(100)
    hosts.overloaded("a", 4, 0.0)
    waiting = visits("a", 3)
    assert all(hosts.holds_back(visit, 0.0) for visit in waiting)
    hosts.ended("a")
    hosts.ended("a")
    assert hosts.next() is None
    assert hosts.active
    hosts.ended("a")
    assert (hosts.next(), hosts.next()) == (waiting[0], None)
    hosts.ended("a")
    assert (hosts.next(), hosts.next()) == (waiting[1], None)


def test_a_host_is_forgiven_after_a_minute() -> None:
    """Without another complaint it is asked as before, and all that was held back goes."""
    hosts = Hosts(100)
    hosts.overloaded("a", 2, 0.0)
    waiting = visits("a", 3)
    assert all(hosts.holds_back(visit, 30.0) for visit in waiting)
    hosts.look(59.0)
    assert hosts.next() is None
    hosts.look(60.0)
    assert [hosts.next() for _ in range(4)] == [*waiting, None]
    assert not hosts.active


def test_nothing_is_held_back_for_long() -> None:
    """A host that complains for ever gets each page asked for within a minute: others watch how long items take."""
    hosts = Hosts(100)
    hosts.overloaded("a", 2, 0.0)
    held = visits("a", 1)[0]
    assert hosts.holds_back(held, 0.0)
    hosts.overloaded("a", 2, LONGEST_HELD_S)
    hosts.look(LONGEST_HELD_S)
    assert hosts.next() is held


def test_an_overloaded_host_does_not_fill_the_child() -> None:
    """Where others come between, the oldest go once too many are held; where none come, no more are taken."""
    hosts = Hosts(10)
    hosts.overloaded("a", 2, 0.0)
    for visit in visits("a", 10):
        assert hosts.holds_back(visit, 0.0)
    assert is_full(hosts)
    assert hosts.next() is None
    hosts.holds_back(visits("b", 1)[0], 0.0)
    assert not is_full(hosts)
    late = visits("a", 1)[0]
    assert hosts.holds_back(late, 0.0)
    assert hosts.next() is not None


def test_as_many_go_as_others_have_come_for() -> None:
    """Eight for each of another host, and no more than can be held: then nothing more is taken again."""
    hosts = Hosts(10)
    hosts.overloaded("a", 2, 0.0)
    for visit in visits("a", 10):
        assert hosts.holds_back(visit, 0.0)
    for others, gone in ((1, 8), (5, 10)):
        for visit in visits("b", others):
            assert not hosts.holds_back(visit, 0.0)
        for visit in visits("a", gone):
            assert not hosts.full
            assert hosts.holds_back(visit, 0.0)
            assert hosts.next() is not None
        assert hosts.full


def test_who_has_let_some_go_has_room_for_others() -> None:
    """What was held and has gone is held no longer."""
    hosts = Hosts(2)
    hosts.overloaded("a", 1, 0.0)
    for visit in visits("a", 2):
        assert hosts.holds_back(visit, 0.0)
    assert is_full(hosts)
    hosts.ended("a")
    assert hosts.next() is not None
    assert not is_full(hosts)
    assert hosts.holds_back(visits("a", 1)[0], 0.0)
    assert is_full(hosts)


def test_a_redirect_to_a_spared_host_takes_a_connection_of_it() -> None:
    """It goes on, and what waits for that host waits for its end as well."""
    hosts = Hosts(100)
    hosts.overloaded("a", 2, 0.0)
    waiting = visits("a", 1)[0]
    assert hosts.holds_back(waiting, 0.0)
    hosts.moved("a")
    hosts.moved("unknown")
    for _ in range(2):
        hosts.ended("a")
        assert hosts.next() is None
    hosts.ended("a")
    assert hosts.next() is waiting


def test_the_hosts_that_are_remembered_are_not_without_end() -> None:
    """A list of a million hosts that all complain costs no memory, and loses nothing that is held back."""
    hosts = Hosts(100)
    hosts.overloaded("first", 2, 0.0)
    held = visits("first", 1)[0]
    assert hosts.holds_back(held, 0.0)
    for number in range(3000):
        hosts.overloaded(f"host{number}", 2, 1.0 + number / 1000)
    assert len(hosts.limits) == 1000
    assert hosts.next() is held


@given(st.lists(st.tuples(st.sampled_from(["begin", "end", "busy", "look"]), st.sampled_from("abc"), st.floats(0, 40))))
def test_nothing_is_lost_or_given_twice(steps: list[tuple[str, str, float]]) -> None:
    """Whatever happens in whatever order, each visit begins once; in the end none is held."""
    hosts, now, active = Hosts(3), 0.0, {"a": 0, "b": 0, "c": 0}
    given_in: list[Visit] = []
    begun: list[Visit] = []

    def begin_ready() -> None:
        while (visit := hosts.next()) is not None:
            begun.append(visit)
            active[visit.host] += 1

    for step, name, seconds in steps:
        now += seconds
        if step == "begin":
            visit = visits(name, 1)[0]
            given_in.append(visit)
            if not hosts.holds_back(visit, now):
                begun.append(visit)
                active[name] += 1
        elif step == "end" and active[name]:
            active[name] -= 1
            hosts.ended(name)
        elif step == "busy":
            hosts.overloaded(name, active[name] + 1, now)
        else:
            hosts.look(now)
        begin_ready()
    hosts.look(now + 1000)
    begin_ready()
    assert not hosts.active
    assert sorted(map(id, begun)) == sorted(map(id, given_in))
