"""Whether bytes are UTF-8. It is asked of every page of a combined file, and costs a fifth of all that a page costs."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache

#: `bool simdjson::validate_utf8(const char *, size_t)`, as compilers spell it (Itanium C++ ABI, 64 bits).
_VALIDATE = "_ZN8simdjson13validate_utf8EPKcm"
#: What a function of that name has to say of these, or it is not the one that we mean.
_KNOWN = ((b"", True), (b"a\0\xc3\xa4\xf4\x8f\xbf\xbf", True), (b"\xc0\x80", False), (b"\xed\xa0\x80", False))


def is_utf8(data: bytes) -> bool:
    """Whether Python would decode these bytes as UTF-8; with simdjson, a quarter of the time it takes to do so."""
    if data.isascii():
        return True
    validate = simdjson()
    return is_decodable(data) if validate is None else validate(data, len(data))


@cache
def simdjson() -> Callable[[bytes, int], bool] | None:
    """The check of the system's simdjson (Debian: libsimdjson-dev); None where there is none.

    No package on PyPI has such a function (docs/decisions/0022-utf8-by-simdjson.md).
    """
    try:
        # Without letting go of the interpreter's lock: that would take longer than the check.
        validate = getattr(ctypes.PyDLL("libsimdjson.so"), _VALIDATE)
    except (OSError, AttributeError):
        return None
    validate.argtypes, validate.restype = (ctypes.c_char_p, ctypes.c_size_t), ctypes.c_bool
    return validate if all(validate(data, len(data)) is known for data, known in _KNOWN) else None


def is_decodable(data: bytes) -> bool:
    """Ask Python: it decodes them."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
