"""Classes and functions as programs have them, for the tests of what travels between processes."""

from __future__ import annotations

import copyreg
import dataclasses
import enum
import os
from abc import ABC, abstractmethod
from collections import Counter, OrderedDict, UserDict, defaultdict, deque
from functools import lru_cache
from pathlib import PosixPath
from types import SimpleNamespace
from typing import Any, Generic, NamedTuple, TypeVar

import pydantic

T = TypeVar("T")


class Plain:
    """As most classes are: attributes that `__init__` has set."""

    edges: list[Any]

    def __init__(self, *args: Any, **named: Any) -> None:
        self.args = args
        self.__dict__.update(named)

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]

    def work(self, number: int = 1) -> Any:
        return (self.args, number)

    @classmethod
    def made(cls, *args: Any) -> Plain:
        return cls(*args)

    @staticmethod
    def double(number: int) -> int:
        return number * 2

    class Inner:
        def __init__(self, x: int = 3) -> None:
            self.x = x

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Plain.Inner) and other.x == self.x

        __hash__ = None  # type: ignore[assignment]


class Derived(Plain):
    pass


class Node:
    """Hashed by what it is."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.parent: Node | None = None
        self.children: list[Node] = []
        self.friends: set[Node] = set()

    def add(self, child: Node) -> Node:
        child.parent = self
        self.children.append(child)
        return self


class Named:
    """Hashed by its name: it has to have one before it becomes a member."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.others: set[Named] = set()

    def __hash__(self) -> int:
        return hash(self.name)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Named) and other.name == self.name


class Base:
    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.parts() == other.parts()

    __hash__ = None  # type: ignore[assignment]

    def parts(self) -> Any:
        return vars(self)


class Slots(Base):
    __slots__ = ("__secret", "_x", "unset")

    def __init__(self, x: Any) -> None:
        self._x, self.__secret = x, [x]

    def parts(self) -> Any:
        return self._x, self.__secret, hasattr(self, "unset")


class SlotsAndDict(Slots):
    def __init__(self, x: Any) -> None:
        super().__init__(x)
        self.more = x

    def parts(self) -> Any:
        return super().parts(), self.more


class State(Base):
    """Says itself what it is made of."""

    def __init__(self, x: Any) -> None:
        self.x, self.cache = x, object()

    def __getstate__(self) -> Any:
        return ("v1", self.x)

    def __setstate__(self, state: Any) -> None:
        self.x, self.cache = state[1], object()

    def parts(self) -> Any:
        return self.x


class NewArgs(Base):
    def __new__(cls, x: Any) -> NewArgs:
        made = super().__new__(cls)
        made.x = x
        return made

    x: Any

    def __getnewargs__(self) -> tuple[Any]:
        return (self.x,)


class NewArgsEx(Base):
    def __new__(cls, *, x: Any) -> NewArgsEx:
        made = super().__new__(cls)
        made.x = x
        return made

    x: Any

    def __getnewargs_ex__(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return (), {"x": self.x}


class Called(Base):
    """Rebuilt by a call of its class, as it has asked for."""

    def __init__(self, x: Any) -> None:
        self.x, self.calls = x, 1

    def __reduce__(self) -> Any:
        return (Called, (self.x,))


class MyList(list[Any]):
    extra: Any = None


class MyDict(dict[Any, Any]):
    extra: Any = None


class MySet(set[Any]):
    pass


class MyTuple(tuple[Any, ...]):
    extra: Any = None


class MyStr(str):
    pass


class MyInt(int):
    pass


class MyBytes(bytes):
    pass


class MyCounter(Counter[str]):
    pass


class MyDeque(deque[Any]):
    pass


class MyDefault(defaultdict[Any, Any]):
    pass


class MyOrdered(OrderedDict[Any, Any]):
    pass


class MyUserDict(UserDict[str, Any]):
    pass


class MyPath(PosixPath):
    pass


class MyNamespace(SimpleNamespace):
    pass


class Box(Generic[T]):
    def __init__(self, x: T) -> None:
        self.x = x


class Shape(ABC):
    @abstractmethod
    def area(self) -> float: ...


class Square(Shape):
    def __init__(self, side: float) -> None:
        self.side = side

    def area(self) -> float:
        return self.side**2


class Point(NamedTuple):
    x: Any
    y: Any = 0


@dataclasses.dataclass
class Order:
    name: str
    items: list[Any] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True)
class Frozen:
    x: Any
    y: tuple[Any, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class FrozenSlots:
    x: Any
    y: tuple[Any, ...] = ()


@dataclasses.dataclass(slots=True)
class WithSlots:
    x: Any


class Model(pydantic.BaseModel):
    name: str
    tags: set[str] = set()
    inner: Model | None = None


class Color(enum.Enum):
    RED = 1
    CRIMSON = 1
    BLUE = "blue"

    def shout(self) -> str:
        return self.name


class Level(enum.IntEnum):
    LOW = 1


class Rights(enum.Flag):
    READ = 1
    WRITE = 2


class Word(str, enum.Enum):  # noqa: UP042  as older programs have them
    A = "a"


class Failure(Exception):
    """Its `__init__` takes other arguments than it passes on."""

    def __init__(self, code: int, *, reason: str) -> None:
        super().__init__(f"failed with {code}")
        self.code, self.reason = code, reason


class Refused(OSError):
    def __init__(self, path: str) -> None:
        super().__init__(13, "refused", path)
        self.mine = path


class Bare(Exception):
    pass


class Garbled(UnicodeDecodeError):
    pass


class ByFunction:
    def __reduce__(self) -> Any:
        return (os.getenv, ("HOME",))


class ByName:
    def __reduce__(self) -> str:
        return "THE_ONE"


class Registered:
    """`copyreg` has a function for it, which is not its class."""


copyreg.pickle(Registered, lambda value: (os.getenv, ("HOME",)))  # type: ignore[arg-type, return-value]
THE_ONE = ByName()


def top(x: Any, y: Any = 0) -> Any:
    return (x, y)


@lru_cache
def cached(x: int) -> int:
    return x


def outer() -> Any:
    def inner() -> None: ...

    return inner


def local_class() -> Any:
    class Local:
        pass

    return Local


system = os.system
CALLS: list[Any] = []


class Watchful(Base):
    """Notes whatever is done to it; nothing may be by a message that has not been asked for."""

    def __init__(self, *args: Any) -> None:
        CALLS.append(("init", args))

    def __setattr__(self, name: str, value: Any) -> None:
        CALLS.append(("setattr", name))
        super().__setattr__(name, value)
