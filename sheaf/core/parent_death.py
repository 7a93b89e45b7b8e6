"""A process that ends when the one that started it does, by the kernel's own signal (Linux: PR_SET_PDEATHSIG)."""

from __future__ import annotations

import ctypes
import signal

_PR_SET_PDEATHSIG = 1
# Looked up here: between fork and exec nothing may be loaded.
_libc = ctypes.CDLL(None)


def signal_at_parents_death(number: signal.Signals) -> None:
    """Have the kernel send this process the signal when the *thread* that started it ends; see prctl(2)."""
    _libc.prctl(_PR_SET_PDEATHSIG, number)
