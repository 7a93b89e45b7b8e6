"""Names of the program's own classes and functions, looked up in modules that are already loaded; never imported."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Any, Protocol

#: Characters and dotted parts of a qualified name.
_LONGEST_NAME, _MOST_STEPS = 500, 20


class Resolver(Protocol):
    """Maps the program's own classes and functions to names and back. Each side has one over its own modules."""

    def name_of(self, thing: Any) -> tuple[str, str] | None:
        """Return the module and qualified name by which the other side finds it; None if it cannot."""

    def find(self, module: str, qualname: str) -> Any:
        """Return the class or function of that name, without importing or running anything. Raises LookupError."""


class Modules:
    """A resolver over a fixed set of modules, under names that are the same on both sides.

    A script is `__main__` on one side and something else on the other:
    `Modules({"word-count.py": sys.modules["__main__"]})`.
    """

    def __init__(self, modules: Mapping[str, ModuleType]) -> None:
        self._modules = dict(modules)
        #: By the module name that their classes and functions carry.
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
    """Return a class or function that was defined in the module. Raises LookupError for anything else in it.

    Only the namespaces of the module and of its classes are read. No attribute is looked up, so no code runs. Whatever
    the module has imported carries the name of another module.
    """
    steps = qualname.split(".")
    if len(qualname) > _LONGEST_NAME or len(steps) > _MOST_STEPS or not all(map(_is_name, steps)):
        raise LookupError(f"{qualname[:80]!r} is not a name")
    found: Any = module
    for step in steps:
        if found is not module and not _is_own_class(found, module):
            raise LookupError(f"{module.__name__} has no {qualname!r}")
        try:
            found = vars(found)[step]
        except KeyError:
            raise LookupError(f"{module.__name__} has no {qualname!r}") from None
        found = found.__func__ if type(found) is staticmethod else found
    if (
        not callable(found)
        or _attribute(found, "__module__") != module.__name__
        or _attribute(found, "__qualname__") != qualname
    ):
        raise LookupError(f"{qualname!r} is not defined in {module.__name__}")
    return found


def _is_name(step: str) -> bool:
    return step.isidentifier() and not (step.startswith("__") and step.endswith("__"))


def _is_own_class(found: Any, module: ModuleType) -> bool:
    return isinstance(found, type) and _attribute(found, "__module__") == module.__name__


def _attribute(thing: Any, what: str) -> Any:
    """Return an attribute of a class or function without calling a `__getattr__` of the program."""
    if isinstance(thing, type):
        return type.__getattribute__(thing, what)
    try:
        return object.__getattribute__(thing, what)
    except AttributeError:
        return None


#: Knows no module: for plain values and the standard library's.
NO_MODULES = Modules({})
