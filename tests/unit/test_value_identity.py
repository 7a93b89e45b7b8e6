"""The same object twice is the same object twice; circles stay closed; references come back as what they refer to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from sheaf.core.errors import RemoteError, ValueNotSendable, ValueUnreadable
from sheaf.values import Codec, Modules, Reference
from tests import value_classes as own

CODEC = Codec(Modules({"program": own}))


def round_trip(value: Any) -> Any:
    return CODEC.decode(CODEC.encode(value))


@pytest.mark.parametrize(
    "shared",
    [[1, 2], {"a": 1}, [{"deep": [1]}], (1, [2]), {1}, own.Plain(1), b"x" * 100, bytearray(b"y"), own.Point(1), 2.5j],
    ids=repr,
)
def test_what_is_the_same_stays_the_same(shared: Any) -> None:
    """In lists, tuples, dicts and objects, and beside something equal that is another."""
    equal = round_trip(shared)
    read = round_trip([shared, (shared,), {"k": shared}, own.Plain(x=shared), equal])
    first = read[0]
    assert read[1][0] is first and read[2]["k"] is first and read[3].x is first
    assert read[4] is not first


def test_a_part_of_something_plain_that_occurs_elsewhere_too() -> None:
    inner = [1]
    read = round_trip([{"outer": {"inner": inner}}, inner])
    assert read[0]["outer"]["inner"] is read[1]
    read[1].append(2)
    assert read[0]["outer"]["inner"] == [1, 2]


def test_a_list_and_a_dict_may_hold_themselves() -> None:
    numbers: list[Any] = [1]
    numbers.append(numbers)
    read = round_trip(numbers)
    assert read[0] == 1 and read[1] is read
    table: dict[str, Any] = {"a": 1}
    table["self"] = table
    read = round_trip((table, table))
    assert read[0]["self"] is read[0] is read[1]


def test_a_circle_through_a_tuple_closes() -> None:
    """Begun at the tuple, which cannot be made before what it holds."""
    pair: tuple[Any, ...] = ([], 1)
    pair[0].append(pair)
    read = round_trip(pair)
    assert type(read) is tuple and read[0][0] is read
    edge = (own.Plain(), own.Plain())
    edge[0].edges = [edge]
    read = round_trip({"edge": edge})
    assert read["edge"][0].edges[0] is read["edge"]


def test_parents_and_children() -> None:
    root = own.Node("root").add(own.Node("a")).add(own.Node("b").add(own.Node("c")))
    root.friends = {root, root.children[0]}
    read = round_trip(root)
    assert read.children[1].children[0].parent.parent is read
    assert read.friends == {read, read.children[0]}


def test_members_of_sets_are_whole_when_their_hash_is_asked_for() -> None:
    """They hold the set's owner, and are hashed by an attribute."""
    boss, clerk = own.Named("boss"), own.Named("clerk")
    boss.others, clerk.others = {clerk}, {boss}
    read = round_trip([boss])[0]
    (found,) = read.others
    assert found.name == "clerk" and found.others == {read}
    assert next(iter(found.others)) is read


def test_exceptions_may_hold_each_other() -> None:
    one, other = own.Bare(1), own.Bare(2)
    one.__context__, other.__context__ = other, None
    other.partner = one  # type: ignore[attr-defined]
    read = round_trip(one)
    assert read.__context__.args == (2,)


@pytest.mark.parametrize("depth", [100, 300, 340])
def test_chains_are_sent_as_deep_as_by_pickle(depth: int) -> None:
    """pickle gives up at 340 objects in one another."""
    chain: Any = None
    for number in range(depth):
        chain = own.Plain(next=chain, number=number)
    read = round_trip(chain)
    for number in reversed(range(depth)):
        assert read.number == number
        read = read.next
    assert read is None
    nested: Any = []
    for _ in range(depth):
        nested = [nested]
    read, levels = round_trip(nested), 0
    while read:
        read, levels = read[0], levels + 1
    assert levels == depth


@dataclass
class Lock:
    """Represents what lives elsewhere: a copy of it would be another one."""

    name: str
    opened_by: str = "program"

    def __reduce__(self) -> Any:
        raise TypeError("not to be copied")


class NamedLock(Lock):
    pass


def rebuild(described: Any) -> Lock:
    if type(described) is not tuple or type(described[0]) is not str:
        raise ValueUnreadable("a lock without a name")
    return Lock(described[0], "task")


LOCKS = Codec(Modules({"program": own}), [Reference("lock", Lock, lambda lock: (lock.name,), rebuild)])


def test_references_come_back_as_what_they_refer_to() -> None:
    """In lists, dicts, objects, partials; one of them twice is one."""
    lock = Lock("a")
    sent = (
        lock,
        [lock],
        {"k": lock},
        own.Plain(lock, lock=lock),
        own.Order("x", [NamedLock("b")]),
        own.Plain(lock).work,
    )
    read = LOCKS.decode(LOCKS.encode(sent))
    first = read[0]
    assert first == Lock("a", "task")
    assert read[1][0] is first and read[2]["k"] is first and read[3].lock is first and read[3].args[0] is first
    assert read[4].items == [Lock("b", "task")]
    assert read[5]()[0][0] is first


def test_whoever_does_not_know_the_reference_says_so() -> None:
    with pytest.raises(ValueUnreadable, match="a reference 'lock' was received, but none is registered on this side"):
        CODEC.decode(LOCKS.encode([Lock("a")]))


def test_what_describes_a_reference_may_refuse() -> None:
    def refuse(_lock: Lock) -> Any:
        raise ValueError("it belongs to a session that has ended")

    codec = Codec(references=[Reference("lock", Lock, refuse, rebuild)])
    with pytest.raises(ValueNotSendable, match=r"args\[1\]\['x'\]: a Lock cannot be sent: it belongs to a session"):
        codec.encode((0, {"x": Lock("a")}), "args")


def test_what_rebuilds_a_reference_checks_what_came() -> None:
    forged = Codec(references=[Reference("lock", Lock, lambda lock: ["not a tuple"], rebuild)]).encode(Lock("a"))
    with pytest.raises(ValueUnreadable, match="a lock without a name"):
        LOCKS.decode(forged)


class FromAnotherLibrary(Exception):
    pass


def test_an_exception_of_an_unknown_class_comes_with_its_text() -> None:
    """Of no module of the program's, or with something in it that cannot be sent; its cause is what it was."""
    error = FromAnotherLibrary("it is over")
    error.__cause__ = own.Bare(1)
    read = round_trip(error)
    assert type(read) is RemoteError and read.text == "it is over"
    assert read.type_name.endswith("test_value_identity.FromAnotherLibrary") and type(read.__cause__) is own.Bare
    read = round_trip([own.Bare(1, lambda: 0), own.Bare(2)])
    assert (
        type(read[0]) is RemoteError and read[0].type_name == "tests.value_classes.Bare" and type(read[1]) is own.Bare
    )


def test_an_exception_whose_class_only_the_sender_has() -> None:
    read = Codec().decode(CODEC.encode(own.Failure(3, reason="r")))
    assert type(read) is RemoteError and str(read) == "program.Failure: failed with 3"
    again = round_trip(read)
    assert type(again) is RemoteError and (again.type_name, again.text) == (read.type_name, read.text)


def test_objects_that_are_copied_from_parts_are_whole_in_circles_too() -> None:
    """Their attributes, items and pairs wait for the tuple that holds them."""
    made: Any
    for made in (own.Derived(), own.SlotsAndDict(1), own.MyList(), own.MyDict(), own.Bare()):
        made.extra = pair = (made, "end")
        if isinstance(made, list):
            made.append(pair)
        if isinstance(made, dict):
            made["pair"] = pair
        if isinstance(made, BaseException):
            made.args = ([pair],)
        read = round_trip(pair)
        again: Any = read[0]
        assert type(again) is type(made) and again.extra is read and read[1] == "end"
        if isinstance(made, list):
            assert again[0] is read
        if isinstance(made, dict):
            assert again["pair"] is read
        if isinstance(made, BaseException):
            assert again.args[0][0] is read
