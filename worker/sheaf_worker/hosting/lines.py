"""What a hosted process writes, put together so that no two processes' lines are mixed on the program's terminal."""

from __future__ import annotations

#: Seconds after which a line that has not ended is passed on as far as it is: a prompt, a progress bar.
PIECE_S = 0.2
#: A line that is longer is passed on in pieces of this many bytes: nothing is lost, but another may come in between.
PIECE_BYTES = 1 << 16
_CONTINUES = range(0x80, 0xC0)
_LONGEST_CHARACTER = 4


class Lines:
    """One stream of one process."""

    def __init__(self) -> None:
        self._rest = b""
        #: Since when the rest has been waiting for its line's end.
        self._since: float | None = None

    def add(self, text: bytes, now: float) -> list[bytes]:
        """Return what can be passed on, in pieces each of which ends a line or is as long as a piece can be."""
        text = self._rest + text
        end = max(text.rfind(b"\n"), text.rfind(b"\r")) + 1
        whole, self._rest = text[:end], text[end:]
        pieces = _cut_at_lines(whole)
        while len(self._rest) >= PIECE_BYTES:
            cut = character_end(self._rest, PIECE_BYTES)
            pieces.append(self._rest[:cut])
            self._rest = self._rest[cut:]
        self._since = None if not self._rest else now if end or self._since is None else self._since
        return pieces

    @property
    def due(self) -> float | None:
        """When the rest has to be passed on; None if there is none."""
        return None if self._since is None else self._since + PIECE_S

    def take_rest(self) -> bytes:
        """What is there of a line that has not ended; a character that has only begun stays for a moment longer."""
        cut = character_end(self._rest, len(self._rest)) or len(self._rest)
        rest, self._rest = self._rest[:cut], self._rest[cut:]
        self._since = None
        return rest

    def take_all(self) -> bytes:
        """At the stream's end."""
        rest, self._rest, self._since = self._rest, b"", None
        return rest


def _cut_at_lines(whole: bytes) -> list[bytes]:
    pieces = []
    while len(whole) > PIECE_BYTES:
        cut = whole.rfind(b"\n", 0, PIECE_BYTES) + 1 or character_end(whole, PIECE_BYTES)
        pieces.append(whole[:cut])
        whole = whole[cut:]
    return [*pieces, whole] if whole else pieces


def character_end(text: bytes, most: int) -> int:
    """The last place up to `most` that is not in the middle of a character of UTF-8."""
    for cut in range(most, max(0, most - _LONGEST_CHARACTER), -1):
        if cut < len(text):
            if text[cut] not in _CONTINUES:
                return cut
        elif not _is_cut_short(text):
            return cut
    return most


def _is_cut_short(text: bytes) -> bool:
    """Whether the text ends with the beginning of a character."""
    for back in range(1, min(_LONGEST_CHARACTER, len(text) + 1)):
        byte = text[-back]
        if byte not in _CONTINUES:
            return byte >= 0xC0 and back < (2 if byte < 0xE0 else 3 if byte < 0xF0 else 4)
    return False
