"""Answers the question that `describe` puts on standard input. What the user's module prints is not the answer."""

from __future__ import annotations

import json
import os
import sys

from sheaf.core.errors import SheafError
from sheaf.tasks.description import answer
from sheaf.tasks.tracebacks import describe


def main() -> None:
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    question = sys.stdin.read()
    try:
        reply = answer(question)
    except SheafError as error:
        reply = json.dumps({"error": str(error)})
    except BaseException as error:  # noqa: BLE001 - the user's module, or its decorator, may raise anything
        reply = json.dumps({"error": f"the task cannot be examined: {describe(error, None)}"})
    replies.write(reply)
    replies.flush()
    # Not by returning: a thread that the user's module has started would keep us.
    os._exit(0)


if __name__ == "__main__":
    main()
