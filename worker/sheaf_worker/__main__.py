"""Start a worker: `sheaf-worker`, or `python -m sheaf_worker`. All settings come from SHEAF_… variables."""

from __future__ import annotations

import logging
import socket
import sys

from sheaf.broker.connection import connect
from sheaf.broker.redis_version import scripting_flaw
from sheaf.core import logs, permissions
from sheaf.core.errors import SheafError
from sheaf.core.last_words import LastWords, cause_of
from sheaf.core.settings import Settings, proxy_variables
from sheaf_worker.worker import Worker

logger = logging.getLogger(__name__)


def main() -> None:
    logs.keep_standard_descriptors()
    try:
        settings = Settings.from_env()
        logs.configure(settings.log_level)
        worker = _made(settings)
    except SheafError as error:
        sys.stderr.write(f"sheaf-worker: {error}\n")
        sys.exit(2)
    sys.exit(worker.run())


def _made(settings: Settings) -> Worker:
    """The worker, ready to run. From here on, what ends this process has been said in the log and in `status`."""
    try:
        permissions.follow(settings.data_dir)
        connection = connect(settings)
        worker = Worker(settings, connection)
        logs.configure(settings.log_level, worker=worker.id)
        flaw = scripting_flaw(connection)
        if flaw is not None:
            logger.warning("Redis has a flaw", extra={"action": "start", "why": flaw})
        if proxies := proxy_variables():
            logger.warning("pages are loaded without a proxy", extra={"action": "start", "not_used": proxies})
    except (SheafError, KeyboardInterrupt):
        raise
    except BaseException as error:
        logger.critical("the worker cannot be started", extra={"action": "start"}, exc_info=error)
        label = settings.label or socket.gethostname()
        LastWords(settings.data_dir, label).say(label, f"{cause_of(error)} (at its start)")
        sys.exit(1)
    return worker


if __name__ == "__main__":
    main()
