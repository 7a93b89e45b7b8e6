"""What a manager of `sheaf.multiprocessing` makes: dicts, lists, namespaces, and locks as `threading` has them."""

from __future__ import annotations

import copy
import decimal
import queue
import threading
from collections.abc import Callable
from typing import Any

import pytest

from sheaf.core.errors import NotShareable, ProgramEnded
from sheaf.multiprocessing.objects.manager import SyncManager
from tests.integration import peer_tasks
from tests.integration.peer_tasks import Colour, Site
from tests.integration.peers import ProgramAtWork, sent


def test_a_dict_is_a_dict(work: ProgramAtWork) -> None:
    """Step by step the same as Python's own, in the order of its keys, too."""
    plain: dict[Any, Any] = {"b": 1, "a": 2}
    shared = work.manager.dict([("b", 1)], a=2)
    steps: list[Callable[[Any], Any]] = [
        lambda d: d.update({(1, frozenset({2, 3})): [1]}, z=None),
        lambda d: d.__setitem__("b", 5),
        lambda d: d.__setitem__(True, "true"),
        lambda d: d.__setitem__(1.0, "one"),
        lambda d: d[1],
        lambda d: d[decimal.Decimal(1)],
        lambda d: d[(1.0, frozenset({3, 2}))],
        lambda d: d.setdefault(1, "new"),
        lambda d: d.setdefault("new"),
        lambda d: d.pop("b"),
        lambda d: d.pop("missing", 7),
        lambda d: d.popitem(),
        lambda d: d.__delitem__("a"),
        lambda d: d.__setitem__("a", Site("back")),
        lambda d: (d.get("x"), d.get("x", 5), d.get("z", 5), "z" in d, "y" in d, len(d)),
        lambda d: d | {"more": 1},
        lambda d: {"more": 1} | d,
    ]
    for step in steps:
        assert step(shared) == step(plain)
        assert shared.copy() == plain
        assert list(shared) == list(plain)
        assert [type(key) for key in list(shared)] == [type(key) for key in plain]
    assert (shared.values(), shared.items()) == (list(plain.values()), list(plain.items()))
    assert str(shared) == str(plain)
    shared.clear()
    for wrong in (lambda: shared["a"], lambda: shared.pop("a"), lambda: shared.__delitem__("a"), shared.popitem):
        with pytest.raises(KeyError):
            wrong()
    with pytest.raises(TypeError, match="unhashable"):
        shared[[]] = 1


def test_keys_that_are_not_equal_are_not_one(work: ProgramAtWork) -> None:
    keys: list[Any] = [
        "1",
        1,
        b"1",
        1.5,
        None,
        (1, 2),
        ((1,), 2),
        (1, (2,)),
        "i1",
        ("1", 2),
        "",
        b"",
        (),
        frozenset(),
        -1,
        2**70,
    ]
    shared = work.manager.dict({key: place for place, key in enumerate(keys)})
    assert [shared[key] for key in keys] == list(range(len(keys)))
    assert list(shared) == keys
    shared[Colour.RED] = "red"
    assert shared[5] == "red"


def test_a_dict_that_changes_its_size_cannot_be_gone_through(work: ProgramAtWork) -> None:
    shared = work.manager.dict(a=1)
    iterator = iter(shared)
    shared.clear()
    with pytest.raises(RuntimeError, match="changed size"):
        next(iterator)


def test_a_list_is_a_list(work: ProgramAtWork) -> None:
    """Step by step the same as Python's own."""
    plain: list[Any] = list(range(5))
    shared = work.manager.list(range(5))
    steps: list[Callable[[Any], Any]] = [
        lambda x: x.append(9),
        lambda x: x.extend(range(3)),
        lambda x: (x[0], x[-1], x[1:3], x[::-2], len(x), 9 in x, 8 in x, x.count(1), x.index(2, 3)),
        lambda x: x.insert(2, "two"),
        lambda x: (x.pop(), x.pop(0), x.pop(2)),
        lambda x: x.__setitem__(-1, 7),
        lambda x: x.__setitem__(slice(1, 3), [4, 4, 4]),
        lambda x: x.__delitem__(0),
        lambda x: x.__delitem__(slice(0, 2)),
        lambda x: x.remove(9),
        lambda x: x.reverse(),
        lambda x: x.__imul__(2) and None,
        lambda x: x.__iadd__([1]) and None,
        lambda x: (
            x + [5],  # noqa: RUF005  that is the question
            x * 2,
            2 * x,
            list(reversed(x)),
            list(x),
        ),
        lambda x: x.sort(key=str, reverse=True),
        lambda x: x.sort(),
    ]
    for step in steps:
        assert step(shared) == step(plain)
        assert shared[:] == plain
    assert str(shared) == str(plain)
    wrongs: list[Callable[[Any], Any]] = [
        lambda x: x[99],
        lambda x: x.__setitem__(99, 1),
        lambda x: x.__delitem__(99),
        lambda x: x.pop(99),
    ]
    for wrong in wrongs:
        with pytest.raises(IndexError):
            wrong(shared)
    with pytest.raises(ValueError, match="not in list"):
        shared.remove("missing")
    with pytest.raises(TypeError, match="indices must be integers"):
        shared["a"]
    with pytest.raises(IndexError, match="pop from empty list"):
        work.manager.list().pop()


def test_changes_of_a_list_by_many_are_all_made(work: ProgramAtWork) -> None:
    """Those that need to read it first, too."""
    shared = work.manager.list()
    there = sent(work.member, work.here("1"), shared)

    def insert(one: Any, what: str) -> None:
        for number in range(30):
            one.insert(0, f"{what}{number}")

    threads = [threading.Thread(target=insert, args=pair) for pair in ((shared, "a"), (there, "b"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(shared) == sorted(f"{what}{number}" for what in "ab" for number in range(30))


def test_a_list_is_gone_through_by_place(work: ProgramAtWork) -> None:
    """What is changed before its turn comes as it is then, as in the standard."""
    shared = work.manager.list(range(3))
    iterator = iter(shared)
    shared[0] = 100
    assert (next(iterator), list(iterator), list(iterator)) == (100, [1, 2], [])
    many = work.manager.list(range(2_500))
    assert list(many) == list(range(2_500))


def test_what_is_inside_is_a_copy_unless_it_is_shared(work: ProgramAtWork) -> None:
    inner = work.manager.list([1])
    outer = work.manager.dict(plain=[1], shared=inner, queue=work.manager.Queue())
    there = sent(work.member, work.here("1"), outer)
    there["plain"].append(2)
    there["shared"].append(2)
    there["queue"].put("x")
    assert (outer["plain"], inner[:], outer["queue"].get()) == ([1], [1, 2], "x")
    assert isinstance(outer["plain"], list)
    itself = work.manager.list()
    itself.append(itself)
    itself[0].append(5)
    assert len(itself) == 2
    copied: Any = copy.deepcopy(inner)
    assert copied == [1, 2]
    assert inner._callmethod("__len__") == 2


def test_processes_fill_a_dict(work: ProgramAtWork) -> None:
    shared = work.manager.dict()
    peers = [work.start(peer_tasks.square, number, shared) for number in range(3)]
    assert [peer.join() for peer in peers] == [0] * 3
    assert dict(shared) == {0: 0, 1: 1, 2: 4}


def test_a_namespace_has_attributes(work: ProgramAtWork) -> None:
    names = work.manager.Namespace(job="Builder")
    there = sent(work.member, work.here("1"), names)
    there.name = "Bob"
    names._hidden = "here only"
    assert (names.name, names.job, names._hidden) == ("Bob", "Builder", "here only")
    assert not hasattr(there, "_hidden")
    assert str(names) == "Namespace(job='Builder', name='Bob')"
    del there.job
    assert not hasattr(names, "job")
    with pytest.raises(AttributeError, match="'Namespace' object has no attribute 'job'"):
        del names.job


def test_a_managers_value_and_array(work: ProgramAtWork) -> None:
    value, numbers = work.manager.Value("i", 3), work.manager.Array("d", [1, 2, 3])
    there = sent(work.member, work.here("1"), (value, numbers))
    there[0].value = {"any": (1,)}
    there[1][1] = 5
    assert (value.value, value.get(), numbers[:].tolist(), len(numbers)) == ({"any": (1,)}, {"any": (1,)}, [1, 5, 3], 3)
    value.set(4)
    assert (str(there[0]), str(there[1])) == ("Value('i', 4)", "array('d', [1.0, 5.0, 3.0])")
    assert not hasattr(value, "get_lock")
    numbers[1:] = [7, 8]
    assert list(numbers) == [1, 7, 8]
    for wrong in (3, -4):
        with pytest.raises(IndexError):
            numbers[wrong]
    with pytest.raises(TypeError):
        numbers[0] = "text"


def test_a_managers_locks_are_those_of_threading(work: ProgramAtWork) -> None:
    """By their errors and arguments."""
    manager = work.manager
    lock, rlock, bounded, condition = manager.Lock(), manager.RLock(), manager.BoundedSemaphore(1), manager.Condition()
    assert lock.acquire(blocking=True, timeout=-1)
    assert not lock.acquire(blocking=False)
    assert not lock.acquire(True, 0.05)
    lock.release()
    for release, error in ((lock.release, RuntimeError), (rlock.release, RuntimeError), (bounded.release, ValueError)):
        with pytest.raises(error):
            release()
    with pytest.raises(RuntimeError, match="cannot notify on un-acquired lock"):
        condition.notify()
    with pytest.raises(RuntimeError, match="cannot wait on un-acquired lock"):
        condition.wait()
    with manager.Condition(lock) as held:
        assert held
        assert not lock.acquire(False)
    assert repr(manager.Event()).startswith("<EventProxy object, typeid 'Event' at 0x")
    assert manager.Barrier(1).wait() == 0
    values = manager.JoinableQueue(1)
    values.put(item=5)
    with pytest.raises(queue.Full):
        values.put(6, timeout=0.01)
    with pytest.raises(ValueError, match="non-negative"):
        values.get(timeout=-1)
    assert values.get() == 5
    values.task_done()
    values.join()


def test_what_a_manager_made_ends_with_it(work: ProgramAtWork) -> None:
    before: Any = set(work.connection.keys("*"))
    with SyncManager(work.member) as manager:
        shared, values = manager.dict(a=1), manager.Queue()
        values.put(1)
    for act in (lambda: shared["a"], values.get, lambda: shared.update(b=2)):
        with pytest.raises(ProgramEnded, match="manager was shut down"):
            act()
    with pytest.raises(NotShareable, match="was shut down"):
        manager.list()
    after: Any = work.connection.keys("*")
    assert set(after) == before | {work.member.key("clients").encode()}
    with pytest.raises(NotShareable, match="no server process"):
        SyncManager.register("Maths", dict)
