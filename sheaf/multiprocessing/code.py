"""A program's own code: which files it is, the copy of it that workers without these files are given, and its names.

In an embedded cluster the files are where they are; a start names them with their digests. In the stack workers do not
have them: the program writes a copy into its folder on the volume, by whose digest it is called.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

from sheaf.core.errors import ProcessRefused
from sheaf.core.files import exists, is_file
from sheaf.run.sessions import share, share_folder

#: The program's main module, by a name that is the same everywhere; and what it is called in the processes.
MAIN, MP_MAIN = "__main__", "__mp_main__"
#: Not a program's own, wherever they are.
SHEAF = frozenset(("sheaf", "sheaf_worker", "sheaf_producer"))
_INSTALLED = frozenset(("site-packages", "dist-packages"))
#: A copy has no more than that: what is larger is no source.
MOST_FILES, MOST_BYTES = 2000, 32 << 20
#: Folders in a program's folder that hold no modules of its own.
_SKIPPED = frozenset(("__pycache__", "node_modules", "site-packages"))


@dataclass(frozen=True, slots=True)
class Code:
    """Where a process finds its program's modules."""

    #: The main file, for a process that shall have the program's main module: a path, or in a copy the file's name.
    main: str | None = None
    #: The same for `python -m`: the module's name.
    main_name: str | None = None
    #: Modules that the program had loaded: those of its own that a value may name, with their files.
    modules: dict[str, str] = field(default_factory=dict)
    #: Where modules are looked for first; the files' digests. None of it in a copy.
    path: list[str] = field(default_factory=list)
    digests: dict[str, str] = field(default_factory=dict)
    #: The digest of a copy, which is its name in the program's folder too.
    copy: str | None = None


def own_modules(modules: Mapping[str, ModuleType] | None = None) -> dict[str, Path]:
    """The modules of the program's own that are loaded, without the main module: those with a file of their own that is
    neither Python's nor an installed package's.
    """
    found = {}
    for name, module in list((sys.modules if modules is None else modules).items()):
        if name not in (MAIN, MP_MAIN) and name.partition(".")[0] not in SHEAF:
            path = source_of(module)
            if path is not None and getattr(module, "__name__", None) == name:
                found[name] = path
    return found


def source_of(module: ModuleType) -> Path | None:
    """The module's file; None if it is not the program's own."""
    file = getattr(module, "__file__", None)
    if not isinstance(file, str) or not file.endswith(".py"):
        return None
    path = Path(file).absolute()
    if _INSTALLED & set(path.parts) or any(path.is_relative_to(folder) for folder in _STANDARD):
        return None
    return path


def in_place() -> Code:
    """The code of this program where it is: for workers that see the same files. Raises OSError."""
    main, main_name = _main()
    modules = own_modules()
    files = {str(path) for path in modules.values()} | ({main} if main else set())
    return Code(
        main=main,
        main_name=main_name,
        modules={name: str(path) for name, path in modules.items()},
        path=[str(Path(entry).absolute()) for entry in sys.path],
        digests={file: digest_of(Path(file)) for file in sorted(files)},
    )


def copied(folder: Path) -> Code:
    """The code of this program as a copy in `folder`, which is written unless it is there. Raises OSError."""
    main, main_name = _main()
    modules = {name: _place_of(name, path) for name, path in own_modules().items()}
    files = {modules[name]: path for name, path in own_modules().items() if name in modules}
    if main is not None:
        # It is loaded by its path: it may be called as it likes.
        files[Path(main).name] = Path(main)
        for place, path in _neighbours(Path(main).parent):
            files.setdefault(place, path)
    contents = {place: path.read_bytes() for place, path in files.items()}
    digest = _digest({place: hashlib.sha256(content).hexdigest() for place, content in contents.items()})
    _write_copy(folder / digest, contents)
    return Code(main=Path(main).name if main else None, main_name=main_name, modules=modules, copy=digest)


def without_main(code: Code) -> Code:
    """The same for a process that does not load the main module."""
    return dataclasses.replace(code, main=None, main_name=None)


def check(code: Code, copies: Path) -> None:
    """Raises ProcessRefused unless the files are still what the program has signed."""
    if code.copy is not None:
        found = {place: digest_of(path) for place, path in _files(copies / code.copy)}
        if _digest(found) != code.copy:
            raise ProcessRefused(
                f"the program's source in {copies / code.copy} is not what the program has signed; nothing was run"
            )
    for file, digest in code.digests.items():
        try:
            changed = digest_of(Path(file)) != digest
        except OSError as error:
            raise ProcessRefused(
                f"this worker cannot read {file}, a file of the program: {error.strerror}; nothing was run"
            ) from error
        if changed:
            raise ProcessRefused(
                f"{file} is no longer what it was when the program began: all processes of a program run one version "
                "of it, so nothing was run; start the program again"
            )


def digest_of(path: Path) -> str:
    """Raises OSError."""
    with open(path, "rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


def _main() -> tuple[str | None, str | None]:
    """The main file, and the main module's name if it was started by name. Neither at a prompt or in a notebook."""
    main = sys.modules[MAIN]
    spec = getattr(main, "__spec__", None)
    file = getattr(main, "__file__", None)
    if not isinstance(file, str) or not file.endswith(".py") or not is_file(Path(file)):
        # A prompt, a notebook, `-c`, or a program of a package's own such as pytest.
        return None, None
    path = Path(file).absolute()
    if _INSTALLED & set(path.parts) or any(path.is_relative_to(folder) for folder in _STANDARD):
        return None, None
    name = getattr(spec, "name", None)
    return str(path), str(name) if name else None


def _place_of(name: str, path: Path) -> str:
    """Where a module is in a copy, so that it is found by its name."""
    place = name.replace(".", "/")
    return f"{place}/__init__.py" if path.name == "__init__.py" else f"{place}.py"


def _neighbours(folder: Path) -> Iterator[tuple[str, Path]]:
    """Modules beside the main file that are not loaded yet: a process may import them."""
    count = size = 0
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(each for each in folders if each.isidentifier() and each not in _SKIPPED)
        for name in sorted(names):
            path = Path(parent) / name
            if name.endswith(".py") and is_file(path):
                count, size = count + 1, size + path.stat().st_size
                if count > MOST_FILES or size > MOST_BYTES:
                    return
                yield str(path.relative_to(folder)), path
        if len(folders) > MOST_FILES:
            return


def _write_copy(folder: Path, contents: Mapping[str, bytes]) -> None:
    if exists(folder):
        return
    draft = folder.with_name(f".{folder.name}.{os.getpid()}")
    draft.mkdir()
    share_folder(draft)
    for place, content in contents.items():
        path = draft / place
        for parent in reversed(path.relative_to(draft).parents[:-1]):
            if not exists(draft / parent):
                (draft / parent).mkdir()
                share_folder(draft / parent)
        path.write_bytes(content)
        share(path)
    draft.rename(folder)


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    for parent, _, names in os.walk(folder):
        for name in names:
            path = Path(parent) / name
            yield str(path.relative_to(folder)), path


def _digest(digests: Mapping[str, str]) -> str:
    text = "".join(f"{digest} {place}\n" for place, digest in sorted(digests.items()))
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()


_STANDARD = tuple({Path(sysconfig.get_path(name)).absolute() for name in ("stdlib", "platstdlib")})
