"""What an item finds in its process: what the previous one changed is put back, so that no other result suffers.

To look each time would cost more than most items do, so the usual functions tell when they are called. What a module
changes while it is imported, or a `setup`, is there to stay.
"""

from __future__ import annotations

import contextlib
import functools
import locale
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from types import FrameType, ModuleType
from typing import Any

_IMPORTS = "<frozen importlib._bootstrap>"
_TIMERS = (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)

Undo = Callable[[], object]


class ProcessState:
    def __init__(self) -> None:
        #: Whether something may have been changed since we were last there.
        self.left = False
        self._watching = False
        self._undo: dict[object, Undo] = {}
        self._thread = threading.get_ident()
        #: What items find as decimal's context. They can change it without a call, so it is put back each time.
        self._context: Any = None

    def watch(self) -> None:
        """Notice, from now on, what is changed in this process."""
        if self._watching:
            return
        self._watching, self._thread = True, threading.get_ident()
        for module, name, remember in _KEPT:
            setattr(module, name, self._noticing(getattr(module, name), remember))
        sys.meta_path.insert(0, _ImportsOfDecimal())

    def settle(self) -> None:
        """What is changed by now, by a module or its setup, is what the next items find."""
        self._undo.clear()
        self.left = False
        if self._watching and (decimal := sys.modules.get("decimal")) is not None:
            self._context = decimal.getcontext().copy()
            self.left = True

    def go_back(self) -> None:
        """Put back what was changed, the last first."""
        for undo in reversed(list(self._undo.values())):
            # What is to be put back may be gone, such as the working directory.
            with contextlib.suppress(Exception):
                undo()
        self._undo.clear()
        self.left = False
        self.separate()

    def separate(self) -> None:
        """Give an item a decimal context of its own, if there are any."""
        if self._watching and (decimal := sys.modules.get("decimal")) is not None:
            if self._context is None:
                self._context = decimal.DefaultContext.copy()
            decimal.setcontext(self._context.copy())
            self.left = True

    def _noticing(self, change: Callable[..., Any], remember: Callable[..., tuple[object, Undo]]) -> Callable[..., Any]:
        @functools.wraps(change)
        def noticing(*arguments: Any, **named: Any) -> Any:
            if not _importing():
                self._note(change, remember, arguments)
            return change(*arguments, **named)

        return noticing

    def _note(
        self, change: Callable[..., Any], remember: Callable[..., tuple[object, Undo]], given: Sequence[Any]
    ) -> None:
        if change is _set_mask and threading.get_ident() != self._thread:
            return  # each thread has its own
        # If it is called in a wrong way, it says so itself.
        with contextlib.suppress(Exception):
            key, undo = remember(*given)
            self._undo.setdefault(key, undo)
            self.left = True


class _ImportsOfDecimal(MetaPathFinder):
    def find_spec(self, name: str, _path: object, _target: object = None) -> None:
        if name == "decimal":
            process_state.left = True


def _importing() -> bool:
    """Whether a module is being imported further up: it does so once, and what it changes is its own."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        if frame.f_code.co_filename == _IMPORTS:
            return True
        frame = frame.f_back
    return False


_change_folder, _set_umask, _set_handler, _set_timer, _set_mask = (
    os.chdir,
    os.umask,
    signal.signal,
    signal.setitimer,
    signal.pthread_sigmask,
)
_set_locale, _set_limit, _set_timeout = locale.setlocale, sys.setrecursionlimit, socket.setdefaulttimeout


def _folder(*_given: Any) -> tuple[object, Undo]:
    return "folder", functools.partial(_change_folder, os.getcwd())  # noqa: PTH109  each call counts


def _umask(*_given: Any) -> tuple[object, Undo]:
    before = _set_umask(0o077)
    _set_umask(before)
    return "umask", functools.partial(_set_umask, before)


def _timers(*_given: Any) -> tuple[object, Undo]:
    return "timers", lambda: [_set_timer(timer, 0) for timer in _TIMERS if signal.getitimer(timer)[0]]


def _handler(number: int, *_given: Any) -> tuple[object, Undo]:
    before = signal.getsignal(number)
    # None: it was not set by Python, which cannot put it back.
    return ("handler", int(number)), (lambda: None) if before is None else lambda: _set_handler(number, before)


def _mask(*_given: Any) -> tuple[object, Undo]:
    return "mask", functools.partial(_set_mask, signal.SIG_SETMASK, _set_mask(signal.SIG_BLOCK, ()))


def _locale(*_given: Any) -> tuple[object, Undo]:
    return "locale", functools.partial(_set_locale, locale.LC_ALL, _set_locale(locale.LC_ALL))


def _limit(*_given: Any) -> tuple[object, Undo]:
    return "limit", functools.partial(_set_limit, sys.getrecursionlimit())


def _timeout(*_given: Any) -> tuple[object, Undo]:
    return "timeout", functools.partial(_set_timeout, socket.getdefaulttimeout())


#: The functions that change something, and what puts back what there was before.
_KEPT: tuple[tuple[ModuleType, str, Callable[..., tuple[object, Undo]]], ...] = (
    (os, "chdir", _folder),
    (os, "fchdir", _folder),
    (os, "umask", _umask),
    (signal, "signal", _handler),
    (signal, "setitimer", _timers),
    (signal, "alarm", _timers),
    (signal, "pthread_sigmask", _mask),
    (locale, "setlocale", _locale),
    (sys, "setrecursionlimit", _limit),
    (socket, "setdefaulttimeout", _timeout),
)

process_state = ProcessState()
