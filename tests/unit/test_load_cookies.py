"""Cookies of one item's redirects, by the rules of browsers."""

from __future__ import annotations

import pytest

from sheaf.tasks.load.cookies import Cookies

HERE = "https://www.example.org/shop/cart"


@pytest.mark.parametrize(
    ("line", "url", "sent"),
    [
        ("a=1", HERE, "a=1"),
        ("a=1", "https://www.example.org/shop/", "a=1"),
        ("a=1", "https://www.example.org/shopping", ""),
        ("a=1; Path=/", "https://www.example.org/", "a=1"),
        ("a=1; Path=/", "https://www.example.org:8443/", "a=1"),
        ("a=1; Path=/", "https://example.org/", ""),
        ("a=1; Path=/", "https://sub.www.example.org/", ""),
        ("a=1; Path=/; Domain=example.org", "https://example.org/", "a=1"),
        ("a=1; Path=/; Domain=.example.org", "https://deep.down.example.org/", "a=1"),
        ("a=1; Path=/; Domain=example.org", "https://notexample.org/", ""),
        ("a=1; Path=/; Domain=example.com", "https://example.com/", ""),
        ("a=1; Path=/; Domain=org", "https://python.org/", ""),
        ("a=1; Path=/; Domain=sub.www.example.org", "https://sub.www.example.org/", ""),
        ("a=1; Path=/; Secure", "http://www.example.org/", ""),
        ("a=1; Path=/; Secure; HttpOnly; SameSite=None", "https://www.example.org/", "a=1"),
        ("a=1; Path=/; Max-Age=0", "https://www.example.org/", ""),
        ("a=1; Path=/; Max-Age=-1", "https://www.example.org/", ""),
        ("a=1; Path=/; Max-Age=60; Expires=Thu, 01 Jan 1970 00:00:00 GMT", "https://www.example.org/", "a=1"),
        ("a=1; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT", "https://www.example.org/", ""),
        ("a=1; Path=/; Expires=Fri, 01 Jan 2999 00:00:00 GMT", "https://www.example.org/", "a=1"),
        ("a=1; Path=/; Version=1", "https://www.example.org/", "a=1"),
        ('a="1 2"; Path=/', "https://www.example.org/", 'a="1 2"'),
        ("a=y\xe9s=; Path=/", "https://www.example.org/", "a=y\xe9s="),
        ("a\x01=1; Path=/", "https://www.example.org/", ""),
        ("a=" + "x" * 5000, HERE, ""),
        ("__Host-a=1; Path=/; Secure", "https://www.example.org/", "__Host-a=1"),
        ("__Host-a=1; Path=/; Secure; Domain=example.org", "https://www.example.org/", ""),
        ("__Secure-a=1; Path=/", "https://www.example.org/", ""),
        ("", HERE, ""),
        ("; Path=/", HERE, ""),
        ("=; ;;=;", HERE, ""),
    ],
)
def test_a_cookie_goes_where_a_browser_would_send_it(line: str, url: str, sent: str) -> None:
    """Host and domain, path, Secure, expiry, names with a promise; what breaks a rule is passed over."""
    cookies = Cookies()
    cookies.take(HERE, [line])
    assert cookies.header(url) == sent


def test_a_later_cookie_takes_the_place_of_an_earlier_one_or_deletes_it() -> None:
    """The same name, domain and path: one cookie."""
    cookies = Cookies()
    cookies.take(HERE, ["a=1; Path=/", "a=2; Path=/", "b=1; Path=/"])
    assert cookies.header(HERE) == "a=2; b=1"
    cookies.take(HERE, ["a=; Path=/; Max-Age=0"])
    assert cookies.header(HERE) == "b=1"


def test_a_cookie_of_a_plain_connection_is_not_secure() -> None:
    """Who is not known to be the server sets no cookie that only it may have."""
    cookies = Cookies()
    cookies.take("http://www.example.org/", ["a=1; Secure", "__Secure-b=1; Secure", "c=1"])
    assert cookies.header("https://www.example.org/") == "c=1"


@pytest.mark.parametrize("host", ["127.0.0.1:8080", "localhost:8080", "[::1]:8080"])
def test_hosts_that_are_no_names_have_cookies_too(host: str) -> None:
    """Addresses and single words; an address has no domain but itself."""
    cookies = Cookies()
    cookies.take(f"http://{host}/", ["a=1", "b=1; Domain=0.0.1"])
    assert cookies.header(f"http://{host}/x") == "a=1"
    assert cookies.header("http://10.0.0.1/") == ""


def test_cookies_have_a_limit() -> None:
    """However many redirects set, no more than fifty are kept, and no header is longer than servers take."""
    cookies = Cookies()
    for number in range(400):
        cookies.take(HERE, [f"c{number}=1; Path=/"])
    kept = cookies.header(HERE).split("; ")
    assert (len(kept), kept[-1]) == (50, "c399=1")
    cookies.take(HERE, [f"big{number}={'x' * 4000}; Path=/" for number in range(3)])
    assert cookies.header(HERE) == ""
