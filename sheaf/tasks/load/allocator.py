"""Keep the memory that one page leaves for the next one."""

from __future__ import annotations

import ctypes
from functools import cache

#: glibc's names for its settings, from malloc.h.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3
_MIB = 1 << 20


@cache
def keep_freed_memory() -> None:
    """Have glibc hold up to 16 MiB of free memory, instead of giving it back and asking for it anew with every page.

    A piece of memory fresh from the kernel costs a fault: a twentieth of a child's time. Other libraries lack the call.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for setting, size_bytes in ((_TRIM_THRESHOLD, 16 * _MIB), (_TOP_PAD, _MIB), (_MMAP_THRESHOLD, _MIB)):
            mallopt(setting, size_bytes)
