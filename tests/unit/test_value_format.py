"""The bytes are those that docs/values.md describes; what was written once can be read for ever."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from sheaf.values import Codec, Modules, container
from sheaf.values.kinds import KINDS
from tests import value_classes as own

PAGE = (Path(__file__).parents[2] / "docs/values.md").read_text()
CODEC = Codec(Modules({"program": own}))


def test_every_tag_is_on_the_page_and_no_other() -> None:
    table = PAGE[PAGE.index("| tag | cells") :].partition("\n\n")[0]
    named = [tag for row in table.splitlines()[2:] for tag in re.findall(r"`(\w+)`", row.split("|")[1])]
    assert sorted(named) == sorted(KINDS)


def test_the_example_of_the_page_is_what_is_written() -> None:
    value, form = re.findall(r"^`(\(1, .*?)` is `(.*?)` and one frame of two bytes", PAGE, re.M)[0]
    written = CODEC.encode(eval(value))
    text = form.replace(", ", ",").encode()
    assert written == b"".join(container.pack(text, [memoryview(b"xy")]))


#: Messages of the first version, as they may be in a queue while its program is replaced by a newer one.
WRITTEN: dict[str, Any] = {
    'SV1J{"a":[1,2.5,null]}': {"a": [1, 2.5, None]},
    '[[0],[["tuple",1,"a"]]]': (1, "a"),
    '[[0],[["dict",1,2]]]': {1: 2},
    '[[1],[["tuple",1],["list",[0],[0],[[1]],[{"a":1}]]]]': [(1,), (1,), [1], {"a": 1}],
    '[[0],[["int","-0x10000000000000000"]]]': -(2**64),
    '[[1],[["name","own","program","Plain"],["instance",[0],[{"x":1}]]]]': own.Plain.__new__(own.Plain),
    '[[1],[["name","own","program","Color"],["member",[0],"RED"]]]': own.Color.RED,
    '[[2],[["name","own","program","Point"],["tuple",1,2],["object",[0],"new",[1],null,null,null,null]]]': own.Point(
        1, 2
    ),
}  # fmt: skip
WRITTEN['[[1],[["name","own","program","Plain"],["instance",[0],[{"x":1}]]]]'].x = 1


@pytest.mark.parametrize("text", WRITTEN)
def test_messages_of_the_first_version_are_read(text: str) -> None:
    data = text.encode() if text.startswith("SV1J") else b"".join(container.pack(text.encode(), []))
    assert CODEC.decode(data) == WRITTEN[text]
    assert CODEC.encode(WRITTEN[text]) == data


def test_frames_begin_at_multiples_of_eight_and_are_not_copied_before_they_are_joined() -> None:
    large = bytes(1_000_000)
    parts = CODEC.parts([large, b"x", bytearray(3)])
    assert any(isinstance(part, memoryview) and part.obj is large for part in parts)
    place = 0
    for part in parts:
        if isinstance(part, memoryview):
            assert place % 8 == 0
        place += memoryview(part).nbytes
    assert CODEC.decode(b"".join(parts)) == [large, b"x", bytearray(3)]


def test_any_kind_of_buffer_is_read() -> None:
    data = CODEC.encode([(1, b"x")])
    for buffer in (data, bytearray(data), memoryview(data), memoryview(bytearray(data))):
        assert CODEC.decode(buffer) == [(1, b"x")]
