"""What tests put in the place of a function: one that takes notes, or one that fails."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


def noting(call: Callable[P, T], note: Callable[..., object]) -> Callable[P, T]:
    """The function itself, but that `note` is called first, with the same arguments."""

    def noted(*given: P.args, **named: P.kwargs) -> T:
        note(*given, **named)
        return call(*given, **named)

    return noted


def raising(error: BaseException) -> Callable[..., NoReturn]:
    """A function of any arguments that raises this."""

    def raise_it(*_given: object, **_named: object) -> NoReturn:
        raise error

    return raise_it
