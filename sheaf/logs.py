"""Logs: one JSON line per event on stderr: a fixed sentence, an `action`, ids as fields. Set up in `__main__` only."""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import Any

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonLines(logging.Formatter):
    """Format a record as one JSON object; what was passed in `extra` becomes its fields."""

    def __init__(self, fixed: dict[str, Any]) -> None:
        super().__init__()
        self._fixed = fixed

    def format(self, record: logging.LogRecord) -> str:
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, Any] = {
            "time": f"{moment}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            **self._fixed,
            **{key: value for key, value in vars(record).items() if key not in _STANDARD},
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)


def configure(level: str, **fixed: Any) -> None:
    """Send everything from `level` up to stderr; `fixed` fields (the worker's id, say) stand in every line."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines(fixed))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
