"""`range(N)`, `range(A,B)`, `range(A,B,STEP)`: numbers as items, none of which is written down."""

from __future__ import annotations

import re

from sheaf.core.errors import InputError

#: More items than this are taken for a slip of the finger.
LARGEST = 10**12
_RANGE = re.compile(r"range\((?P<bounds>[^()]*)\)")
_NUMBER = re.compile(r"[+-]?\d[\d_]*")


def numbers_of(text: str) -> range | None:
    """Return the numbers that a text such as `range(1_000_000)` means; None if it is no such text.

    Raises InputError if it is one, but cannot be used.
    """
    match = _RANGE.fullmatch(text.strip())
    if match is None:
        return None
    bounds = [bound.strip() for bound in match["bounds"].split(",")]
    if not 1 <= len(bounds) <= 3 or not all(map(_NUMBER.fullmatch, bounds)):
        raise InputError(
            f"{text} is not a valid range; write range(N), range(A,B) or range(A,B,STEP) with whole numbers"
        )
    try:
        numbers = range(*map(int, bounds))
        count = len(numbers)
    except OverflowError:
        count = LARGEST + 1
    except ValueError as error:
        raise InputError(f"{text} cannot be used: {error}") from error
    if count == 0:
        raise InputError(f"{text} is empty, so there is nothing to do; does it count in the right direction?")
    if count > LARGEST:
        raise InputError(f"{text} has more than {LARGEST:,} numbers, which is the limit")
    return numbers
