"""The users' own modules under the tasks folder: imported from source, each with its digest, anew when it has changed.

No `.pyc` file is read or written for them: one is taken for fresh if second and size agree, and what made a result has
to be the text that its digest names.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import sys
import time
from collections.abc import Mapping
from importlib.machinery import EXTENSION_SUFFIXES, ExtensionFileLoader, FileFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType

#: A file that was written this many seconds ago may be written once more without its times changing.
_YOUNG_S = 2.0

#: Path of each module's file as this process has imported it -> its digest.
_imported: dict[str, str] = {}
#: Path -> (the file's state, its digest), for files that have been at rest.
_known: dict[str, tuple[tuple[int, ...], str]] = {}
_folders: set[str] = set()


class _Loader(SourceFileLoader):
    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        if not any(Path(path).resolve().is_relative_to(folder) for folder in _folders):
            raise ImportError(f"{path} is a link out of the tasks folder; copy the file itself there", name=fullname)
        source = self.get_data(path)
        _imported[path] = hashlib.sha256(source).hexdigest()
        code: CodeType = self.source_to_code(source, path)
        return code


def open_folder(folder: Path) -> None:
    """Have Python find modules in the folder, after all others: a user's file never takes a library's place."""
    name = str(folder)
    if name not in _folders:
        _folders.add(name)
        sys.path_hooks.insert(0, _hook)
        sys.path_importer_cache.clear()
    if name not in sys.path:
        sys.path.append(name)
    # Else a file that was made a moment ago is not found in a folder that was looked at a moment before.
    importlib.invalidate_caches()


def _hook(path: str) -> FileFinder:
    if not any(path == folder or path.startswith(folder + os.sep) for folder in _folders):
        raise ImportError(path)
    return FileFinder(path, (ExtensionFileLoader, EXTENSION_SUFFIXES), (_Loader, [".py"]))


def imported(folder: Path) -> dict[str, str]:
    """Return the digest of every file that was imported from the folder, by its path in it."""
    prefix = str(folder) + os.sep
    return {path.removeprefix(prefix): digest for path, digest in sorted(_imported.items()) if path.startswith(prefix)}


def others(folder: Path, wanted: Mapping[str, str]) -> list[str]:
    """Return which files this process has imported in another version than is wanted."""
    return [path for path, digest in imported(folder).items() if wanted.get(path, digest) != digest]


def differing(folder: Path, files: Mapping[str, str]) -> list[str]:
    """Return which of these files are not on the disk as their digests say. Costs one `stat` each, as a rule."""
    return [path for path, digest in files.items() if _digest_on_disk(f"{folder}{os.sep}{path}") != digest]


def forget_changed(folder: Path) -> bool:
    """If a file that was imported from the folder has changed, forget all modules of the folder; return whether."""
    if not differing(folder, imported(folder)):
        return False
    prefix = str(folder) + os.sep
    for name, module in list(sys.modules.items()):
        if any(place.startswith(prefix) for place in _places(module)):
            del sys.modules[name]
    for path in [path for path in _imported if path.startswith(prefix)]:
        del _imported[path]
    return True


def _places(module: ModuleType) -> list[str]:
    """A module's file; of a package without `__init__.py`, its folders."""
    file = getattr(module, "__file__", None)
    return [file] if file else [f"{path}{os.sep}" for path in getattr(module, "__path__", [])]


def _digest_on_disk(path: str) -> str | None:
    try:
        found = os.stat(path)  # noqa: PTH116  per batch: a Path would cost more than the call
        state = (found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino)
        known = _known.get(path)
        if known is not None and known[0] == state:
            return known[1]
        digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError:
        return None
    if time.time() - max(found.st_mtime, found.st_ctime) > _YOUNG_S:
        _known[path] = (state, digest)
    return digest
