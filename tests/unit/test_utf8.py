"""Whether bytes are UTF-8: simdjson, where the system has it, says what Python says."""

from collections.abc import Iterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sheaf.formats import utf8

#: Text of one to four bytes a character, with bytes put anywhere into it, and cut anywhere.
SPOILED = st.builds(
    lambda text, spoil, at, end: (text[: at % (len(text) + 1)] + spoil + text[at % (len(text) + 1) :])[:end],
    st.text(max_size=200).map(lambda text: text.encode(errors="surrogatepass")),
    st.binary(max_size=3),
    st.integers(min_value=0),
    st.none() | st.integers(min_value=0, max_value=300),
)


@pytest.mark.skipif(
    utf8.simdjson() is None,
    reason="this machine has no libsimdjson.so; the stack's images have (tests/compose/test_stack.py)",
)
@given(data=st.text().map(lambda text: text.encode(errors="surrogatepass")) | st.binary() | SPOILED)
@example(data=b"")
@example(data=b"\x00\xc3\xa4\x00")
@example(data=b"a" * 63 + "€".encode())
@example(data=b"a" * 63 + "€".encode()[:2])
@example(data=b"\xf4\x90\x80\x80")
def test_bytes_are_utf8_if_python_decodes_them(data: bytes) -> None:
    assert utf8.is_utf8(data) is utf8.is_decodable(data)


@pytest.fixture
def found_anew() -> Iterator[None]:
    """What was found of the library does not outlive the test."""
    yield
    utf8.simdjson.cache_clear()


def test_a_library_that_says_something_else_is_not_used(found_anew: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name may be taken by another function; then Python is asked, as where there is no library."""

    class Liar:
        def __call__(self, _data: bytes, _size: int) -> bool:
            return True

    class Library:
        _ZN8simdjson13validate_utf8EPKcm = Liar()

    for library in (lambda _name: Library, lambda _name: object(), _not_there):
        monkeypatch.setattr("ctypes.PyDLL", library)
        utf8.simdjson.cache_clear()
        assert utf8.simdjson() is None
        assert utf8.is_utf8("ä".encode())
        assert not utf8.is_utf8(b"\xe4")


def _not_there(_name: str) -> None:
    raise OSError("libsimdjson.so: cannot open shared object file: No such file or directory")
