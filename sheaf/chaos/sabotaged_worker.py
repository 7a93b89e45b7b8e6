"""`python -m sheaf.chaos.sabotaged_worker KIND`: a worker that lacks a safeguard (`sabotage.py`)."""

from __future__ import annotations

import importlib
import sys

from sheaf.chaos.sabotage import SABOTAGE

if __name__ == "__main__":
    SABOTAGE[sys.argv[1]]()
    # By name: the library imports no application, and this is a worker like any other.
    importlib.import_module("sheaf_worker.__main__").main()
