"""What can be read only once is opened once, and read from its first byte to its last, whatever it is called."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import lzma
import os
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sheaf.core.errors import InputError
from sheaf_producer.inputs import Inputs, opening
from sheaf_producer.inputs.read import read_lists
from sheaf_producer.inputs.stream import blocks, check_inputs
from tests.packing import zstd

ITEMS = [f"item{number}end" for number in range(20_000)]
CONTENT = "".join(f"{item}\n" for item in ITEMS).encode()


@contextlib.contextmanager
def pipe(*pieces: bytes, hold: threading.Event | None = None) -> Iterator[int]:
    """A pipe's end to be read, into which the pieces are written one by one."""
    reading, writing = os.pipe()

    def write() -> None:
        with open(writing, "wb", buffering=0) as target:
            for number, piece in enumerate(pieces):
                if number and hold is not None:
                    assert hold.wait(60)
                with contextlib.suppress(BrokenPipeError):
                    target.write(piece)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield reading
    finally:
        with contextlib.suppress(OSError):
            os.close(reading)
        writer.join()


def items_of(name: str, **options: str) -> list[str]:
    """As `sheaf map` reads them: checked, asked how they are passed, read."""
    inputs = Inputs([name], **options)  # type: ignore[arg-type]
    inputs.check()
    assert inputs.passing == "text"
    rejected: list[object] = []
    items = [text for texts in inputs.read(rejected.append) for text in texts]
    assert rejected == []
    return items


@pytest.mark.parametrize("folder", ["/dev/fd", "/proc/self/fd"])
@pytest.mark.parametrize(
    "pack", [bytes, gzip.compress, zstd.compress, bz2.compress, lzma.compress], ids=["plain", "gz", "zst", "bz2", "xz"]
)
def test_a_pipe_of_the_shells_is_read_once(folder: str, pack: Callable[[bytes], bytes]) -> None:
    """`sheaf map f <(…)`: nothing is read to find out what it holds; packed or not, all of it comes."""
    with pipe(pack(CONTENT)) as descriptor:
        assert items_of(f"{folder}/{descriptor}") == ITEMS


def test_a_pipe_that_comes_byte_by_byte_is_told_by_its_first_ones() -> None:
    """Its compression, too: a first read that brings one byte is not its beginning."""
    packed = gzip.compress(CONTENT)
    with pipe(*[packed[place : place + 1] for place in range(20)], packed[20:]) as descriptor:
        assert items_of(f"/dev/fd/{descriptor}") == ITEMS


def test_a_named_pipe_is_read_once(tmp_path: Path) -> None:
    """Its writer, which waits for a reader, meets one and no other."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=lambda: path.write_bytes(CONTENT))
    writer.start()

    assert items_of(str(path)) == ITEMS
    writer.join()


def test_standard_input_by_any_of_its_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """As `-`, as `/dev/stdin`, as a descriptor of this process."""
    for name in ("-", "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"):
        with pipe(CONTENT) as descriptor:
            kept = os.dup(0)
            os.dup2(descriptor, 0)
            try:
                with open(0, closefd=False) as stdin:
                    monkeypatch.setattr(sys, "stdin", stdin)
                    assert items_of(name) == ITEMS
            finally:
                os.dup2(kept, 0)
                os.close(kept)


def test_a_pipe_that_does_not_wait_is_waited_for() -> None:
    """Another process that shares it may have made it so: that nothing is there yet is not its end."""
    go_on = threading.Event()
    with pipe(CONTENT[:7], CONTENT[7:], hold=go_on) as descriptor:
        os.set_blocking(descriptor, False)
        with open(descriptor, "rb", buffering=0, closefd=False) as raw:
            stream = opening.Stream(raw)
            assert stream.begin(7) == CONTENT[:7]
            threading.Timer(0.2, go_on.set).start()

            assert io.BufferedReader(stream).read() == CONTENT


def test_a_socket_of_ours_is_read_though_it_cannot_be_opened(tmp_path: Path) -> None:
    """As some programs hand over a standard input; one that only has a name is refused."""
    ours, other = socket.socketpair()
    with ours, other:
        other.sendall(b"one\ntwo\n")
        other.shutdown(socket.SHUT_WR)
        assert items_of(f"/dev/fd/{ours.fileno()}") == ["one", "two"]
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
        with pytest.raises(InputError, match="is a socket, from which no list can be read"):
            check_inputs([str(tmp_path / "socket")])


def test_a_list_of_urls_through_pipes() -> None:
    """`sheaf load <(…) <(…)`: each is read once, one after the other."""
    with pipe(b"http://a/\n") as first, pipe(b"http://b/\n") as second:
        sheets = read_lists([f"/dev/fd/{first}", f"/dev/fd/{second}"])
        assert [line.text for sheet in sheets for line in sheet.lines()] == ["http://a/", "http://b/"]


def test_the_same_pipe_twice_is_refused(tmp_path: Path) -> None:
    """The second time nothing would be left in it, or nothing would ever be written into it again."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    with pytest.raises(InputError, match="the same pipe cannot be read twice"):
        check_inputs([str(tmp_path / "pipe"), str(tmp_path / "link")])
    with pipe() as descriptor, pytest.raises(InputError, match=r"/dev/fd/\d+ and /proc/self/fd/\d+: the same pipe"):
        check_inputs([f"/dev/fd/{descriptor}", f"/proc/self/fd/{descriptor}"])
    (tmp_path / "file").touch()
    check_inputs([str(tmp_path / "file")] * 2)


@pytest.mark.parametrize("name", ["x.parquet", "x"])
def test_parquet_does_not_come_through_a_pipe(tmp_path: Path, name: str) -> None:
    """It is read from its end. Recognised by its name or, when it is read, by its first bytes."""
    path = tmp_path / name
    os.mkfifo(path)
    writer = threading.Thread(target=lambda: path.write_bytes(b"PAR1 and so on"))
    with pytest.raises(InputError, match="neither be compressed nor come through a pipe"):
        inputs = Inputs([str(path)])
        inputs.check()
        writer.start()
        list(inputs.read(lambda _: None))
    if name == "x":
        writer.join()
    with pipe(b"PAR1 is a text\n") as descriptor:
        assert items_of(f"/dev/fd/{descriptor}", format="lines") == ["PAR1 is a text"]


def test_a_device_is_read_as_it_is() -> None:
    """The one that has nothing holds no item."""
    assert items_of("/dev/null") == []


def test_what_cannot_be_read_is_said_before_anything_is(tmp_path: Path) -> None:
    """A file without the right, a circle of links, a name that cannot be, a folder, a closed descriptor."""
    # Where another user gets, too, whatever the folder of this run of the tests is.
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        secret = Path(folder, "secret")
        secret.write_text("one\n")
        secret.chmod(0)
        user = os.geteuid()
        if user == 0:
            os.seteuid(65534)
        try:
            with pytest.raises(InputError, match="secret cannot be read: Permission denied"):
                check_inputs([str(secret)])
        finally:
            os.seteuid(user)
    (tmp_path / "circle").symlink_to("circle")
    (tmp_path / "file").touch()
    for name, words in (
        (str(tmp_path / "circle"), "cannot be examined: Too many levels of symbolic links"),
        ("x" * 5000, "cannot be examined: File name too long"),
        (str(tmp_path), "is a folder"),
        (str(tmp_path / "file/below"), "there is no file"),
        ("/dev/fd/9999", "there is no file"),
    ):
        with pytest.raises(InputError, match=words):
            check_inputs([name])


def test_a_damaged_pack_in_a_pipe_is_named() -> None:
    """By its name and its kind."""
    with pipe(lzma.compress(CONTENT)[:-20]) as descriptor, pytest.raises(InputError, match="packed by xz, but damaged"):
        list(blocks(f"/dev/fd/{descriptor}"))
