"""`Cluster.local()`: an embedded cluster on a temporary data folder, which ends with the program that started it."""

from __future__ import annotations

import dataclasses
import os
import shutil
import sys
import tempfile
from pathlib import Path

from sheaf.core.errors import UsageError
from sheaf.core.files import is_dir
from sheaf.core.logs import STDERR
from sheaf.core.settings import Settings
from sheaf.embedded import cluster
from sheaf.embedded.state import Places

#: How the temporary data folders begin.
PREFIX = "sheaf-local-"


def start_local(settings: Settings, workers: int, tasks: Path | None, data: Path | None) -> tuple[Settings, bool]:
    """Start it; return its settings, and whether its data folder is a temporary one."""
    temporary = data is None
    folder = Path(tempfile.mkdtemp(prefix=PREFIX)) if data is None else data
    local = dataclasses.replace(
        settings,
        data_dir=folder.resolve(),
        redis_url=None,
        redis_user=None,
        redis_password=None,
        tasks_dir=(tasks or _own_folder(settings.tasks_dir)).resolve(),
    )
    if not temporary and Places(local.data_dir).locked:
        raise UsageError(
            f"a cluster serves {local.data_dir} already, and would end with this program; use Cluster(data=...) for it"
        )
    try:
        cluster.up(local, workers, ends_with_us=True, temporary=temporary, prints_fd=_stderr())
    except BaseException:
        stop_local(local, temporary)
        raise
    return local, temporary


def _own_folder(tasks_dir: Path) -> Path:
    """The tasks folder of the settings if there is one, else the folder of the script that runs."""
    file = getattr(sys.modules["__main__"], "__file__", None)
    return tasks_dir if file is None or is_dir(tasks_dir) else Path(file).parent


def _stderr() -> int | None:
    """This program's standard error, where it is open: what tasks print is seen there, as with processes of its own."""
    try:
        os.fstat(STDERR)
    except OSError:
        return None
    return STDERR


def stop_local(settings: Settings, temporary: bool) -> None:
    """Stop it, and remove its data folder if that is a temporary one."""
    cluster.down(settings)
    if temporary:
        shutil.rmtree(settings.data_dir, ignore_errors=True)
