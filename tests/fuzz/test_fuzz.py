"""A minute of what `make fuzz` does at length: every parser of foreign bytes, on inputs that are nearly right."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.target import Target
from tests.fuzz.targets import TARGETS

#: Of one target, in the tests; a few reach into libcurl or write five records each, and have fewer.
EXAMPLES = 1000
SLOW = {"answer": 300, "charset": 500, "location": 600, "manifest": 600}


def nearly_right(target: Target) -> st.SearchStrategy[bytes]:
    """A seed with a few places changed: a piece out, another one in, of the parser's own words or of any bytes."""
    piece = st.sampled_from(target.tokens or (b"\0",)) | st.binary(max_size=8)
    change = st.tuples(st.integers(0, 1 << 16), st.integers(0, 12), piece)

    def changed(seed: bytes, changes: list[tuple[int, int, bytes]]) -> bytes:
        for place, length, new in changes:
            begin = place % (len(seed) + 1)
            seed = seed[:begin] + new + seed[begin + length :]
        return seed

    mutants = st.builds(changed, st.sampled_from(target.seeds), st.lists(change, max_size=5))
    return mutants | st.binary(max_size=200) | st.lists(piece, max_size=20).map(b"".join)


@pytest.mark.parametrize("name", TARGETS)
def test_no_bytes_break_a_parser(name: str) -> None:
    """It raises nothing but its own errors, gives no more than it may, and cares for no boundary between blocks."""
    target = TARGETS[name]
    for seed in target.seeds:
        target.check(seed)

    @settings(
        max_examples=SLOW.get(name, EXAMPLES),
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(nearly_right(target))
    def fuzz(data: bytes) -> None:
        target.check(data)

    fuzz()
