"""Lists: whatever is in a file, each line is read, or rejected with its number and a reason."""

import bz2
import gzip
import io
import lzma
import sys
from pathlib import Path

import pytest

from sheaf.core.errors import InputError
from sheaf.submission.tally import Line
from sheaf_producer.inputs.read import LINE_LIMIT_BYTES, read_lists
from sheaf_producer.inputs.stream import check_inputs
from tests.packing import zstd


def read(path: Path, content: bytes) -> list[Line]:
    path.write_bytes(content)
    return [line for sheet in read_lists([str(path)]) for line in sheet.lines()]


@pytest.mark.parametrize(
    "content",
    [
        b"one\ntwo\n",
        b"one\ntwo",
        b"one\r\ntwo\r\n",
        b"\xef\xbb\xbfone\ntwo\n",
        b"# a comment\n\n  one  \n\t\n#two\ntwo\n",
        gzip.compress(b"one\n") + gzip.compress(b"two\n"),
        zstd.compress(b"one\n") + zstd.compress(b"two\n"),
        bz2.compress(b"one\n") + bz2.compress(b"two\n"),
        lzma.compress(b"one\n") + lzma.compress(b"two\n"),
        b"one\rtwo\r",
        b"one\r\ntwo\r",
        "\u00a0\none\n\x0c\n\u2028\ntwo\x1c\n".encode(),
    ],
    ids=[
        *("plain", "no last newline", "CRLF", "BOM", "comments and blanks", "gzip of two members"),
        *("zstd of two frames", "bzip2 of two", "xz of two", "CR", "mixed", "blanks beyond ASCII"),
    ],
)
def test_a_list_is_read_however_it_is_written(tmp_path: Path, content: bytes) -> None:
    """Line ends, a byte order mark, comments, blank lines and gzip (known by content, not by name) do not matter."""
    assert [line.text for line in read(tmp_path / "list", content)] == ["one", "two"]


def test_a_line_keeps_its_number_and_source(tmp_path: Path) -> None:
    """Numbers count every line of the file, also those that are skipped, so that an editor finds them."""
    lines = read(tmp_path / "list", b"# comment\n\none\n")

    assert lines == [Line(str(tmp_path / "list"), 3, "one")]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (b"caf\xe9", "not UTF-8"),
        (b"a\0b", "zero byte"),
        (b"x" * (LINE_LIMIT_BYTES + 1), "bytes long"),
        (b"x" * 1_000_000, "1,000,001 bytes long"),
    ],
    ids=["latin-1", "binary", "just too long", "1 MB"],
)
def test_a_bad_line_is_rejected_and_the_next_one_is_read(tmp_path: Path, bad: bytes, reason: str) -> None:
    """A line that cannot be used costs nothing but itself."""
    first, second = read(tmp_path / "list", bad + b"\ngood\n")

    assert first.number == 1
    assert first.problem is not None
    assert reason in first.problem
    assert second == Line(str(tmp_path / "list"), 2, "good")


def test_a_line_of_the_longest_length_is_read(tmp_path: Path) -> None:
    """The limit counts the line with its end."""
    longest = b"x" * (LINE_LIMIT_BYTES - 1)

    assert read(tmp_path / "list", longest + b"\n")[0].text == longest.decode()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (gzip.compress(b"one\n" * 1000)[:-9], "damaged or truncated"),
        (gzip.compress(b"one\n" * 1000)[:20] + b"\xff" * 20, "damaged or truncated"),
        (b"PK\x03\x04rest", "zip archive"),
        (zstd.compress(b"one\n" * 1000)[:-9], "packed by zstd, but damaged or truncated"),
        (b"BZh91AY", "packed by bzip2, but damaged or truncated"),
        (bz2.compress(b"one\n" * 1000)[:30] + b"\xff" * 20, "packed by bzip2, but damaged or truncated"),
        (lzma.compress(b"one\n" * 1000)[:-9], "packed by xz, but damaged or truncated"),
        (lzma.compress(b"one\n" * 1000)[:30] + b"\xff" * 20, "packed by xz, but damaged or truncated"),
        ("x".encode("utf-32"), "iconv -f utf-32"),
        (b"\xff\xfeh\0", "iconv -f utf-16"),
    ],
    ids=[
        "cut gzip",
        "damaged gzip",
        "zip",
        "damaged zstd",
        *("cut bzip2", "damaged bzip2", "cut xz", "damaged xz"),
        "UTF-32",
        "UTF-16",
    ],
)
def test_a_file_that_is_no_list_is_refused_with_the_cure(tmp_path: Path, content: bytes, reason: str) -> None:
    """Nothing of such a file is used, and the message says what to do."""
    with pytest.raises(InputError, match=reason):
        read(tmp_path / "list", content)


def test_binary_garbage_is_rejected_line_by_line(tmp_path: Path) -> None:
    """Every byte value in every order is read to the end without an exception."""
    garbage = bytes(range(256)) * 40

    lines = read(tmp_path / "list", garbage)

    assert lines
    assert all(line.problem for line in lines)


def test_standard_input_is_read_for_a_hyphen(monkeypatch: pytest.MonkeyPatch) -> None:
    """`-` is standard input, gzipped or not."""
    stdin = io.TextIOWrapper(io.BufferedReader(io.BytesIO(gzip.compress(b"one\n"))))
    monkeypatch.setattr(sys, "stdin", stdin)

    assert [line for sheet in read_lists(["-"]) for line in sheet.lines()] == [Line("standard input", 1, "one")]


def test_lists_that_are_not_there_are_named_before_anything_is_read(tmp_path: Path) -> None:
    """The name that was typed is in the message."""
    with pytest.raises(InputError, match=r"no file missing\.txt"):
        check_inputs(["missing.txt"])
    with pytest.raises(InputError, match="is a folder"):
        check_inputs([str(tmp_path)])
    with pytest.raises(InputError, match="only once"):
        check_inputs(["-", "-"])


def test_a_file_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    """An error of the system becomes one line with the file's name."""
    loop = tmp_path / "loop"
    loop.symlink_to(loop)

    with pytest.raises(InputError, match=r"loop cannot be read"):
        list(read_lists([str(loop)]))
