"""One bit per item, for as many items as there are."""

from __future__ import annotations


class Bitmap:
    """Bits in a bytearray; they are set by range, so a hundred million cost as much work as their ranges do."""

    def __init__(self, size: int) -> None:
        self.size = size
        #: How many bits were asked for that do not exist.
        self.outside = 0
        self._bytes = bytearray((size + 7) // 8)

    def add(self, first: int, end: int) -> int:
        """Set the bits from `first` to before `end`; return how many of them were set already."""
        inside_end = min(end, self.size)
        self.outside += end - max(first, inside_end)
        if first >= inside_end:
            return 0
        low, high = first // 8, (inside_end + 7) // 8
        mask = ((1 << (inside_end - first)) - 1) << (first - 8 * low)
        before = int.from_bytes(self._bytes[low:high], "little")
        self._bytes[low:high] = (before | mask).to_bytes(high - low, "little")
        return (before & mask).bit_count()

    def bits(self, first: int, count: int) -> int:
        """Return `count` bits as a number, the first one in its lowest bit."""
        low = first // 8
        number = int.from_bytes(self._bytes[low : (first + count + 7) // 8], "little")
        return number >> (first - 8 * low) & ((1 << count) - 1)

    def count(self) -> int:
        """How many bits are set."""
        step = 1 << 16
        return sum(
            int.from_bytes(self._bytes[start : start + step], "little").bit_count()
            for start in range(0, len(self._bytes), step)
        )
