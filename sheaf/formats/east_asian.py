"""The standard's decoders of Chinese, Japanese and Korean text: Python's codecs, and what browsers read differently.

Python's codec does the work. Where it finds nothing, the standard's own steps say what is there and where reading
goes on (an error handler); where it finds another character than browsers do, that is exchanged afterwards.
"""

from __future__ import annotations

import codecs
import re
import threading
from collections.abc import Callable, Iterator

_UNKNOWN = "\ufffd"
#: What a text may cost that Python's codec stops at: 0.1 s of faults, or 1 s of characters that it does not know.
_BUDGET = 500_000
_FAULT = 10
#: Pieces of ISO-2022-JP that are looked at one by one.
_MOST_PIECES = 200_000
_left = threading.local()
#: The set bit of every byte of EUC's double bytes.
_HIGH = bytes(byte | 0x80 for byte in range(256))

#: HKSCS-2008, which Python does not have: 0x877A to 0x87DF.
_HKSCS_2008 = (
    "㡵𡵓𣚞𦀡㻬𥣞㫵竼龗𤅡𨤍𣇪𠪊𣉞䌊蒄龖鐯䤰蘓墖靊鈘秐稲晠権袝瑌篅枂稬剏遆"
    "㓦珄𥶹瓆鿇垳䤯呌䄱𣚎堘穲𧭥讏䚮𦺈䆁𥶙箮𢒼鿈𢓁𢓉𢓌鿉蔄𣖻䂴鿊䓡𪷿拁灮鿋"
)
#: Codes of HKSCS-1999 that later editions gave up, since Big5 has these characters at another code: browsers read them.
_HKSCS_GIVEN_UP = """
    8E69箸 8E6F簆 8E7E糎 8EAB緒 8EB4縝 8ECD者 8ED0耨 8F57菁 8F69蒨 8F6E萏 8FCB覦 8FCC覩 8FFE起 906D都 907A銹 90DC靜
    90F1響 91BF鼖 9244蔃 92AF兙 92B0兛 92B1兝 92B2兞 92C8鍮 92D1瑹 9447浧 94CA禛 95D9邗 9644靝 96ED瀞 96FC嬨 9B76爁
    9B78矗 9B7B纇 9BC6駖 9BDE釔 9BEC惞 9BF6澶 9C42輶 9C53侻 9C62營 9C68鄄 9C6B鷰 9C77菏 9CBC尐 9CBD秣 9CD0婧 9D57輋
    9D5A筑 9DC4拐 9EA9恢 9EEF痹 9EFD汊 9F60鬮 9F66鼗 9FCB僭 9FD8弌 A063蠏 A077拎 A0D5瑨 A0DF煢 A0E4牐 C6CF廴 C6D3无
    C6D5癶 C6D7隶 C6DE〃 C6DF仝 FA5F倩 FA66偽 FABD包 FAC5卄 FAD5卿 FB48嘅 FBB8婷 FBF3幵 FBF9廐 FC4F彘 FC6C悤 FCB9撐
    FCE2晴 FCF1杞 FDB7沜 FDB8渝 FDBB港 FDF1煮 FE52猪 FE6F瑜 FEAA瓩 FEDD砉
"""
_BIG5_TRAILS = (*range(0x40, 0x7F), *range(0xA1, 0xFF))
#: What Python's EUC-JP reads otherwise than its own cp932, which browsers agree with.
_JIS_SIGNS = dict(zip("\u301c\u2016\u2212¢£¬", "\uff5e\u2225\uff0d￠￡￢", strict=True))
#: GB 18030 of 2022, and the ideographic space at 0xA3A0. Python has the edition of 2000.
_GB_2022 = str.maketrans(
    dict(zip(map(chr, range(0xE78D, 0xE797)), "︐︒︑︓︔︕︖︗︘︙", strict=True))
    | dict(zip("\ue81e\ue826\ue82b\ue82c\ue832\ue843\ue854\ue864", map(chr, range(0x9FB4, 0x9FBC)), strict=True))
    | {"\ue5e5": "\u3000", "\ue7c7": "ḿ", "ḿ": "\ue7c7"}
)
_GB_CHANGED = [chr(code) for code in _GB_2022]


def _big5_additions() -> dict[bytes, str]:
    """Double bytes that Python's codec refuses."""
    run = [bytes([0x87, trail]) for trail in _BIG5_TRAILS if trail >= 0x7A]
    found = dict(zip(run, _HKSCS_2008, strict=False))
    found |= {bytes.fromhex(entry[:4]): entry[4:] for entry in _HKSCS_GIVEN_UP.split()}
    # Pictures of the control characters.
    found |= {bytes([0xA3, 0xC0 + code]): chr(0x2400 + code) for code in range(0x20)}
    found |= {b"\xa3\xe0": "␡", b"\xa3\xe1": "€"}
    return found


def _big5_signs() -> dict[bytes, str]:
    """Signs of the first two rows, where browsers agree with Microsoft's code page."""
    pairs = [bytes([lead, trail]) for lead in (0xA1, 0xA2) for trail in _BIG5_TRAILS]
    read = {pair: (pair.decode("cp950", "replace"), pair.decode("big5hkscs", "replace")) for pair in pairs}
    return {pair: ours for pair, (ours, pythons) in read.items() if ours not in (pythons, _UNKNOWN)}


def _pairs(additions: dict[bytes, str], leads: frozenset[int]) -> Callable[[UnicodeError], tuple[str, int]]:
    """The error handler of an encoding whose characters are one or two bytes."""

    def handle(error: UnicodeError) -> tuple[str, int]:
        data, start = _place(error)
        pair = data[start : start + 2]
        if pair in additions:
            return additions[pair], start + 2
        _pay(_FAULT)
        # A trail that is ASCII is read again by itself: a broken character eats no markup.
        return _UNKNOWN, start + (2 if len(pair) == 2 and pair[0] in leads and pair[1] >= 0x80 else 1)

    return handle


def _place(error: UnicodeError) -> tuple[bytes, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    _pay(1)
    return error.object, error.start


class _TooBroken(Exception):
    """What claims to be a text in this encoding is none: enough time has gone into it."""


def _pay(price: int) -> None:
    _left.budget -= price
    if _left.budget < 0:
        raise _TooBroken


def _by(codec: str, errors: str, rough: str, body: bytes) -> str:
    """Decode by the standard's steps; from this many faults on, as Python does, which is a hundred times as fast."""
    _left.budget = _BUDGET
    try:
        return body.decode(codec, errors)
    except _TooBroken:
        return body.decode(rough, "replace")


def _euc_jp_error(error: UnicodeError) -> tuple[str, int]:
    data, start = _place(error)
    lead, trail, third = data[start], *(*data[start + 1 : start + 3], -1, -1)[:2]
    if _is_high(lead) and _is_high(trail):
        character = _row_by_cp932(lead - 0xA0, trail - 0xA0)
        if character != _UNKNOWN:
            return character, start + 2
    _pay(_FAULT)
    if trail < 0x80 or not (_is_high(lead) or lead in (0x8E, 0x8F)):
        return _UNKNOWN, start + 1
    if lead == 0x8F and _is_high(trail):
        return _UNKNOWN, start + (2 if third < 0x80 else 3)
    return _UNKNOWN, start + 2


def _is_high(byte: int) -> bool:
    return 0xA1 <= byte <= 0xFE


def _row_by_cp932(row: int, cell: int) -> str:
    """A character of JIS X 0208 with NEC's and IBM's rows, which Python has in Shift_JIS only."""
    lead = (row + 1) // 2 + (0x80 if row <= 62 else 0xC0)
    trail = cell + (0x9E if row % 2 == 0 else 0x3F if cell <= 63 else 0x40)
    return bytes([lead, trail]).decode("cp932", "replace")[:1]


def _gb18030_error(error: UnicodeError) -> tuple[str, int]:
    data, start = _place(error)
    lead, second, third, fourth = data[start], *(*data[start + 1 : start + 4], -1, -1, -1)[:3]
    if lead == 0x80:
        return "€", start + 1
    _pay(_FAULT)
    if lead == 0xFF or second < 0:
        return _UNKNOWN, start + 1
    if not _is_digit(second):
        return _UNKNOWN, start + (1 if second < 0x80 else 2)
    if third < 0 or (0x81 <= third <= 0xFE and (fourth < 0 or _is_digit(fourth))):
        return _UNKNOWN, min(start + 4, len(data))
    return _UNKNOWN, start + 1


def _is_digit(byte: int) -> bool:
    return 0x30 <= byte <= 0x39


_BIG5_SIGNS = _big5_signs()
#: Those of them that Python has at another code as well, which is right.
_BIG5_AMBIGUOUS = {pair: sign for pair, sign in _BIG5_SIGNS.items() if pair in (b"\xa2\x41", b"\xa2\x42")}
_BIG5_EXCHANGED = {pair.decode("big5hkscs"): sign for pair, sign in _BIG5_SIGNS.items() if pair not in _BIG5_AMBIGUOUS}
_BIG5_DOUBTFUL = {pair.decode("big5hkscs") for pair in _BIG5_AMBIGUOUS}
#: A Big5 text up to one of those signs, or to its end.
_BIG5_PIECE = re.compile(rb"((?:[\x81-\xfe].|.)*?)(\xa2[\x41\x42]|\Z)", re.DOTALL)
codecs.register_error("sheaf_big5", _pairs(_big5_additions(), frozenset(range(0x81, 0xFF))))
codecs.register_error("sheaf_euc_kr", _pairs({}, frozenset(range(0x81, 0xFF))))
codecs.register_error("sheaf_shift_jis", _pairs({}, frozenset((*range(0x81, 0xA0), *range(0xE0, 0xFD)))))
codecs.register_error("sheaf_euc_jp", _euc_jp_error)
codecs.register_error("sheaf_gb18030", _gb18030_error)


def _big5(body: bytes) -> str:
    text = _big5_piece(body)
    if not any(sign in text for sign in _BIG5_DOUBTFUL):
        return text
    return "".join(_big5_piece(piece) + _BIG5_AMBIGUOUS.get(sign, "") for piece, sign in _BIG5_PIECE.findall(body))


def _big5_piece(body: bytes) -> str:
    return _exchanged(_by("big5hkscs", "sheaf_big5", "big5hkscs", body), _BIG5_EXCHANGED)


def _gb18030(body: bytes) -> str:
    text = _by("gb18030", "sheaf_gb18030", "gbk", body)
    return text.translate(_GB_2022) if any(sign in text for sign in _GB_CHANGED) else text


def _euc_kr(body: bytes) -> str:
    return _by("cp949", "sheaf_euc_kr", "cp949", body)


def _shift_jis(body: bytes) -> str:
    text = _by("cp932", "sheaf_shift_jis", "cp932", body)
    # Python gives the bytes A0, FD, FE and FF to private characters.
    return _exchanged(text, dict.fromkeys("\uf8f0\uf8f1\uf8f2\uf8f3", _UNKNOWN))


#: The one character of JIS X 0212 that Python reads as ASCII.
_TILDE = b"\x8f\xa2\xb7"
_EUC_JP_CHARACTER = re.compile(rb"\x8f[\xa1-\xfe].|[\x8e\x8f\xa1-\xfe].|.", re.DOTALL)


def _euc_jp(body: bytes) -> str:
    if b"\x8f" in body and _TILDE in body:
        body = _EUC_JP_CHARACTER.sub(lambda found: b"\xa1\xc1" if found[0] == _TILDE else found[0], body)
    return _exchanged(_by("euc_jp", "sheaf_euc_jp", "euc_jp", body), _JIS_SIGNS)


def _exchanged(text: str, signs: dict[str, str]) -> str:
    for pythons, ours in signs.items():
        if pythons in text:
            text = text.replace(pythons, ours)
    return text


_ESCAPE = re.compile(rb"\x1b(\([BJI]|\$[@B])")
_PAIR = re.compile(rb"((?:[\x21-\x7e]{2})++)|[\x21-\x7e][^\x1b]|([^\x21-\x7e]++)|.", re.DOTALL)
_ASCII = "".join(chr(byte) if byte < 0x80 and byte not in (0x0E, 0x0F, 0x1B) else _UNKNOWN for byte in range(256))
_ROMAN = _ASCII.translate({0x5C: "¥", 0x7E: "‾"})
_KATAKANA = "".join(chr(0xFF40 + byte) if 0x21 <= byte <= 0x5F else _UNKNOWN for byte in range(256))
_TABLES = {b"(B": _ASCII, b"(J": _ROMAN, b"(I": _KATAKANA}


#: Double bytes between two escapes, and what is not to be found beside them in a text without faults.
_DOUBLE_BYTES = re.compile(rb"\x1b\$[@B]((?:[\x21-\x7e]{2})++)\x1b\(B")
_FAULTS = (b"\x1b(B\x1b", b"\x0e", b"\x0f")


def _iso_2022_jp(body: bytes) -> str:
    if body.isascii() and not any(fault in body for fault in _FAULTS):
        parts = _DOUBLE_BYTES.split(body)
        parts[1::2] = [part.translate(_HIGH) for part in parts[1::2]]
        as_euc = b"".join(parts)
        if b"\x1b" not in as_euc:
            return _euc_jp(as_euc)
    parts = _ESCAPE.split(body)
    return "".join(_in_states(parts)) if len(parts) <= _MOST_PIECES else body.decode("iso2022_jp", "replace")


def _in_states(parts: list[bytes]) -> Iterator[str]:
    """The text between two escapes, each in the state that the first one sets."""
    state, written = b"(B", True
    for text, following in zip(parts[::2], [*parts[1::2], None], strict=True):
        yield _by_state(text, state)
        if following is not None:
            # Two escapes with nothing between them can hide what is there.
            written = written or bool(text)
            if not written:
                yield _UNKNOWN
            state, written = following, False


def _by_state(text: bytes, state: bytes) -> str:
    table = _TABLES.get(state)
    if table is not None:
        return codecs.charmap_decode(text, "strict", table)[0]
    return "".join(_double_bytes(text))


def _double_bytes(text: bytes) -> Iterator[str]:
    for found in _PAIR.finditer(text):
        yield _euc_jp(found[1].translate(_HIGH)) if found[1] else _UNKNOWN * len(found[2] or b"1")


DECODERS: dict[str, Callable[[bytes], str]] = {
    "big5": _big5,
    "euc-jp": _euc_jp,
    "euc-kr": _euc_kr,
    "gb18030": _gb18030,
    "gbk": _gb18030,
    "iso-2022-jp": _iso_2022_jp,
    "shift_jis": _shift_jis,
}
