"""The program's own classes and functions, by name: looked up in modules that are there already, never imported."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Any, Protocol

#: Characters and steps of a name: longer ones are not looked for.
_LONGEST_NAME, _MOST_STEPS = 500, 20


class Resolver(Protocol):
    """What a session knows of its own: each side has one, over its own modules."""

    def name_of(self, thing: Any) -> tuple[str, str] | None:
        """Under which module and qualified name the other side finds a class or function; None: it cannot."""

    def find(self, module: str, qualname: str) -> Any:
        """The class or function of that name. Raises LookupError; imports nothing, and runs no code of the module."""


class Modules:
    """A resolver over a fixed set of modules, by names that are the same on both sides.

    A script is `__main__` here and something else there: `Modules({"word-count.py": sys.modules["__main__"]})`.
    """

    def __init__(self, modules: Mapping[str, ModuleType]) -> None:
        self._modules = dict(modules)
        #: By what their classes and functions call their module.
        self._names = {module.__name__: name for name, module in modules.items()}

    def name_of(self, thing: Any) -> tuple[str, str] | None:
        module, qualname = getattr(thing, "__module__", None), getattr(thing, "__qualname__", None)
        name = self._names.get(module) if isinstance(module, str) else None
        if name is None or not isinstance(qualname, str):
            return None
        try:
            return (name, qualname) if self.find(name, qualname) is thing else None
        except LookupError:
            return None

    def find(self, module: str, qualname: str) -> Any:
        if module not in self._modules:
            raise LookupError(f"the module {module!r} is not one of the program's own")
        return find_in(self._modules[module], qualname)


def find_in(module: ModuleType, qualname: str) -> Any:
    """A class or function that was written in the module. Raises LookupError for everything else that it holds.

    Only dictionaries of the module and of its classes are read: no attribute is asked for, so nothing runs. What a
    module has imported says of itself that it is of another one.
    """
    steps = qualname.split(".")
    if len(qualname) > _LONGEST_NAME or len(steps) > _MOST_STEPS or not all(map(_is_name, steps)):
        raise LookupError(f"{qualname[:80]!r} is not a name")
    found: Any = module
    for step in steps:
        if found is not module and not _is_own_class(found, module):
            raise LookupError(f"{module.__name__} has nothing of the name {qualname!r}")
        try:
            found = vars(found)[step]
        except KeyError:
            raise LookupError(f"{module.__name__} has nothing of the name {qualname!r}") from None
        found = found.__func__ if type(found) is staticmethod else found
    if not callable(found) or _told(found, "__module__") != module.__name__ or _told(found, "__qualname__") != qualname:
        raise LookupError(f"{qualname!r} is not a class or function of {module.__name__}, which only holds it")
    return found


def _is_name(step: str) -> bool:
    return step.isidentifier() and not (step.startswith("__") and step.endswith("__"))


def _is_own_class(found: Any, module: ModuleType) -> bool:
    return isinstance(found, type) and _told(found, "__module__") == module.__name__


def _told(thing: Any, what: str) -> Any:
    """An attribute of a class or function that no `__getattr__` of the program answers."""
    if isinstance(thing, type):
        return type.__getattribute__(thing, what)
    try:
        return object.__getattribute__(thing, what)
    except AttributeError:
        return None


#: For who has no modules of his own: plain values, and those of the standard library.
NO_MODULES = Modules({})
