"""`python -m sheaf.embedded DATA`: the supervisor. Started by `sheaf up`; ends on SIGTERM."""

from __future__ import annotations

import argparse
import dataclasses
import logging
import shutil
import sys
from pathlib import Path

from sheaf.core import logs, permissions
from sheaf.core.errors import SheafError
from sheaf.core.last_words import LastWords, cause_of
from sheaf.core.settings import Settings
from sheaf.embedded.cluster import supervise

logger = logging.getLogger(__name__)


def main() -> int:
    logs.keep_standard_descriptors()
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("--ends-with", type=int, metavar="PID", help="end when that process does")
    parser.add_argument("--temporary", action="store_true", help="remove the data folder at the end")
    parser.add_argument("--prints-fd", type=int, metavar="FD", help="where tasks' prints go, if not to the logs")
    asked = parser.parse_args()
    try:
        status = _serve(asked)
    except (SheafError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        status = _end_by(asked.data, error)
    except BaseException as error:
        logger.critical("the supervisor broke; stopping the cluster", extra={"action": "fail"}, exc_info=error)
        status = _end_by(asked.data, error)
    if asked.temporary:
        shutil.rmtree(asked.data, ignore_errors=True)
    return status


def _serve(asked: argparse.Namespace) -> int:
    permissions.follow(asked.data)
    settings = dataclasses.replace(Settings.from_env(), data_dir=asked.data)
    logs.configure(settings.log_level, role="supervisor")
    return supervise(settings, asked.ends_with, asked.prints_fd)


def _end_by(data: Path, error: BaseException) -> int:
    """Leave the reason where `sheaf status` finds it when there is no supervisor any more; return the exit status."""
    LastWords(data, "supervisor").say("supervisor", cause_of(error))
    return 1


if __name__ == "__main__":
    raise SystemExit(main())
