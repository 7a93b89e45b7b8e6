"""The decoders are those of the WHATWG Encoding Standard: all labels, and every sequence of one and of two bytes."""

import hashlib
import itertools

import pytest
import webencodings
from hypothesis import given
from hypothesis import strategies as st

from sheaf.formats import east_asian
from sheaf.formats.decoders import decode, name_of
from tests.patches import noting

#: What a browser's implementation makes of all sequences, one a line (docs/decisions/0041-charsets.md says how): the
#: 256 bytes of a single-byte encoding; the 65,536 pairs of one that has longer characters.
DIGESTS = {
    "ibm866": "e4d6ff5ca5ada13a",
    "iso-8859-2": "f06000761c8bcf26",
    "iso-8859-3": "202a1b363622d2ae",
    "iso-8859-4": "f7076eceae60e496",
    "iso-8859-5": "93b826201406f5c1",
    "iso-8859-6": "7bd8ab9b93da30d5",
    "iso-8859-7": "6990b4f2c0f41585",
    "iso-8859-8": "3fece254a648dccd",
    "iso-8859-8-i": "3fece254a648dccd",
    "iso-8859-10": "4f9e6ea68a80234a",
    "iso-8859-13": "e0dc2e83c4600e7f",
    "iso-8859-14": "cc0467a122c68308",
    "iso-8859-15": "02da73e6cb687359",
    "iso-8859-16": "1695e6848a2fa540",
    "koi8-r": "4864274e118185ef",
    "koi8-u": "0fdfdda8e9261a58",
    "macintosh": "07da6af6067c9558",
    "windows-874": "17408160a539642a",
    "windows-1250": "01dd09bae2d209f4",
    "windows-1251": "64bc96a197c74f59",
    "windows-1252": "d486335e5257b059",
    "windows-1253": "9e4c70ccbbd0778f",
    "windows-1254": "390edd6fb0372487",
    "windows-1255": "eb0725777360879e",
    "windows-1256": "5526d72d1fce45fa",
    "windows-1257": "6df262bb978fac4d",
    "windows-1258": "4744ca2fc1f4eb72",
    "x-mac-cyrillic": "ce302a812a98d7f3",
    "x-user-defined": "eeb486ac8bd5c248",
    "big5": "ec621ceb1094a9b1",
    "euc-jp": "66802c6bd1d66452",
    "euc-kr": "27488a4d4668752a",
    "gbk": "1dd35f80b77a7c0b",
    "gb18030": "1dd35f80b77a7c0b",
    "iso-2022-jp": "b4b08b6a3b96c197",
    "shift_jis": "14721cbbc643d1d8",
}
PAIRS = [bytes(pair) for pair in itertools.product(range(256), repeat=2)]
LONGER = {
    "three bytes of EUC-JP": ("euc-jp", [b"\x8f" + pair for pair in PAIRS], "b3e8ef6e7f7b761f"),
    "pairs after an escape": ("iso-2022-jp", [b"\x1b$B%s\x1b(BA" % pair for pair in PAIRS], "dd580ca80113b79a"),
    "Roman of ISO-2022-JP": ("iso-2022-jp", [b"\x1b(J%cA" % byte for byte in range(256)], "011943639964f004"),
    "katakana of ISO-2022-JP": ("iso-2022-jp", [b"\x1b(I%cA" % byte for byte in range(256)], "5687f44e4788cd27"),
}


def digest_of(name: str, sequences: list[bytes]) -> str:
    return hashlib.sha256("\n".join(decode(each, name) for each in sequences).encode()).hexdigest()[:16]


@pytest.mark.parametrize("name", DIGESTS)
def test_every_short_sequence_is_read_as_browsers_read_it(name: str) -> None:
    """Also those that mean nothing: how many U+FFFD there are, and where reading goes on."""
    double = name in ("big5", "euc-jp", "euc-kr", "gbk", "gb18030", "iso-2022-jp", "shift_jis")
    sequences = PAIRS if double else [bytes([byte]) for byte in range(256)]
    assert digest_of(name, sequences) == DIGESTS[name]


@pytest.mark.parametrize("what", LONGER)
def test_longer_characters_are_read_as_browsers_read_them(what: str) -> None:
    """Three bytes, and what an escape changes."""
    name, sequences, digest = LONGER[what]
    assert digest_of(name, sequences) == digest


def test_all_four_byte_characters_of_gb18030_are_read_as_browsers_read_them() -> None:
    """Each is four bytes long, whether it means something or not: many can be read in one go."""
    leads, digits = range(0x81, 0xFF), range(0x30, 0x3A)
    blocks = [b"".join(map(bytes, itertools.product([lead], digits, leads, digits))) for lead in leads]
    text = "".join(decode(block, "gb18030") for block in blocks)
    assert hashlib.sha256("\n".join(text).encode()).hexdigest()[:16] == "3c5607f64db33637"


@pytest.mark.parametrize(
    ("label", "body", "text"),
    [
        ("x-euc-jp", b"\xc6\xfc\xcb\xdc\xb8\xec", "日本語"),
        ("euc-jp", b"A\xad\xa1\xad\xe2\xfc\xeeB", "A①№黑B"),
        ("euc-jp", b"\xad\xea\xa1\xc1\x8f\xa2\xb7~", "㈱\uff5e\uff5e~"),
        ("euc-jp", b"\xa4\x8f\xa2\xb7", "\ufffd\ufffd"),
        ("iso-2022-jp", b"\x1b$B-!-j\x1b(B<b>", "①㈱<b>"),
        ("iso-2022-jp", b"\x1b$B\x1b(B<b>", "\ufffd<b>"),
        ("iso-2022-jp", b"\x1b(J\\~\x1b(I1\x1b[", "¥‾\uff71\ufffd\uff9b"),
        ("shift_jis", b"\x87\x40\xfa\x55<\xa0\x81<", "①\uffe4<\ufffd\ufffd<"),
        ("big5", b"\xa1\x45\xa1\x4e\xa2\x41\xa1\xfe", "‧﹑\u2215\uff0f"),
        ("big5", b"\x87\x7a\x8e\x69\x88\x62\xa3\xe1", "㡵箸Ê̄€"),
        ("big5-hkscs", b"\xfa\x40\xa2\x41", "𠕇\u2215"),
        ("euc-kr", b"\x8c\x63\xb6\x5b<", "똠\ufffd[<"),
        ("gb_2312", b"\xd6\xd0\xce\xc4\x80", "中文€"),
        ("gb18030", b"\xa3\xa0\xa6\xd9\xa8\xbc\x81\x35\xf4\x37", "\u3000︐ḿ\ue7c7"),
        ("gb18030", b"\x81\x30<b>\x81\x30\x81", "\ufffd0<b>\ufffd"),
        ("koi8-ru", b"\xae\xbe\xa4", "ўЎє"),
        ("windows-1255", b"\xca\x81", "\u05ba\x81"),
        ("x-user-defined", b"a\x80\xff", "a\uf780\uf7ff"),
        ("iso-2022-kr", b"<script>\x0e", "\ufffd"),
        ("hz-gb-2312", b"", ""),
        ("utf-16", b"\x00\xd8a\x00b", "\ufffda\ufffd"),
        ("unicodefffe", b"\x00a\xdc\x00", "a\ufffd"),
        ("visual", b"\xf9\xec", "של"),
        (" UTF8\n", b"\xc3\xa4\xff", "ä\ufffd"),
    ],
)
def test_a_label_means_what_browsers_take_it_to_mean(label: str, body: bytes, text: str) -> None:
    """Row 13 of NEC, the rows of IBM, HKSCS, GB 18030 of 2022; a broken character eats no markup."""
    name = name_of(label)
    assert name is not None
    assert decode(body, name) == text


def test_all_labels_of_the_standard_are_known_and_no_others() -> None:
    """228 of them, for 40 encodings, each of which can decode whatever comes."""
    names = {name_of(label) for label in webencodings.LABELS}
    assert (len(webencodings.LABELS), len(names)) == (228, 40)
    assert all(decode(bytes(range(256)), str(name)).encode() for name in names)
    assert [name_of(label) for label in ("hex", "idna", "utf-7", "utf-32", "cp037", "", "ﬀ", "\u212aoi8-r")] == [
        None
    ] * 8


@given(st.sampled_from(sorted({str(name_of(label)) for label in webencodings.LABELS})), st.binary())
def test_decoding_never_fails(name: str, body: bytes) -> None:
    """And what comes out can be written as UTF-8, nowhere longer than a character a byte (Big5 has two of two)."""
    assert len(decode(body, name).encode().decode()) <= len(body)


@pytest.mark.parametrize("name", ["big5", "euc-jp", "euc-kr", "gb18030", "shift_jis"])
def test_a_body_that_is_no_text_costs_little(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten megabytes of faults would keep a process busy for half a minute: Python reads on after 50,000 of them."""
    looked_at: list[int] = []
    watched = noting(east_asian._place, lambda error: looked_at.append(error.start))
    monkeypatch.setattr(east_asian, "_place", watched)
    assert set(decode(b"\x81 " * 200_000, name)) == {"\ufffd", " "}
    assert 10_000 < len(looked_at) < 60_000
