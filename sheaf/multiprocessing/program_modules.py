"""Which classes and functions a program's messages may name: those of its own modules.

Apart from `code.py`, so that a worker, which only checks a program's files, does not import the encoding of values.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from sheaf.multiprocessing.code import MAIN, SHEAF, source_of
from sheaf.values.resolver import find_in


class ProgramModules:
    """Finds the program's own classes and functions for `sheaf.values`. `may_load`: modules that are imported when they
    are first named; those of a start, which are signed.
    """

    def __init__(self, main: ModuleType | None, may_load: Mapping[str, str] | None = None) -> None:
        self._main = main
        self._may_load = dict(may_load or {})

    def name_of(self, thing: Any) -> tuple[str, str] | None:
        module, qualname = getattr(thing, "__module__", None), getattr(thing, "__qualname__", None)
        if not isinstance(module, str) or not isinstance(qualname, str):
            return None
        name = MAIN if self._main is not None and module == self._main.__name__ else module
        try:
            return (name, qualname) if self.find(name, qualname) is thing else None
        except LookupError:
            return None

    def find(self, module: str, qualname: str) -> Any:
        return find_in(self._module(module), qualname)

    def _module(self, name: str) -> ModuleType:
        if name == MAIN:
            if self._main is None:
                raise LookupError("this process has no main module of the program")
            return self._main
        found = sys.modules.get(name)
        if found is None and name in self._may_load:
            found = importlib.import_module(name)
        if found is None or name.partition(".")[0] in SHEAF or source_of(found) is None:
            raise LookupError(f"the module {name!r} is not one of the program's own, or it is not loaded here")
        return found
