"""Content codings: what is packed comes out whole, what is cut is noticed, and nothing grows beyond its limit."""

import gzip
import struct
import time
import tracemalloc
import zlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sheaf.tasks.load import coding
from sheaf.tasks.load.coding import BadCoding, Unpacked, codings_of, unpack
from tests.packing import KINDS, Pack, zstd, zstd_checked

MIB = 1 << 20
every_kind = pytest.mark.parametrize(("name", "pack", "spare"), KINDS.values(), ids=KINDS)
#: Texts that pack well, badly and not at all.
bodies = st.one_of(
    st.binary(max_size=3000),
    st.builds(lambda part, times: part * times, st.binary(max_size=40), st.integers(0, 400)),
    st.text(max_size=2000).map(lambda text: text.encode(errors="replace")),
)


@every_kind
@given(body=bodies)
@example(body=b"")
@example(body=b"x")
def test_what_was_packed_comes_out(name: str, pack: Pack, spare: int, body: bytes) -> None:
    """Whole, in each coding."""
    assert unpack(pack(body), (name,), MIB) == Unpacked(body)


@every_kind
@given(body=bodies.filter(bool), data=st.data())
def test_every_truncation_is_noticed(name: str, pack: Pack, spare: int, body: bytes, data: st.DataObject) -> None:
    """Wherever a stream is cut, up to the end of the text: it is called cut, and what it gave is the text's start."""
    packed = pack(body)
    kept = data.draw(st.integers(1, len(packed) - 1))
    unpacked = unpack(packed[:kept], (name,), MIB)
    assert body.startswith(unpacked.body)
    assert unpacked.cut == (len(packed) - kept > spare)
    assert unpacked.cut or unpacked.body == body


@every_kind
@given(body=bodies, limit=st.integers(0, 4000))
def test_nothing_grows_beyond_the_limit(name: str, pack: Pack, spare: int, body: bytes, limit: int) -> None:
    """Never more than the limit; a body that is larger gives exactly its start, and says so."""
    assert unpack(pack(body), (name,), limit) == Unpacked(body[:limit], larger=len(body) > limit)


@every_kind
@given(junk=st.binary(max_size=400))
def test_junk_is_bad_or_ends_early_or_is_what_it_says(name: str, pack: Pack, spare: int, junk: bytes) -> None:
    """Nothing but BadCoding is ever raised, and nothing grows."""
    try:
        assert len(unpack(junk, (name,), 1000).body) <= 1000
    except BadCoding as error:
        assert str(error)


@every_kind
@given(body=st.binary(min_size=1, max_size=2000), data=st.data())
def test_a_damaged_stream_raises_nothing_else(
    name: str, pack: Pack, spare: int, body: bytes, data: st.DataObject
) -> None:
    """A byte that differs: the same text, another one, a cut one, or BadCoding."""
    packed = bytearray(pack(body))
    at = data.draw(st.integers(0, len(packed) - 1))
    packed[at] ^= data.draw(st.integers(1, 255))
    try:
        assert len(unpack(bytes(packed), (name,), 10_000).body) <= 10_000
    except BadCoding as error:
        assert str(error)


@every_kind
@pytest.mark.parametrize("behind", [b"\0", b"\0" * 9000, b"\r\n<!-- cache -->", b"x" * 70_000])
def test_what_follows_a_stream_is_left_out(name: str, pack: Pack, spare: int, behind: bytes) -> None:
    """Padding, and whatever a server wrote after it, as browsers do."""
    body = b"<p>text</p>" * 9000
    assert unpack(pack(body) + behind, (name,), MIB) == Unpacked(body)


@pytest.mark.parametrize("kind", ["gzip", "gzip-header", "zstd", "zstd-checked"])
def test_streams_one_after_the_other_are_one_text(kind: str) -> None:
    """Gzip members and zstd frames; a cut in the last one is noticed, and the limit holds for all of them together."""
    name, pack, _ = KINDS[kind]
    parts = [b"first " * 50_000, b"", b"second ", b"third " * 1000]
    packed, body = b"".join(map(pack, parts)), b"".join(parts)
    assert unpack(packed, (name,), MIB) == Unpacked(body)
    assert unpack(packed[:-12], (name,), MIB).cut
    assert unpack(packed + b"\0\0\0\0", (name,), MIB) == Unpacked(body)
    assert unpack(packed, (name,), 300_003) == Unpacked(body[:300_003], larger=True)
    with pytest.raises(BadCoding):
        unpack(packed + pack(b"")[: 2 if name != "zstd" else 4] + b"\x0f" * 40, (name,), MIB)


def test_a_skippable_zstd_frame_is_skipped() -> None:
    skippable = b"\x5a\x2a\x4d\x18" + struct.pack("<I", 7) + b"ignored"
    assert unpack(skippable + zstd.compress(b"text") + skippable, ("zstd",), MIB) == Unpacked(b"text")


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_streams_without_number_are_refused_soon(kind: str) -> None:
    """A megabyte of empty members costs what some thousand cost, not the square of it."""
    name, pack, _ = KINDS[kind]
    started = time.process_time()
    with pytest.raises(BadCoding, match="more than 10,000 streams"):
        unpack(pack(b"") * (4 * MIB // len(pack(b""))), (name,), MIB)
    assert time.process_time() - started < 10


@pytest.mark.parametrize(
    ("codings", "packers"),
    [
        (("gzip", "br"), ("gzip", "br")),
        (("br", "gzip"), ("br", "gzip")),
        (("gzip", "gzip"), ("gzip", "gzip")),
        (("deflate", "zstd", "gzip", "br", "x-gzip"), ("zlib", "zstd", "gzip", "br", "gzip")),
        (("utf-8", "gzip"), ("gzip",)),
        (("gzip", "utf-8"), ("gzip",)),
        (("zip", "binary", "gzip", "7bit"), ("gzip",)),
    ],
)
def test_codings_are_removed_from_the_last_to_the_first(codings: tuple[str, ...], packers: tuple[str, ...]) -> None:
    """Whatever is no coding is passed over."""
    body = packed = b"<p>text</p>" * 500
    for packer in packers:
        packed = KINDS[packer][1](packed)
    assert unpack(packed, codings, MIB) == Unpacked(body)


@pytest.mark.parametrize(
    "name", ["utf-8", "binary", "aws-chunked", "7bit", "zip", "compress", "x-foo", "gzip;q=1", "*"]
)
def test_an_unknown_coding_is_left_alone(name: str) -> None:
    """As it is, even if it is larger than the limit: that was looked at as it came."""
    assert unpack(b"text" * 100, (name,), 10) == Unpacked(b"text" * 100)


def test_what_an_unknown_coding_hides_is_left_alone() -> None:
    """`gzip, zip`: what is left of it is no gzip that we could see; `zip, gzip`: gzip can be removed."""
    assert unpack(b"PK\3\4 a zip", ("gzip", "zip"), MIB) == Unpacked(b"PK\3\4 a zip")
    assert unpack(gzip.compress(b"PK\3\4 a zip"), ("zip", "gzip"), MIB) == Unpacked(b"PK\3\4 a zip")
    with pytest.raises(BadCoding):
        unpack(b"PK\3\4 a zip", ("zip", "gzip"), MIB)


def test_more_codings_than_anybody_uses_are_refused() -> None:
    packed = b"text"
    for _ in range(6):
        packed = gzip.compress(packed)
    with pytest.raises(BadCoding, match="more than 5"):
        unpack(packed, ("gzip",) * 6, MIB)


def test_a_body_without_a_byte_is_whole() -> None:
    """Servers say `Content-Encoding: gzip` over nothing; also where an outer coding holds nothing."""
    assert unpack(b"", ("gzip", "br"), MIB) == Unpacked(b"")
    assert unpack(gzip.compress(b""), ("br", "gzip"), MIB) == Unpacked(b"")


def test_a_wrong_checksum_is_seen() -> None:
    for name, packed in (
        ("gzip", gzip.compress(b"text")),
        ("deflate", zlib.compress(b"text")),
        ("zstd", zstd_checked(b"text")),
    ):
        with pytest.raises(BadCoding):
            unpack(packed[:-1] + bytes([packed[-1] ^ 1]), (name,), MIB)


@every_kind
def test_a_bomb_takes_little_memory(name: str, pack: Pack, spare: int) -> None:
    """40 MB in some bytes: no more is unpacked than the limit, with one copy of it."""
    bomb = pack(bytes(40_000_000))
    tracemalloc.start()
    unpacked = unpack(bomb, (name,), 4 * MIB)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (len(unpacked.body), unpacked.larger) == (4 * MIB, True)
    assert peak < 12 * MIB


def test_a_bomb_in_a_bomb_takes_little_memory() -> None:
    """What comes out of the outer one is limited too."""
    bomb = gzip.compress(gzip.compress(bytes(40 * MIB)) + bytes(40 * MIB))
    tracemalloc.start()
    unpacked = unpack(bomb, ("gzip", "gzip"), 4 * MIB)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (len(unpacked.body), unpacked.larger) == (4 * MIB, True)
    assert peak < 20 * MIB


def test_a_zstd_frame_may_not_ask_for_a_huge_window() -> None:
    """128 MiB of window would be that much memory; browsers refuse more than 8."""
    options: dict[int, int] = {zstd.CompressionParameter.window_log: 27, zstd.CompressionParameter.content_size_flag: 0}
    packer = zstd.ZstdCompressor(options=options)
    with pytest.raises(BadCoding, match="too much memory"):
        unpack(packer.compress(b"text" * 1000) + packer.flush(), ("zstd",), MIB)


@pytest.mark.parametrize(
    ("head", "names"),
    [
        (b"", ()),
        (b"Content-Type: text/html\r\nContent-Length: 3\r\n", ()),
        (b"Content-Encoding: gzip\r\n", ("gzip",)),
        (b"content-encoding:GZIP\nX: y\n", ("gzip",)),
        (b"A: b\r\nCONTENT-ENCODING :\t x-gzip , BR \r\nC: d\r\n", ("x-gzip", "br")),
        (b"Content-Encoding: gzip\r\nX: y\r\nContent-Encoding: br\r\n", ("gzip", "br")),
        (b"Content-Encoding: , gzip,, identity ,\r\n", ("gzip",)),
        (b"Content-Encoding: identity\r\n", ()),
        (b"Content-Encoding:\r\nX: gzip\r\n", ()),
        (b"X-Orig-Content-Encoding: gzip\r\nX: Content-Encoding: gzip\r\n", ()),
        (b"Content-Encoding: UTF-8\r\n", ("utf-8",)),
        (b"Content-Encoding: gzip \xff\r\n", ("gzip \xff",)),
    ],
)
def test_the_header_lines_name_the_codings(head: bytes, names: tuple[str, ...]) -> None:
    """Lists and repeated lines are one list, in order; capitals and empty elements do not matter."""
    assert codings_of(head) == names


def test_every_coding_that_is_asked_for_is_known() -> None:
    from sheaf.tasks.load.transfer import _KEPT, _UNPACKED

    assert {*_UNPACKED.split(", "), _KEPT} <= set(coding._UNPACKERS)
