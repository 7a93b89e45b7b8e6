"""For whom the files are that Sheaf makes: for their owner, or for the group as well. The data folder's mode says it.

A folder that its group may write to (the stack's, where producer and workers are two users of one group; `sheaf up
--share-group`) holds files that the group may write to. What is in any other belongs to its owner alone.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

#: Where the command line keeps the user's own umask, for what is written outside the data folder.
UMASK = "sheaf.umask"

_GROUP, _OTHERS = 0o070, 0o007


def is_shared(folder: Path) -> bool:
    """Whether the group may write to the folder; one that is not there is not shared."""
    try:
        return bool(folder.stat().st_mode & stat.S_IWGRP)
    except OSError:
        return False


def follow(data_dir: Path) -> int:
    """From here on this process makes files as its data folder wants them. Return the umask that was there."""
    before = os.umask(_GROUP | _OTHERS)
    if is_shared(data_dir):
        # What the user keeps from everybody else stays so.
        os.umask(before & ~_GROUP)
    return before


def share_with_group(data_dir: Path) -> None:
    """Open the data folder to its group; what is made in it belongs to that group. For its owner to decide."""
    data_dir.mkdir(parents=True, exist_ok=True)
    data_dir.chmod(stat.S_IMODE(data_dir.stat().st_mode) | stat.S_IRWXG | stat.S_ISGID)
    follow(data_dir)
