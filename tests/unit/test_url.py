"""Which lines are URLs, what they become, and what is said about the others."""

import ada_url
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sheaf.tasks.load import url
from sheaf.tasks.load.errors import InvalidUrl
from sheaf.tasks.load.url import check_url, join_url, split_url


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("http://example.org", "http://example.org/"),
        ("  https://example.org/a \t", "https://example.org/a"),
        ("HTTP://EXAMPLE.org:80/a/../b#part", "http://example.org/b"),
        ("https://example.org/a b?c d", "https://example.org/a%20b?c%20d"),
        ("http://faß.de/", "http://xn--fa-hia.de/"),
        ("http://2130706433/", "http://127.0.0.1/"),
        ("http://127。0。0。1", "http://127.0.0.1/"),
        ("http://example.org/user@host", "http://example.org/user@host"),
        ("http://example.org/?#", "http://example.org/?"),
        ("http:/example.org", "http://example.org/"),
        ("http://example.org/\r", "http://example.org/"),
        ("\x0c\u2028http://example.org/\t\x85", "http://example.org/"),
        ("http://example.org/?to=http://b/", "http://example.org/?to=http://b/"),
        ("http://example.org/http://b/", "http://example.org/http://b/"),
    ],
)
def test_a_url_has_one_normal_form(text: str, normal: str) -> None:
    """As browsers write it, without fragment; checking it again changes nothing."""
    assert check_url(text) == normal
    assert check_url(normal) == normal


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty"),
        ("[http://www.wikipedia.org", "did you mean 'http://www.wikipedia.org'"),
        ("<https://example.org>,", "did you mean 'https://example.org'"),
        ("http://[IP-Adresse", "not a valid URL"),
        ("http://example.org:99999/", "host or port"),
        ("http://exa mple.org/", "not a valid URL"),
        ("example.org/page", "write 'https://example.org/page'"),
        ("localhost:8080/x", "write 'https://localhost:8080/x'"),
        ("//example.org", "write 'https://example.org'"),
        ("ftp://example.org/", "'ftp' URL"),
        ("file:///etc/passwd", "'file' URL"),
        ("javascript:alert(1)", "'javascript' URL"),
        ("http://example.org/\ud800", "not valid Unicode"),
        ("two words", "not a valid URL"),
        ("http://user:secret@example.org/", "user name or password"),
        ("x" * 100_000, "…"),
        (
            "http://example.org/page1\t200",
            r"'http://example.org/page1\t200' contains a tab, which is not allowed in a URL; take",
        ),
        ("http://example.org/1\t0", "cut -f1 FILE | sheaf load -"),
        ("1\thttp://example.org/", "contains a tab"),
        ("http://exam\tple.org/", "contains a tab"),
        ("http://a/one\rhttp://a/two", r"control character ('\r')"),
        ("http://a/one\nhttp://a/two", r"control character ('\n')"),
        ("http://a/\0", r"control character ('\x00')"),
        ("http://a/\x0b0", r"control character ('\x0b')"),
        ("http://a/\x7f0", r"control character ('\x7f')"),
        ("http://a/x\x85http://a/y", r"control character ('\x85')"),
        ("http://a/x\u2028http://a/y", r"control character ('\u2028')"),
        ("http://a/ http://b/", "more than one URL"),
        ("http://a/ # the first", "has a comment after the URL"),
        ("http://user:secret@a/\tb", "the line contains a tab"),
        ("http://a/\u3000HTTPS://b/", "more than one URL"),
        ("\ufeffhttp://example.org/", "did you mean 'http://example.org/'"),
    ],
)
def test_a_line_that_is_no_url_is_refused_with_a_reason(text: str, words: str) -> None:
    """The message says what to do; it never guesses, and never repeats a password."""
    with pytest.raises(InvalidUrl) as refused:
        check_url(text)
    assert words in str(refused.value)
    assert "secret" not in str(refused.value)
    assert len(str(refused.value)) < 1000


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("example.org/page", "https://example.org/page"),
        ("localhost:8080", "https://localhost:8080/"),
        ("//example.org/x", "https://example.org/x"),
        ("http://example.org/", "http://example.org/"),
    ],
)
def test_a_default_scheme_is_put_where_there_is_none(text: str, normal: str) -> None:
    """Only where a line has no scheme of its own."""
    assert check_url(text, "https") == normal


def test_a_default_scheme_makes_no_url_of_what_is_none() -> None:
    """Other schemes and brackets are refused as before."""
    for text in ("ftp://example.org/", "[http://www.wikipedia.org", "mailto:a@example.org", ""):
        with pytest.raises(InvalidUrl):
            check_url(text, "https")


@given(st.text())
def test_any_text_is_a_url_or_is_refused(text: str) -> None:
    """No text raises anything else, and what is accepted is stable and splits."""
    for candidate in (text, "http://" + text, "https://example.org/" + text):
        try:
            normal = check_url(candidate)
        except InvalidUrl:
            continue
        assert check_url(normal) == normal
        assert normal.isascii()
        assert "#" not in normal
        assert all(split_url(normal))


#: Pieces that meet each other in every order: what normal forms are made of, and what must not pass for one.
PIECES = (
    *(
        "http://",
        "https://",
        "a",
        "b-c",
        "-x",
        "xn--fa",
        "xn--fa-hia.de",
        "example.org",
        "A",
        "\u00e9",
        "\u0660",
        "[",
        "]",
    ),
    *(
        "127.0.0.1",
        "0177.1",
        "256.1.1.1",
        "1.2.3",
        "0x7f",
        "09",
        "1e1",
        "a.0",
        "a.1.b",
        ".",
        "..",
        ".a",
        "a.",
        "\\",
        "\t",
    ),
    *(":80", ":443", ":8080", ":08", ":65535", ":65536", ":59999", "/", "//", "./", "../", "%2e", "%zz", "u:p@", "@"),
    *("?", "#", "=", "&", "+", "~", "_", "-", "'", ";", ",", "*"),
)


@given(
    st.lists(st.sampled_from(PIECES), max_size=9).map("".join),
    st.sampled_from(["", "http://", "http://a/", "https://a.b:8080/c?"]),
)
def test_a_url_known_as_normal_at_a_glance_is_what_the_parser_makes_of_it(text: str, head: str) -> None:
    """The short cut takes no URL that the parser would change or refuse."""
    if url._is_normal(head + text):
        assert ada_url.normalize_url(head + text) == head + text
        assert "@" not in split_url(head + text)[0]
        assert "#" not in text


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["http://a/", "https://a.b:8080/c?", "http://127.0.0.1", "http://A/", ""]),
            st.lists(st.sampled_from(PIECES), max_size=4).map("".join) | st.text(max_size=5),
        ).map("".join),
        max_size=4,
    )
)
def test_lines_known_as_normal_at_a_glance_are_what_the_parser_makes_of_them(texts: list[str]) -> None:
    """None of them changed, none lost, none added."""
    urls = url.split_normal("\n".join(texts).encode(errors="surrogatepass"))
    if urls is not None:
        assert urls == "\n".join(texts).removesuffix("\n").split("\n") or not any(texts)
        assert urls == [ada_url.normalize_url(text) for text in urls]
        assert not any("@" in split_url(text)[0] for text in urls)


def test_usual_lines_take_the_short_cut() -> None:
    texts = [f"https://www.example.org/a/{number}.html?d=e%20&f" for number in range(9)]
    for end in ("", "\n"):
        assert url.split_normal(("\n".join(texts) + end).encode()) == texts


@pytest.mark.parametrize(
    "line",
    [
        *(
            "",
            "http://a",
            "http://a?b",
            "http://A/b",
            "http://a:80/b",
            "http://a@b/c",
            "http://a/./b",
            "http://a/%2E%2e/b",
        ),
        *("http://a/b c", "http://a/b#c", "http://a/é", "http://a/b\r", "http:///a/b", "ftp://a/b", "# http://a/b"),
    ],
)
def test_a_line_that_takes_a_closer_look_gets_it(line: str) -> None:
    """Wherever it is among others that do not."""
    assert url.split_normal(f"http://a/b\n{line}\nhttp://a/c\n".encode()) is None


@pytest.mark.parametrize(
    "text", ["http://a/", "https://www.example.org/b/c.html?d=e%20&f", "http://127.0.0.1:8000/page/1"]
)
def test_usual_urls_take_the_short_cut(text: str) -> None:
    """Otherwise it would be of no use."""
    assert url._is_normal(text)


def test_a_redirect_is_followed_as_a_browser_does() -> None:
    """Relative to where it came from; without credentials; http and https only."""
    assert join_url("http://example.org/a/b?c", "../d#e") == "http://example.org/d"
    assert join_url("https://example.org/", "//other.example/") == "https://other.example/"
    assert join_url("http://example.org/", "http://user:secret@other.example/") == "http://other.example/"
    for location in ("file:///etc/passwd", "javascript:alert(1)", "http://[", "data:text/html,x"):
        with pytest.raises(InvalidUrl):
            join_url("http://example.org/", location)


def test_a_url_is_no_longer_than_archives_can_name() -> None:
    """16 KiB, in a list, as a redirect, and after what is not ASCII has been encoded."""
    longest = "http://example.org/" + "x" * (url.LONGEST_URL - 19)
    assert check_url(longest) == longest
    for text in (longest + "x", "http://example.org/" + "é" * 3000):
        with pytest.raises(InvalidUrl, match="archives allow at most"):
            check_url(text)
    with pytest.raises(InvalidUrl, match="16,385 bytes"):
        join_url("http://example.org/", "/" + "x" * (url.LONGEST_URL - 18))
