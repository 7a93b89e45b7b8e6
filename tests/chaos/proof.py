"""Whether the long form of the tests is asked for (SHEAF_PROOF=full), and where what it tried is noted.

With SHEAF_PROOF_RESULTS=FILE each of them adds a line to that file, for `sheaf torture --results FILE --report PAGE`.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from sheaf.chaos.campaign import code_digest

FULL = os.environ.get("SHEAF_PROOF") == "full"


def note(test: str, counts: dict[str, int], problems: int, began: float) -> None:
    """Note what a test has tried since `began` (monotonic), if it was the long form and results were asked for."""
    results = os.environ.get("SHEAF_PROOF_RESULTS")
    if FULL and results:
        fields = {"kind": "long-test", "test": test, "counts": counts, "problems": problems, "code": code_digest()}
        moment = {"at": time.strftime("%Y-%m-%d %H:%M", time.gmtime()), "seconds": round(time.monotonic() - began, 1)}
        with Path(results).open("a") as file:
            file.write(json.dumps(fields | moment) + "\n")
