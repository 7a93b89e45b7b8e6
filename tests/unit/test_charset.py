"""Pages' bytes become the characters that a browser would show."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sheaf.formats import Exchange, Page, format_for
from sheaf.formats.charset import as_utf8, decode, is_text
from sheaf.run.items import Item

HTML = "text/html"
META = b'<html><head><meta charset="%s"></head><body>'


@pytest.mark.parametrize(
    ("content_type", "body", "text", "charset", "source"),
    [
        (HTML, b"\xef\xbb\xbf\xc3\xa4", "ä", "utf-8", "bom"),
        (f"{HTML}; charset=iso-8859-1", b"\xef\xbb\xbf\xc3\xa4", "ä", "utf-8", "bom"),
        (HTML, b"\xff\xfe\xe4\x00", "ä", "utf-16le", "bom"),
        (HTML, b"\xfe\xff\x00\xe4", "ä", "utf-16be", "bom"),
        (f"{HTML}; charset=utf-8", b"\xc3\xa4\xff", "ä\ufffd", "utf-8", "header"),
        (f"{HTML}; charset=iso-8859-1", b"\x80\xe4\x93", "€ä“", "windows-1252", "header"),
        (f"{HTML};charset='latin1'", b"\x80", "€", "windows-1252", "header"),
        (f"{HTML}; charset=ascii", b"\xe4", "ä", "windows-1252", "header"),
        (f"{HTML}; charset=windows-1252", b"\x81\xe4", "\x81ä", "windows-1252", "header"),
        (f"{HTML}; charset=iso-8859-9", b"\xf0", "ğ", "windows-1254", "header"),
        (f"{HTML}; charset=gb2312", "€𠀀龦".encode("gb18030"), "€𠀀龦", "gbk", "header"),
        (f"{HTML}; charset=GBK", "中文".encode("gbk"), "中文", "gbk", "header"),
        (f"{HTML}; charset=shift_jis", "①日本".encode("cp932"), "①日本", "shift_jis", "header"),
        (f"{HTML}; charset=euc-kr", "똠한".encode("cp949"), "똠한", "euc-kr", "header"),
        (f"{HTML}; charset=big5", "香港".encode("big5hkscs"), "香港", "big5", "header"),
        (f"{HTML}; charset=koi8-r", "Привет".encode("koi8-r"), "Привет", "koi8-r", "header"),
        (f"{HTML}; charset=iso-2022-jp", "日本".encode("iso2022_jp"), "日本", "iso-2022-jp", "header"),
        (f"{HTML}; charset=utf-16", "ä".encode("utf-16-le"), "ä", "utf-16le", "header"),
        (HTML, META % b"windows-1251" + b"\xcf", "П", "windows-1251", "declaration"),
        (HTML, META % b"x-gbk" + "中文".encode("gbk"), "中文", "gbk", "declaration"),
        (HTML, META % b"utf-16" + b"\xc3\xa4", "ä", "utf-8", "declaration"),
        (
            HTML,
            b'<meta http-equiv="Content-Type" content="text/html; charset=iso-8859-2"><b>\xb1',
            "ą",
            "iso-8859-2",
            "declaration",
        ),
        ("text/xml", b'<?xml version="1.0" encoding="iso-8859-1"?><a>\xe4', "ä", "windows-1252", "declaration"),
        (HTML, b"<!-- <meta charset=koi8-r> --><p>\xc3\xa4", "ä", "utf-8", "guess"),
        (HTML, b"<p>\xe4 caf\xe9", "ä café", "windows-1252", "guess"),
        (HTML, b"<p>\xc3\xa4 cut \xe2\x82", "ä cut \ufffd", "utf-8", "guess"),
        ("text/plain", META % b"koi8-r" + b"\xc3\xa4", "ä", "utf-8", "guess"),
        (f"{HTML}; charset=nonsense", META % b"koi8-r" + b"\xcf", "\u043e", "koi8-r", "declaration"),
        (None, META % b"koi8-r" + b"\xcf", "\u043e", "koi8-r", "declaration"),
    ],
)
def test_a_page_is_decoded_as_browsers_do(
    content_type: str | None, body: bytes, text: str, charset: str, source: str
) -> None:
    """BOM before header before declaration before guess; labels mean what browsers take them to mean."""
    decoded = decode(body, content_type)
    assert decoded.text.endswith(text)
    assert (decoded.charset, decoded.source) == (charset, source)


@pytest.mark.parametrize(
    ("body", "truncated", "text", "charset"),
    [
        (b"caf\xe9", None, "café", "windows-1252"),
        (b"caf\xc3", "length", "caf\ufffd", "utf-8"),
        (b"caf\xe9!", "length", "café!", "windows-1252"),
        (b"\xc3\xa4 caf\xc3", None, "ä caf\ufffd", "utf-8"),
    ],
)
def test_half_a_character_at_the_end_is_utf8_where_a_page_was_cut(
    body: bytes, truncated: str | None, text: str, charset: str
) -> None:
    """One odd byte at the end of a whole page is a letter of another encoding."""
    exchange = Exchange(
        url="http://x/",
        request=b"",
        protocol="http/1.1",
        status=200,
        reason="OK",
        head=b"Content-Type: text/html\r\n",
        body=body,
        ip="192.0.2.1",
        started=0.0,
        elapsed_s=0.0,
        truncated=truncated,
    )
    page = Page(Item(0, "http://x/"), [exchange])
    record = json.loads(format_for("p.jsonl").page(page))
    assert (record["text"], record["charset"]) == (text, charset)
    assert format_for("p.txt").page(page).endswith(f"\n{text}\n".encode())


@pytest.mark.parametrize(
    "label", ["hex", "base64", "idna", "punycode", "undefined", "unicode_escape", "utf-7", "rot13"]
)
def test_a_codec_that_no_browser_knows_is_ignored(label: str) -> None:
    """Python has codecs that raise, or that turn text into other text; a page cannot choose them."""
    assert decode(b"+ADw-\xc3\xa4", f"{HTML}; charset={label}").text == "+ADw-ä"
    assert decode(META % label.encode() + b"\xc3\xa4", HTML).text.endswith("ä")


@given(st.binary(), st.text() | st.none())
def test_decoding_never_fails(body: bytes, content_type: str | None) -> None:
    """Whatever a server sends, there is a text, and it can be written as UTF-8."""
    decode(body, content_type).text.encode()
    decode(META % b"shift_jis" + body, content_type).text.encode()


@given(
    st.binary() | st.text().map(str.encode) | st.text().map(lambda text: b"\xef\xbb\xbf" + text.encode()),
    st.sampled_from([None, HTML, "text/plain", f"{HTML}; charset=utf-8", f"{HTML}; charset=koi8-r", "nonsense"]),
    st.sampled_from([b"", META % b"utf-8", META % b"shift_jis", META % b"utf-16"]),
)
def test_utf8_that_is_kept_as_it_is_equals_the_decoded_text(body: bytes, content_type: str | None, head: bytes) -> None:
    """Whether the bytes are passed through or decoded and encoded, the combined file holds the same."""
    for whole in (body, head + body, body + head):
        assert as_utf8(whole, content_type) == decode(whole, content_type).text.encode()


@pytest.mark.parametrize("content_type", [HTML, f"{HTML}; charset=utf-8", None])
def test_a_body_in_utf8_is_not_copied(content_type: str | None) -> None:
    """The fast path is taken: the very same object comes back."""
    body = "<p>Straße 日本".encode()
    assert as_utf8(body, content_type) is body


@pytest.mark.parametrize(
    ("content_type", "body", "expected"),
    [
        ("text/html; charset=x", b"", True),
        ("application/json", b"", True),
        ("application/ld+json", b"", True),
        ("image/svg+xml", b"", True),
        ("application/xhtml+xml;charset=utf-8", b"", True),
        ("application/javascript", b"", True),
        ("image/png", b"hello", False),
        ("application/octet-stream", b"hello", False),
        ("application/pdf", b"%PDF", False),
        (None, b"hello", True),
        (None, b"\x89PNG\0", False),
        ("nonsense", b"hello", True),
    ],
)
def test_text_is_told_from_other_bytes(content_type: str | None, body: bytes, expected: bool) -> None:
    """By the media type, and where there is none, by the first bytes."""
    assert is_text(content_type, body) is expected
