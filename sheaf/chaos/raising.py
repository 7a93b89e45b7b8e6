"""Runs one of our programs, and makes its threads raise: `python -m sheaf.chaos.raising FOLDER MODULE …`.

FOLDER/raise.json says where: a thread, a function of ours, which call of it, and what is raised. It may come and go
while the program runs. With FOLDER/record there, every call of a function of ours is written down instead, by thread.
"""

from __future__ import annotations

import atexit
import builtins
import contextlib
import gc
import importlib.util
import inspect
import json
import os
import runpy
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType, FunctionType
from typing import Any

PACKAGES = ("sheaf", "sheaf_worker", "sheaf_producer")
#: Module that is run -> the one that imports all that it uses.
STARTS = {
    **dict.fromkeys(("sheaf_worker", "sheaf.chaos.sabotaged_worker"), "sheaf_worker.worker"),
    "sheaf.embedded": "sheaf.embedded.supervisor",
    "a_program": "sheaf.client.cluster",
}
#: Seconds between two looks at FOLDER/raise.json.
LOOK_S = 0.02


class Panic(BaseException):
    """No Exception, as what a library raises that is not written in Python."""


#: What is raised.
ERRORS: dict[str, Callable[[], BaseException]] = {
    "RuntimeError": lambda: RuntimeError("made to raise"),
    "MemoryError": MemoryError,
    "KeyError": lambda: KeyError("made to raise"),
    "OSError": lambda: OSError(28, "No space left on device (made to raise)"),
    "SystemExit": lambda: SystemExit("made to raise"),
    "Panic": lambda: Panic("made to raise"),
}


def _roots() -> dict[str, str]:
    """Package -> its folder. Where that is, and what the folders around it are called, is up to the user."""
    specs = {package: importlib.util.find_spec(package) for package in PACKAGES}
    return {
        package: f"{place}/"
        for package, spec in specs.items()
        if spec is not None
        for place in spec.submodule_search_locations or ()
    }


_ROOTS = _roots()


def _name(code: CodeType) -> str:
    """`module:function` of a function of ours; empty for all others, and for those of the chaos kit."""
    path = code.co_filename.removesuffix(".py")
    package = next((package for package, root in _ROOTS.items() if path.startswith(root)), None)
    # A class's body is code, too, and runs once; only functions have this flag.
    is_function = code.co_flags & inspect.CO_OPTIMIZED and "<" not in code.co_qualname.replace("<locals>", "")
    if package is None or not is_function:
        return ""
    module = f"{package}.{path.removeprefix(_ROOTS[package]).replace('/', '.')}"
    return "" if module.startswith("sheaf.chaos.") else f"{module}:{code.co_qualname}"


def _thread() -> str:
    name = threading.current_thread().name
    return "main" if name == "MainThread" else name


class Recorder:
    """Counts the calls of our functions, by thread."""

    def __init__(self, folder: Path) -> None:
        self._names: dict[CodeType, str] = {}
        self._counts: Counter[str] = Counter()
        self._path = folder / f"recorded-{os.getpid()}.json"
        threading.settrace(self._look)
        sys.settrace(self._look)
        threading.Thread(target=self._write, name="recording", daemon=True).start()
        atexit.register(self._dump)

    def _look(self, frame: FrameType, _event: str, _argument: Any) -> None:
        code = frame.f_code
        name = self._names.get(code)
        if name is None:
            name = self._names[code] = _name(code)
        if name:
            self._counts[f"{_thread()} {name}"] += 1

    def _write(self) -> None:
        while True:
            time.sleep(0.1)
            self._dump()

    def _dump(self) -> None:
        draft = self._path.with_suffix(".draft")
        draft.write_text(json.dumps(dict(self._counts)))
        draft.replace(self._path)


class Raiser:
    """Puts a function that raises in the place of the one that is named, in every place where that is known."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._order: dict[str, Any] | None = None
        self._calls = 0
        self._replaced: tuple[FunctionType, CodeType] | None = None
        self._original: FunctionType | None = None
        builtins.sheaf_raises = self.call  # type: ignore[attr-defined]

    def watch(self) -> None:
        while True:
            self.look()
            time.sleep(LOOK_S)

    def look(self) -> None:
        try:
            order = json.loads((self._folder / "raise.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            order = None
        if order == self._order:
            return
        self._order, self._calls = order, 0
        if self._replaced is not None:
            self._replaced[0].__code__ = self._replaced[1]
            self._replaced = None
        if order is not None:
            self._replace(order["function"])
            (self._folder / f"armed-{os.getpid()}").write_text(order["id"])

    def _replace(self, name: str) -> None:
        # What is not imported yet has to be, or it cannot be found.
        __import__(name.partition(":")[0])
        found: list[FunctionType] = [
            each for each in gc.get_objects() if type(each) is FunctionType and _name(each.__code__) == name
        ]
        for function in found[:1]:
            code = function.__code__
            self._original = FunctionType(
                code, function.__globals__, code.co_name, function.__defaults__, function.__closure__
            )
            self._original.__kwdefaults__ = function.__kwdefaults__
            self._replaced = (function, code)
            function.__code__ = _stand_in(len(code.co_freevars))

    def call(self, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
        """What is called in place of the function."""
        order, original = self._order, self._original
        if order is not None and _thread() == order["thread"]:
            self._calls += 1
            if self._calls > order["after"] and self._claim(order):
                raise ERRORS[order["error"]]()
        assert original is not None  # noqa: S101  it was replaced, so there is one
        return original(*arguments, **named)

    def _claim(self, order: dict[str, Any]) -> bool:
        """Whether it is to be raised now: once, by whichever process comes first, or each time."""
        if not order["lasting"]:
            try:
                (self._folder / "raise.json").unlink()
            except FileNotFoundError:
                return False
        with (self._folder / "struck").open("ab") as file:
            file.write(b".")
        return True


def _stand_in(free: int) -> CodeType:
    """Code that asks the raiser, with as many free variables as what it replaces."""
    names = [f"free_{number}" for number in range(free)]
    source = "def outer():\n" + "".join(f"    {name} = None\n" for name in names)
    source += "    def stand_in(*arguments, **named):\n" + "".join(f"        {name}\n" for name in names)
    source += "        return sheaf_raises(arguments, named)\n    return stand_in\n"
    scope: dict[str, Any] = {}
    exec(source, scope)  # noqa: S102  our own few lines
    code: CodeType = scope["outer"]().__code__
    return code


def main() -> None:
    folder, module = Path(sys.argv[1]), sys.argv[2]
    sys.argv = [module, *sys.argv[3:]]
    if (folder / "record").exists():
        Recorder(folder)
    else:
        # Our modules exist before the program begins, so that what it calls first can raise, too.
        __import__(STARTS.get(module, module))
        raiser = Raiser(folder)
        raiser.look()
        # Where the system has no thread left the program itself must find out; what is to raise was read just now.
        with contextlib.suppress(RuntimeError):
            threading.Thread(target=raiser.watch, name="raising", daemon=True).start()
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
