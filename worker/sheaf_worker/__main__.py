"""Start a worker: `sheaf-worker`, or `python -m sheaf_worker`. All settings come from SHEAF_… variables."""

from __future__ import annotations

import logging
import sys

from sheaf import logs, rights
from sheaf.connection import connect
from sheaf.errors import SheafError
from sheaf.redis_version import scripting_flaw
from sheaf.settings import Settings
from sheaf_worker.worker import Worker

logger = logging.getLogger(__name__)


def main() -> None:
    logs.keep_standard_descriptors()
    try:
        settings = Settings.from_env()
        rights.follow(settings.data_dir)
        connection = connect(settings)
        worker = Worker(settings, connection)
    except SheafError as error:
        sys.stderr.write(f"sheaf-worker: {error}\n")
        sys.exit(2)
    logs.configure(settings.log_level, worker=worker.id)
    flaw = scripting_flaw(connection)
    if flaw is not None:
        logger.warning("Redis has a flaw", extra={"action": "start", "why": flaw})
    sys.exit(worker.run())


if __name__ == "__main__":
    main()
