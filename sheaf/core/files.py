"""Files on the volume, opened without trust: whatever is in their place, the reader neither hangs nor breaks."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

#: No file that is read whole here is larger; one that is, is not ours.
_LARGEST_BYTES = 64 << 20


class NotReadable(Exception):
    """It cannot be read as a file. Says why, in words that follow the file's name."""


class NotThere(NotReadable):
    """There is no such file."""


def open_file(path: Path) -> int:
    """Open a regular file for reading and return its descriptor. A fifo is not waited for. Raises NotReadable."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotThere("is gone") from error
    except OSError as error:
        raise NotReadable(f"cannot be read ({error.strerror})") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise NotReadable("is not a regular file")
    return descriptor


def read_file(path: Path) -> bytes:
    """Return all of a small file. Raises NotReadable."""
    descriptor = open_file(path)
    try:
        size = os.fstat(descriptor).st_size
        if size > _LARGEST_BYTES:
            raise NotReadable(f"has {size:,} bytes, which is more than possible")
        return os.read(descriptor, size + 1) if size else b""
    except OSError as error:
        raise NotReadable(f"cannot be read ({error.strerror})") from error
    finally:
        os.close(descriptor)


def is_there(path: Path) -> bool:
    """Whether anything is there, of whatever kind. Raises NotReadable if that cannot be determined."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise NotReadable(f"cannot be examined ({error.strerror})") from error
    return True


#: What the system says of a path where nothing is, a circle of links included.
_NOTHING = (errno.ENOENT, errno.ENOTDIR, errno.EBADF, errno.ELOOP)


def exists(path: Path) -> bool:
    """As `Path.exists()` before Python 3.14, from which on it says "no" to whatever goes wrong.

    A disk that cannot be read, or a folder that is closed to us, is no reason to begin a file anew, to count a run as
    gone, or to remove what belongs to it. Raises OSError then, as the three functions below do.
    """
    return _mode(path, os.stat) is not None


def is_file(path: Path) -> bool:
    return stat.S_ISREG(_mode(path, os.stat) or 0)


def is_dir(path: Path) -> bool:
    return stat.S_ISDIR(_mode(path, os.stat) or 0)


def is_symlink(path: Path) -> bool:
    return stat.S_ISLNK(_mode(path, os.lstat) or 0)


def _mode(path: Path, ask: Callable[[Path], os.stat_result]) -> int | None:
    try:
        return ask(path).st_mode
    except OSError as error:
        if error.errno not in _NOTHING:
            raise
    except ValueError:
        pass  # a name that no file can have
    return None


def is_folder(entry: os.DirEntry[str]) -> bool:
    """False for a circle of links too, and where the disk does not tell."""
    try:
        return entry.is_dir()
    except OSError:
        return False
