"""`python -m sheaf.embedded DATA`: the supervisor. Started by `sheaf up`; ends on SIGTERM."""

from __future__ import annotations

import dataclasses
import os
import sys
from pathlib import Path

from sheaf import logs
from sheaf.embedded.cluster import supervise
from sheaf.errors import SheafError
from sheaf.settings import Settings


def main() -> int:
    os.umask(0o002)
    settings = dataclasses.replace(Settings.from_env(), data_dir=Path(sys.argv[1]))
    logs.configure(settings.log_level, role="supervisor")
    try:
        return supervise(settings)
    except SheafError as error:
        sys.stderr.write(f"{error}\n")
        return 1


if __name__ == "__main__":
    raise SystemExit(main())
