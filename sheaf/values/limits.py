"""How large and how deep a value may be: checked before anything of that size is made."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """What is beyond them is refused, on both sides."""

    #: Of a whole message. Redis takes values of 512 MB.
    message_bytes: int = 512 << 20
    #: Of its JSON: Python's objects of it take up to about thirty times as much.
    json_bytes: int = 128 << 20
    #: Objects in one another; pickle manages 340. Twice as many calls of functions have to fit into Python's stack.
    depth: int = 400
    #: Parts that are compared and hashed for the keys of dicts and the members of sets: few shared tuples in one
    #: another can represent 2**100.
    hashed_parts: int = 20_000_000
    #: Bits of a whole number; and of the two of a fraction, whose common divisor has to be found.
    integer_bits: int = 8 << 20
    fraction_bits: int = 1 << 17
    #: Characters of a regular expression, and of a decimal number.
    pattern_chars: int = 20_000
    decimal_chars: int = 1 << 20
