"""Runs a program's function in a process of its own, with the exit codes that `multiprocessing` gives."""

from __future__ import annotations

import runpy
import sys
import threading
import traceback
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

from sheaf.multiprocessing.code import MAIN, MP_MAIN


def load_main(path: str | None, name: str | None) -> ModuleType | None:
    """Load the program's main module as the standard module does, under another name, so that its guard holds."""
    if path is None:
        return None
    made = ModuleType(MP_MAIN)
    if name is not None:
        found = runpy.run_module(name, run_name=MP_MAIN, alter_sys=True)
    else:
        found = runpy.run_path(path, run_name=MP_MAIN)
    made.__dict__.update(found)
    sys.modules[MAIN] = sys.modules[MP_MAIN] = made
    return made


def run_target(name: str, target: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> int:
    """Call it, wait for the threads that it has started, and return the process's exit code."""
    try:
        target(*args, **kwargs)
        return 0
    except SystemExit as error:
        return _exit_code(error)
    except BaseException as error:  # noqa: BLE001 - whatever it is, the process has failed
        return say_failed(name, error)
    finally:
        threading._shutdown()  # type: ignore[attr-defined]  # as the standard module does, before streams are flushed
        _flush()


def say_failed(name: str, error: BaseException) -> int:
    """Print the traceback as the standard module does; return the exit code."""
    sys.stderr.write(f"Process {name}:\n")
    traceback.print_exception(error)
    return 1


def _exit_code(error: SystemExit) -> int:
    if error.code is None:
        return 0
    if isinstance(error.code, int):
        return error.code
    sys.stderr.write(f"{error.code}\n")
    return 1


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (AttributeError, ValueError, OSError):
            continue  # the function has closed or replaced it
