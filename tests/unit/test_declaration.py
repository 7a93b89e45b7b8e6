"""What a page's first bytes, and its Content-Type lines, say about its encoding."""

import pytest

from sheaf.formats.declaration import declared
from sheaf.formats.media_type import charset_of, combined
from sheaf.formats.page import Exchange


@pytest.mark.parametrize(
    ("start", "name"),
    [
        (b"<meta charset=koi8-r>", "koi8-r"),
        (b"<META/CHARSET = 'KOI8-R'/>", "koi8-r"),
        (b'<meta a=">" charset="koi8-r">', "koi8-r"),
        (b"<meta charset=utf-16be>", "utf-8"),
        (b"<meta charset=x-user-defined>", "windows-1252"),
        (b"<meta charset=iso-2022-kr>", "replacement"),
        (b"<meta charset=ansi_x3.4-1968>", "windows-1252"),
        (b'<meta http-equiv="Content-Type" content="text/html; charset=big5">', "big5"),
        (b"<meta content='text/html;charset = \"gbk\"' http-equiv=content-type>", "gbk"),
        (b'<meta http-equiv="content-type" content="charset charset=koi8-u;x">', "koi8-u"),
        (b'<meta content="text/html; charset=big5">', None),
        (b'<meta http-equiv=refresh content="charset=big5">', None),
        (b'<meta http-equiv=content-type content="charset=\'big5">', None),
        (b"<meta charset=nonsense><meta charset=gbk>", "gbk"),
        (b"<meta charset=koi8-r charset=gbk>", "koi8-r"),
        (b"<!-- <meta charset=koi8-r> --><meta charset=gbk>", "gbk"),
        (b"<!--><meta charset=koi8-r>-->", "koi8-r"),
        (b"<!-- <meta charset=koi8-r>", None),
        (b'<a title="<meta charset=koi8-r>"><meta charset=gbk>', "gbk"),
        (b"</a title='<meta charset=koi8-r>'><meta charset=gbk>", "gbk"),
        (b"<!doctype '<meta charset=koi8-r>' <meta charset=gbk>", "gbk"),
        (b"<metadata charset=koi8-r>", None),
        (b"<meta charset=koi8-r", None),
        (b"<meta charset='koi8-r>", None),
        (b"charset=koi8-r", None),
        (b" " * 1003 + b"<meta charset=koi8-r>", "koi8-r"),
        (b" " * 2000 + b"<meta charset=koi8-r>", "koi8-r"),
        (b" " * 1020 + b"<script>'<meta charset=gbk>'</script><meta charset=koi8-r>", "koi8-r"),
        (b" " * 4090 + b"<meta charset=koi8-r>", None),
        (b'<?xml version="1.0" encoding="iso-8859-2"?>', "iso-8859-2"),
        (b"<?xml encoding = 'utf-16' ?>", "utf-8"),
        (b' <?xml version="1.0" encoding="iso-8859-2"?>', None),
        (b'<?xml encoding="iso-8859-2"?><meta charset=gbk>', "gbk"),
        (b"<\0?\0x\0m\0", "utf-16le"),
        (b"\0<\0?\0x\0m", "utf-16be"),
    ],
)
def test_a_declaration_is_found_as_browsers_find_it(start: bytes, name: str | None) -> None:
    """The standard's prescan of 1,024 bytes; a later one in the head counts too, since browsers read the page again."""
    assert declared(start + b"\xe4") == name


@pytest.mark.parametrize(
    ("content_type", "charset"),
    [
        ("text/html; charset=koi8-r", "koi8-r"),
        ("text/html;charset='latin1'", "latin1"),
        ('text/html; x="; charset=gbk"; CHARSET="ko\\i8-r"', "koi8-r"),
        ("text/html; charset=koi8-r; charset=gbk", "koi8-r"),
        ("text/html; xcharset=gbk", None),
        ("text/html; charset=", None),
        ("text/html", None),
    ],
)
def test_a_media_type_names_a_charset(content_type: str, charset: str | None) -> None:
    """A parameter of that name, never what is in another one's value."""
    assert charset_of(content_type) == charset


@pytest.mark.parametrize(
    ("values", "content_type"),
    [
        (["text/html; charset=gbk", "text/html; charset=koi8-r"], "text/html; charset=koi8-r"),
        (["text/html; charset=gbk, text/plain"], "text/plain"),
        (["text/html; charset=gbk", "text/html; x=1"], "text/html; x=1;charset=gbk"),
        (["text/html; charset=gbk", "text/plain", "text/html"], "text/html"),
        (["text/html; charset=gbk", "*/*; charset=koi8-r", "nonsense"], "text/html; charset=gbk"),
        (['text/html; x="a,b"; charset=gbk', ""], 'text/html; x="a,b"; charset=gbk'),
        (["nonsense", "more"], "nonsense"),
    ],
)
def test_of_several_content_types_the_last_counts(values: list[str], content_type: str) -> None:
    """As Fetch says, in one line or in several; a charset is taken over from a line of the same type."""
    assert combined(values) == content_type
    head = "".join(f"Content-Type: {value}\r\nX-Other: content-type: a/b\r\n" for value in values).encode()
    assert _exchange(head).content_type == content_type


@pytest.mark.parametrize(
    ("line", "value"),
    [("X: Grüße 日本".encode(), "Grüße 日本"), (b"X: Gr\xfc\xdfe", "Grüße"), (b"X: \x80", "\x80"), (b"X:", "")],
)
def test_a_header_value_is_utf8_if_it_can_be(line: bytes, value: str) -> None:
    """Each line by itself: one that is not UTF-8 reads as Latin-1, the others stay as they are."""
    headers = _exchange("A: é\r\n".encode() + line + b"\r\nB: b\r\n").headers
    assert headers == [("A", "é"), ("X", value), ("B", "b")]


def _exchange(head: bytes) -> Exchange:
    return Exchange(
        url="http://x/",
        request=b"",
        protocol="http/1.1",
        status=200,
        reason="OK",
        head=head,
        body=b"",
        ip="192.0.2.1",
        started=0.0,
        elapsed_s=0.0,
    )
