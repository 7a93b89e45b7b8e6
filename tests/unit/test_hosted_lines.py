"""What hosted processes write is passed on in whole lines, in pieces where it has to be, and nothing of it is lost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sheaf_worker.hosting.lines import PIECE_BYTES, PIECE_S, Lines, character_end


def test_a_line_is_passed_on_when_it_has_ended() -> None:
    """However it comes; the beginning of the next waits for its end."""
    lines = Lines()
    assert lines.add(b"one li", 0.0) == []
    assert lines.add(b"ne\ntwo\nthr", 0.1) == [b"one line\ntwo\n"]
    assert lines.due == pytest.approx(0.1 + PIECE_S)
    assert lines.add(b"ee\n", 0.2) == [b"three\n"]
    assert lines.due is None


def test_a_progress_bar_is_passed_on_at_each_return() -> None:
    """It is drawn again and again on one line."""
    lines = Lines()
    assert lines.add(b"10 %\r20 %", 0.0) == [b"10 %\r"]
    assert lines.take_rest() == b"20 %"
    assert lines.due is None


def test_what_waits_is_due_from_its_first_byte() -> None:
    """More of the same line does not put it off."""
    lines = Lines()
    lines.add(b"a", 1.0)
    lines.add(b"b", 1.1)
    assert lines.due == pytest.approx(1.0 + PIECE_S)


def test_a_character_is_never_cut_in_two() -> None:
    """It waits for its other half, until the stream's end."""
    lines = Lines()
    euro = "€".encode()
    lines.add(b"x" + euro[:2], 0.0)
    assert lines.take_rest() == b"x"
    assert lines.add(euro[2:], 0.3) == []
    assert lines.take_rest() == euro
    lines.add(euro[:1], 0.4)
    assert lines.take_all() == euro[:1]


@pytest.mark.parametrize("end", [b"", b"\n", b"\nmore"])
def test_a_long_line_comes_in_pieces(end: bytes) -> None:
    """A piece is no longer than a piece can be, and holds whole characters."""
    text = "€".encode() * PIECE_BYTES + end
    lines = Lines()
    pieces = [*lines.add(text, 0.0), lines.take_all()]
    assert b"".join(pieces) == text
    assert len(pieces) > 3
    assert max(map(len, pieces)) <= PIECE_BYTES
    for piece in pieces:
        piece.decode()


def test_lines_are_not_cut_where_they_need_not_be() -> None:
    """Many at once are passed on together, up to the size of a piece."""
    text = b"".join(b"%d\n" % number for number in range(50_000))
    pieces = Lines().add(text, 0.0)
    assert b"".join(pieces) == text
    assert all(piece.endswith(b"\n") for piece in pieces)


@given(st.lists(st.binary(max_size=40), max_size=20), st.booleans())
def test_nothing_is_lost_or_changed(parts: list[bytes], rest_is_due: bool) -> None:
    """Whatever bytes come, in whatever parts."""
    lines = Lines()
    passed = b""
    for number, part in enumerate(parts):
        passed += b"".join(lines.add(part, float(number)))
        if rest_is_due:
            passed += lines.take_rest()
    assert passed + lines.take_all() == b"".join(parts)


@given(st.text(min_size=1), st.integers(1, 30))
def test_the_end_of_a_character_is_found(text: str, most: int) -> None:
    """Of any text, at any place that is no more than a character's length in front of the wanted one."""
    encoded = text.encode("utf-8", "surrogatepass")
    if most <= len(encoded):
        cut = character_end(encoded, most)
        assert most - 4 < cut <= most or cut == most
        if cut > 3:
            encoded[:cut].decode("utf-8", "surrogatepass")
