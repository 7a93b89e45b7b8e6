"""How large and how deep a value may be; checked before anything of that size is allocated."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Anything beyond these is refused, on both sides."""

    #: Of a whole message. Redis accepts values up to 512 MB.
    message_bytes: int = 512 << 20
    #: Of its JSON. The Python objects take up to about thirty times as much.
    json_bytes: int = 128 << 20
    #: Levels of nesting; pickle manages 340.
    depth: int = 400
    #: Parts that hashing all dict keys and set members may visit: a few nested shared tuples can stand for 2**100.
    hashed_parts: int = 20_000_000
    #: Bits of an integer; and of a fraction's numerator and denominator, whose common divisor has to be computed.
    integer_bits: int = 8 << 20
    fraction_bits: int = 1 << 17
    #: Characters of a regular expression, and of a decimal number.
    pattern_chars: int = 20_000
    decimal_chars: int = 1 << 20
