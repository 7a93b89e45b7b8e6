"""`python -m sheaf.embedded DATA`: the supervisor. Started by `sheaf up`; ends on SIGTERM."""

from __future__ import annotations

import argparse
import dataclasses
import shutil
import sys
from pathlib import Path

from sheaf import logs, rights
from sheaf.embedded.cluster import supervise
from sheaf.errors import SheafError
from sheaf.settings import Settings


def main() -> int:
    logs.keep_standard_descriptors()
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("--ends-with", type=int, metavar="PID", help="end when that process does")
    parser.add_argument("--temporary", action="store_true", help="remove the data folder in the end")
    parser.add_argument("--prints-fd", type=int, metavar="FD", help="where tasks' prints go, if not to the logs")
    asked = parser.parse_args()
    rights.follow(asked.data)
    settings = dataclasses.replace(Settings.from_env(), data_dir=asked.data)
    logs.configure(settings.log_level, role="supervisor")
    try:
        status = supervise(settings, asked.ends_with, asked.prints_fd)
    except (SheafError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        status = 1
    if asked.temporary:
        shutil.rmtree(asked.data, ignore_errors=True)
    return status


if __name__ == "__main__":
    raise SystemExit(main())
