"""Leave out what was there before."""

from __future__ import annotations

from hashlib import blake2b


class Dedupe:
    """Remembers 16 bytes for each text, whatever its length: about 100 bytes of memory a text, all told.

    Two different texts share a digest with a probability of 10^-20 for a billion of them.
    """

    def __init__(self) -> None:
        self._seen: set[bytes] = set()

    def __len__(self) -> int:
        return len(self._seen)

    def is_new(self, text: str) -> bool:
        """Return True the first time a text is asked about."""
        digest = blake2b(text.encode(), digest_size=16).digest()
        before = len(self._seen)
        self._seen.add(digest)
        return len(self._seen) > before
