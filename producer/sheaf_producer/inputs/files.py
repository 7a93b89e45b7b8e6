"""A glob of files: each file's path is an item."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from sheaf.core.errors import InputError
from sheaf.submission.tally import Line
from sheaf_producer.inputs.stream import Reject

#: Paths that are yielded at once.
_PATHS = 4096


def read_files(pattern: str, reject: Reject) -> Iterator[list[str]]:
    """Yield the absolute paths of the files that a pattern such as `photos/**/*.jpg` finds, sorted, many at once.

    Absolute, since the workers run in another folder; sorted, so that the same files make the same run. Raises
    InputError if there is none.
    """
    # Plain strings: a million Path objects would cost several times the memory.
    found_paths = filter(os.path.isfile, glob.iglob(pattern, recursive=True))  # noqa: PTH207
    paths = iter(sorted(map(os.path.abspath, found_paths)))
    found = False
    while some := list(islice(paths, _PATHS)):
        found = True
        yield list(_usable(pattern, some, reject))
    if not found:
        raise InputError(
            f"no file matches {pattern!r} in {Path.cwd()}; quote the pattern, and use ** for nested folders"
        )


def _usable(pattern: str, paths: list[str], reject: Reject) -> Iterator[str]:
    for path in paths:
        why = None
        if "\n" in path or "\r" in path:
            why = "its name holds a line break, and an item is one line; rename it"
        elif not path.isascii() and path.encode(errors="surrogateescape") != path.encode(errors="replace"):
            why = "its name is not UTF-8; rename it"
        if why is None:
            yield path
        else:
            reject(Line(pattern, 0, path.encode(errors="backslashreplace").decode(), why))
