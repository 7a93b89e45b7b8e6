"""Messages that no encoder writes: a writer to Redis makes nothing run, nothing large, and nothing of others."""

from __future__ import annotations

import contextlib
import json
import os
import random
import struct
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from sheaf.core.errors import RemoteError, SheafError, ValueUnreadable
from sheaf.values import Codec, Limits, Modules, container
from tests import value_classes as own

CODEC = Codec(Modules({"program": own}))
SMALL = Codec(Modules({"program": own}), limits=Limits(hashed_parts=100_000))


def forge(*nodes: Sequence[Any], frames: Sequence[bytes] = (), root: Any = None) -> bytes:
    """A message of these nodes; the last is the whole value."""
    body = [[len(nodes) - 1] if root is None else root, nodes]
    return b"".join(container.pack(json.dumps(body).encode(), [memoryview(frame) for frame in frames]))


def refused(data: bytes, codec: Codec = CODEC) -> str:
    own.CALLS.clear()
    with pytest.raises(ValueUnreadable) as caught:
        codec.decode(data)
    assert not own.CALLS
    return str(caught.value)


def class_node(name: str, module: str = "program") -> list[Any]:
    return ["name", "own", module, name]


NAMES = [
    ("library", "os", "system"),
    ("library", "posix", "system"),
    ("library", "builtins", "eval"),
    ("library", "builtins", "exec"),
    ("library", "builtins", "compile"),
    ("library", "builtins", "open"),
    ("library", "io", "open"),
    ("library", "builtins", "__import__"),
    ("library", "builtins", "getattr"),
    ("library", "builtins", "setattr"),
    ("library", "builtins", "type"),
    ("library", "builtins", "breakpoint"),
    ("library", "builtins", "input"),
    ("library", "builtins", "vars"),
    ("library", "builtins", "memoryview"),
    ("library", "operator", "attrgetter"),
    ("library", "operator", "methodcaller"),
    ("library", "operator", "call"),
    ("library", "functools", "reduce"),
    ("library", "subprocess", "Popen"),
    ("library", "subprocess", "run"),
    ("library", "importlib", "import_module"),
    ("library", "pickle", "loads"),
    ("library", "ctypes", "CDLL"),
    ("library", "sheaf.values.codec", "Codec"),
    ("library", "sheaf.core.errors", "functools.partial"),
    ("library", "tests.value_classes", "Plain"),
    ("own", "os", "system"),
    ("own", "builtins", "eval"),
    ("own", "tests.value_classes", "Plain"),
    ("own", "program", "system"),
    ("own", "program", "os.system"),
    ("own", "program", "os"),
    ("own", "program", "copyreg.os.system"),
    ("own", "program", "dataclasses.sys.modules"),
    ("own", "program", "Counter"),
    ("own", "program", "pydantic.BaseModel"),
    ("own", "program", "Plain.__init__"),
    ("own", "program", "Plain.__class__"),
    ("own", "program", "Plain.__dict__"),
    ("own", "program", "Plain.__subclasses__"),
    ("own", "program", "Plain.work.__globals__"),
    ("own", "program", "top.__globals__"),
    ("own", "program", "__builtins__"),
    ("own", "program", "__builtins__.eval"),
    ("own", "program", "CALLS.append"),
    ("own", "program", "Model.model_validate"),
    ("own", "program", "CALLS"),
    ("own", "program", "THE_ONE"),
    ("own", "program", ""),
    ("own", "program", "."),
    ("own", "program", "Plain."),
    ("own", "program", "a" * 10_000),
    ("own", "program", ".".join(["Plain"] * 100)),
    ("own", "", "eval"),
    ("unknown", "program", "Plain"),
    (None, None, None),
    ("own", ["program"], "Plain"),
]


@pytest.mark.parametrize("name", NAMES, ids=str)
def test_no_name_leads_beyond_the_programs_own_and_the_list(name: tuple[Any, ...]) -> None:
    """Alone, called by a partial, as the class of an object, of a member, of an exception, of a method's object."""
    named = ["name", *name]
    refused(forge(named))
    refused(forge(named, ["tuple", "id"], ["partial", [0], [1], [{}]]))
    refused(forge(named, ["tuple", "id"], ["object", [0], "call", [1], None, None, None, None]))
    refused(forge(named, ["tuple", "id"], ["object", [0], "new", [1], None, None, None, None]))
    refused(forge(named, ["instance", [0], [{"a": 1}]]))
    refused(forge(named, ["member", [0], "RED"]))
    refused(forge(named, ["defaultdict", [0]]))
    refused(forge(named, ["method", [0], "made"]))


@pytest.mark.parametrize("name", [name for name in NAMES if name[0] and type(name[1]) is str], ids=str)
def test_no_exception_is_made_of_what_is_none(name: tuple[Any, ...]) -> None:
    """Of an unknown name there is its text; of a known one that is no exception there is nothing."""
    try:
        found = CODEC.decode(forge(["tuple"], ["exception", *name, "text", [0], [{}], None, None, False]))
    except ValueUnreadable:
        return
    assert type(found) is RemoteError and found.text == "text"


def test_nothing_is_imported_by_a_name_that_came() -> None:
    """A module of the standard library that is not loaded, in a process of its own."""
    code = (
        "import sys; from sheaf.values import Codec\n"
        "from sheaf.core.errors import ValueUnreadable\n"
        "before = set(sys.modules)\n"
        "for data in eval(sys.stdin.read()):\n"
        "    try: Codec().decode(data)\n"
        "    except ValueUnreadable: pass\n"
        "print(sorted(set(sys.modules) - before))"
    )
    names = [("library", "antigravity", "geohash"), ("library", "this", "s"), ("library", "xmlrpc.client", "Fault")]
    names += [
        ("own", "antigravity", "geohash"),
        ("library", "smtplib", "SMTPException"),
        ("own", "sheaf.cli.main", "main"),
    ]
    messages = [forge(["name", *name]) for name in names]
    messages += [forge(["tuple"], ["exception", *name, "t", [0], [{}], None, None, False]) for name in names]
    messages += [forge(["zone", "../../etc/passwd"]), forge(["zone", "antigravity"])]
    done = subprocess.run(
        [sys.executable, "-c", code], input=repr(messages), capture_output=True, text=True, check=True
    )
    loaded = set(eval(done.stdout))
    assert not loaded & {"antigravity", "this", "xmlrpc.client", "smtplib", "sheaf.cli.main", "webbrowser", "etc"}


def test_objects_of_others_classes_are_not_made() -> None:
    """Classes that can be named, since they are harmless to name, are not thereby made of parts."""
    for owner, module, name in (
        ("library", "builtins", "map"),
        ("library", "builtins", "filter"),
        ("library", "builtins", "bytes"),
        ("library", "builtins", "dict"),
        ("library", "decimal", "Decimal"),
        ("library", "pathlib", "PosixPath"),
        ("library", "re", "RegexFlag"),
        ("library", "builtins", "ValueError"),
        ("own", "program", "top"),
    ):
        node = ["name", owner, module, name]
        said = refused(forge(node, ["tuple", 1], ["object", [0], "new", [1], None, None, None, None]))
        assert "not rebuilt from messages" in said or "not a class" in said
        refused(forge(node, ["tuple", 1], ["object", [0], "call", [1], None, None, None, None]))
        refused(forge(node, ["instance", [0]]))


def test_no_class_is_called_that_has_not_asked_for_it() -> None:
    """Its `__init__` may do anything; pickle would call it for the message's author."""
    node = class_node("Watchful")
    said = refused(forge(node, ["tuple", "rm -rf"], ["object", [0], "call", [1], None, None, None, None]))
    assert "not created by a call" in said
    made = CODEC.decode(forge(node, ["instance", [0], [{"x": 1}]]))
    assert made.x == 1 and not own.CALLS


@pytest.mark.parametrize(
    "state",
    [
        [{"__class__": 1}],
        [{"__dict__": {}}],
        [{"__reduce_ex__": 1}],
        [{"a": 1, "__deepcopy__": 1}],
    ],
)
def test_attributes_that_are_pythons_own_are_not_set(state: list[Any]) -> None:
    name = next(iter(reversed(state[0])))
    for kind in ("Plain", "Watchful", "SlotsAndDict"):
        node = class_node(kind)
        if kind != "SlotsAndDict":
            assert name in refused(forge(node, ["instance", [0], state]))
            assert name in refused(forge(node, ["instance", [0], "a", 1, name, 2]))
        assert name in refused(forge(node, ["tuple"], ["object", [0], "new", [1], None, None, None, state]))
        slots = ["tuple", None, [{name: 1}]]
        assert name in refused(forge(node, ["tuple"], slots, ["object", [0], "new", [1], None, None, None, [2]]))
    assert name in refused(forge(["namespace", name, 1]))
    assert name in refused(forge(["arguments", name, 1]))
    said = forge(["tuple"], ["exception", "library", "builtins", "ValueError", "t", [0], state, None, None, False])
    assert name in refused(said)


def test_slots_are_set_and_nothing_else_of_a_class() -> None:
    """No property, no method, no attribute that its class or `object` has."""
    for name in ("parts", "_Slots__parts", "work", "nothing"):
        node = class_node("Slots")
        said = refused(
            forge(node, ["tuple"], ["tuple", None, [{name: 1}]], ["object", [0], "new", [1], None, None, None, [2]])
        )
        assert "no slot" in said


def test_methods_are_those_of_the_programs_classes() -> None:
    instance = [class_node("Plain"), ["instance", [0]]]
    for name in ("__init__", "__reduce__", "__class__", "args", "work.x", "", "nothing", "__init_subclass__"):
        refused(forge(*instance, ["method", [1], name]))
    for name in ("format", "__len__", "__class__", "format_map"):
        refused(forge(["method", "{0.__class__}", name]))
        refused(forge(["unbound", "str", name]))
    refused(forge(["unbound", "type", "mro"]))
    refused(forge(["unbound", "str", "maketrans"]))
    refused(forge(class_node("Model"), ["method", [0], "model_validate"]))
    table = CODEC.encode(pa.table({"a": [1]}))
    found = container.unpack(table, Limits())
    root, nodes = found.json
    refused(forge(*nodes, ["method", root, "to_pandas"], frames=[bytes(frame) for frame in found.frames]))


def test_members_of_enums_are_those_that_there_are() -> None:
    color = class_node("Color")
    for name in ("GREEN", "__class__", "_member_map_", "mro", "shout", 1, [0]):
        refused(forge(color, ["member", [0], name]))
    refused(forge(color, ["member", [0], None, 1]))
    refused(forge(class_node("Plain"), ["member", [0], "made"]))
    rights = class_node("Rights")
    refused(forge(rights, ["member", [0], None, "READ"]))
    refused(forge(rights, ["member", [0], None, 1 << 60]))


def test_partials_hold_what_may_be_named() -> None:
    refused(forge(["tuple", "id"], ["partial", "eval", [0], [{}]]))
    refused(forge(["tuple"], ["partial", class_node("system"), [0], [{}]]))
    refused(forge(class_node("top"), ["list", 1], ["partial", [0], [1], [{}]]))
    refused(forge(class_node("top"), ["tuple"], ["dict", 1, 2], ["partial", [0], [1], [2]]))


@pytest.mark.parametrize("forwards", [False, True], ids=["backwards", "forwards"])
@pytest.mark.parametrize(
    ("empty", "link"),
    [
        (["list"], ["list"]),
        (["deque", None], ["deque", None]),
        (["dict"], ["dict", "k"]),
        (["ordereddict"], ["ordereddict", "k"]),
        (["namespace"], ["namespace", "k"]),
        (["tuple"], ["tuple"]),
    ],
    ids=lambda node: node[0],
)
def test_depth_is_bounded_whichever_way_nodes_point(empty: list[Any], link: list[Any], forwards: bool) -> None:
    """Nested deques of this depth crash the interpreter when they are freed."""
    for count in (500, 100_000):
        if forwards:
            nodes = [[*link, [number + 1]] for number in range(count)] + [empty]
        else:
            nodes = [empty] + [[*link, [number]] for number in range(count)]
        assert "levels deep" in refused(forge(*nodes, root=[0] if forwards else None))


def test_plain_json_of_any_depth_is_refused_beyond_what_can_be_parsed() -> None:
    refused(container.PLAIN + b"[" * 100_000 + b"]" * 100_000)
    refused(container.PLAIN + b'{"a":' * 2000 + b"1" + b"}" * 2000)


def test_few_nodes_that_stand_for_many_parts_are_not_hashed() -> None:
    """Each of them holds the one before twice: 2**100 parts, and no memory; only their hash would never end."""
    tuples: list[Any] = [["tuple", 1]] + [["tuple", [number], [number]] for number in range(100)]
    assert CODEC.decode(forge(*tuples)) is not None
    for holder in (["dict", [100], 1], ["set", [100]], ["frozenset", [100]], ["counter", [100], 1]):
        assert "parts" in refused(forge(*tuples, holder), SMALL)
    objects: list[Any] = [class_node("Frozen"), ["instance", [0], "x", 1, "y", 2]]
    objects += [["instance", [0], "x", [number], "y", [number]] for number in range(1, 100)]
    assert "parts" in refused(forge(*objects, ["set", [100]]), SMALL)


def test_shared_parts_take_no_memory_of_their_own() -> None:
    """The "billion laughs" of other formats: here each part is there once."""
    nodes: list[Any] = [["list", "lol"]] + [["list", *[[number]] * 10] for number in range(100)]
    tracemalloc.start()
    CODEC.decode(forge(*nodes))
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


def test_a_frame_belongs_to_one_node() -> None:
    """Else a megabyte would be a thousand."""
    assert "belongs to another" in refused(forge(["bytes", 0], ["bytes", 0], ["tuple", [0], [1]], frames=[b"x"]))
    for number in (1, -1, None, "0", True, 2**62, 0.0):
        refused(forge(["bytes", number], frames=[b"x"]))


def message(text: bytes, lengths: Sequence[int], rest: bytes = b"", *, count: int | None = None) -> bytes:
    head = struct.pack("<4sII", b"SV1T", len(text), len(lengths) if count is None else count)
    return head + struct.pack(f"<{len(lengths)}Q", *lengths) + text + rest


def test_lengths_are_those_of_the_message() -> None:
    """Cut short, too long, beyond all memory, more frames than there are bytes."""
    text = b'[[0],[["bytes",0]]]'
    whole = CODEC.encode(b"abc")
    for length in range(len(whole)):
        refused(whole[:length])
    refused(whole + b"\0")
    for lengths in ([4], [2], [0], [2**64 - 1], [2**63], [3, 2**64 - 3], [3, 0, 2**40]):
        refused(message(text, lengths, b"\0abc"))
    refused(message(text, [], b"\0abc", count=2**32 - 1))
    refused(struct.pack("<4sII", b"SV1T", 2**32 - 1, 0) + text)
    for data in (b"", b"SV", b"SV1", b"SV2J1", b"null", b"\x80\x04K\x01.", b"SV1J", b"SV1T", os.urandom(100)):
        refused(data)


def test_too_large_a_message_is_not_looked_at() -> None:
    codec = Codec(limits=Limits(message_bytes=100, json_bytes=50))
    assert "more than the limit of 100;" in refused(b"SV1J" + b"1" * 200, codec)
    assert "more than the limit of 50;" in refused(b"SV1J[" + b"1," * 30 + b"1]", codec)


FORMS: list[Any] = [
    None, [], {}, 1, [[0]], [[0], {}], [[0], [1]], [[0], [[]]], [[0], [[1]]], [[0], [["list", [0, 1]]]],
    [[0], [["list", {"a": 1}]]], [[0], [["list", [1]]]], [[0], [["list", [-1]]]], [[0], [["list", [2**70]]]],
    [[0], [["list", [None]]]], [[0], [["list", [1.0]]]], [[0], [["list", [True]]]], [[0], [["list", []]]],
    [[1], [["list"]]], [[0, 0], [["list"]]], [{"a": 1}, [["list"]]], [[0], [["nothing"]]], [[0], [["l" * 10_000]]],
    [[0], [["tuple", [0]]]], [[1], [["tuple", [1]], ["tuple", [0]]]], [[0], [["frozenset", [0]]]],
    [[0], [["dict", 1]]], [[0], [["dict", [1], 2], ["list"]]], [[0], [["set", [1]], ["dict"]]],
    [[0], [["reference", "x", 1]]], [[0], [["reference", [[]], 1]]], [[0], [["reference"]]],
]  # fmt: skip


@pytest.mark.parametrize("form", FORMS, ids=lambda form: repr(form)[:60])
def test_what_is_not_in_form_is_refused(form: Any) -> None:
    refused(b"".join(container.pack(json.dumps(form).encode(), [])))


VALUES: dict[str, Sequence[Sequence[Any]]] = {
    "an integer in decimals": [["int", "9" * 5000]],
    "an integer that is a text": [["int", "0xzz"], ["int", 5], ["int", None], ["int", "0x1_0"], ["int", " 0x1"]],
    "an integer of ten megabytes": [["int", "0x" + "f" * 10_000_000]],
    "a float": [["float", "1e999"], ["float", 1], ["float", "NAN"]],
    "a complex": [["complex", "1", 2.0], ["complex", 1.0]],
    "a decimal": [["decimal", "x"], ["decimal", 1], ["decimal", "1E" + "9" * 100], ["decimal", "1" * 2_000_000]],
    "a fraction": [["fraction", 1, 0], ["fraction", "1", 2], ["fraction", 1.5, 2]],
    "a date": [["date", "0000-01-01"], ["date", "10000-01-01"], ["date", 5], ["date", "2020-13-01"]],
    "a moment": [["datetime", "99999-01-01T00:00:00", 0, None], ["datetime", "2020-01-01T00:00:00", 5, None],
                 ["datetime", "2020-01-01T00:00:00+01:00", 0, None], ["datetime", "2020-01-01T00:00:00", 0, "UTC"]],
    "a time": [["time", "25:00:00", 0, None], ["time", "10:00:00Z", 0, None]],
    "a span": [["timedelta", 10**12, 0, 0], ["timedelta", "1", 0, 0], ["timedelta", 1.5, 0, 0]],
    "a zone": [["zone", "../../etc/passwd"], ["zone", "/etc/localtime"], ["zone", "Europe/../../x"], ["zone", "Europe"],
               ["zone", "No/Where"], ["zone", 5], ["zone", [[]]], ["zone", "a" * 10_000]],
    "a uuid": [["uuid", "0"], ["uuid", 5], ["uuid", "z" * 32]],
    "a path": [["path", "WindowsPath", "x"], ["path", "Path", "x"], ["path", "PosixPath", 5], ["path", "open", "x"]],
    "a pattern": [["pattern", "(", 0], ["pattern", "a" * 30_000, 0], ["pattern", "a", 128], ["pattern", "a", 1 << 40],
                  ["pattern", "(" * 9000 + ")" * 9000, 0], ["pattern", 5, 0], ["pattern", "a", "I"]],
    "an array": [["array", "u", 5], ["array", "x", 0, 8], ["array", "dd", 0, 8], ["array", "d", 0, 4]],
    "a range": [["range", 0, 1, 0], ["range", "0", 1, 1], ["range", 0, 1]],
    "a deque": [["deque", -1], ["deque", "x"], ["deque", 2**70]],
    "a default dict": [["defaultdict", 5], ["defaultdict", "eval"], ["defaultdict"]],
    "a singleton": [["singleton", "None"], ["singleton", "open"]],
    "a namespace": [["namespace", 1, 2], ["namespace", "a"], ["arguments", None, 1]],
    "an unhashable key": [["dict", [[]], 1]],
    "a numpy type": [["dtype", [["|O"]]], ["dtype", [["O"]]], ["dtype", [["<f8,O"]]], ["dtype", [["<U0"]]],
                     ["dtype", [["|V0"]]], ["dtype", [["int"]]], ["dtype", [[[]]]], ["dtype", [5]],
                     ["dtype", [[[["a", "|O"]]]]], ["dtype", [[[["a", "<f8", [2**40, 2**40]]]]]],
                     ["dtype", [[[["a", "<f8"]] * 2000]]], ["dtype", [["M8[x]"]]],
                     ["dtype", [["<M8[99999999999999s]"]]],
                     ["dtype", [[[["a", "<f8", [-1]]]]]], ["dtype", [[[["a", "<f8", "x"]]]]], ["dtype", "f8"],
                     ["dtype", [["|S999999999"]]], ["dtype", [[[["", "<f8"], ["", "<f8"]]]]]],
    "a numpy function": [["ufunc", "load"], ["ufunc", "os"], ["ufunc", "frompyfunc"], ["ufunc", [[]]]],
}  # fmt: skip


@pytest.mark.parametrize("name", VALUES)
def test_values_that_cannot_be_are_refused(name: str) -> None:
    for node in VALUES[name]:
        try:
            found = CODEC.decode(forge(node, frames=[b"12345678"]))
        except SheafError as error:
            assert type(error) is ValueUnreadable and len(str(error)) < 2000
        else:
            # Odd, but a value: no more of it than came.
            assert name in ("a numpy type", "a fraction", "a decimal"), (node, found)


ARRAYS: list[Any] = [
    ["ndarray", [["<f8"]], [[10**12]], "C", 0],
    ["ndarray", [["<f8"]], [[2]], "C", 0],
    ["ndarray", [["<f8"]], [[-1]], "C", 0],
    ["ndarray", [["<f8"]], [[-1, -1]], "C", 0],
    ["ndarray", [["<f8"]], [[1.0]], "C", 0],
    ["ndarray", [["<f8"]], [[0, 10**18]], "C", 0],
    ["ndarray", [["<f8"]], [[1] * 100], "C", 0],
    ["ndarray", [["<f8"]], [[1]], "A", 0],
    ["ndarray", [["<f8"]], [{"a": 1}], "C", 0],
    ["ndarray", [["|O"]], [[1]], "C", 0],
    ["ndarray", [["|V0"]], [[10**15]], "C", 0],
    ["ndarray", [["<U0"]], [[10**15]], "C", 0],
    ["ndarray", [[[["a", "<f8", [0]]]]], [[10**15]], "C", 0],
    ["ndarray", [["<f8"]], 5, "C", 0],
    ["ndarray", [["<f8"]], [[1]], "C", 7],
    ["npscalar", [["<f8"]], 1],
    ["npscalar", [["<i4"]], 0],
    ["npscalar", [["|O"]], 0],
]


@pytest.mark.parametrize("node", ARRAYS, ids=str)
def test_arrays_have_the_bytes_that_came(node: Any) -> None:
    """No shape and no type makes more of them, nor objects."""
    refused(forge(node, frames=[b"12345678"]))
    refused(forge(node, frames=[b""]))


def test_no_bytes_are_made_of_a_number() -> None:
    """`bytes(10**12)` and `tuple(range(10**12))`, by the program's own classes of these kinds."""
    for name in ("MyBytes", "MyTuple", "MyStr", "MySet", "MyList"):
        node = class_node(name)
        for way in ("new", "call"):
            refused(forge(node, ["range", 0, 10**12, 1], ["tuple", [1]], ["object", [0], way, [2], *[None] * 4]))
    refused(forge(class_node("MyBytes"), ["tuple", 10**12], ["object", [0], "new", [1], *[None] * 4]))


def arrow(table: pa.Table, **options: Any) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as stream:
        stream.write_table(table)
    return bytes(sink.getvalue())


def test_compressed_tables_are_refused() -> None:
    """A hundred kilobytes that unpack to a gigabyte; dictionaries, too."""
    text = pa.array(["x" * 1000] * 1000)
    for table in (pa.table({"a": np.zeros(1 << 20)}), pa.table({"a": text.dictionary_encode()})):
        for compression in ("lz4", "zstd"):
            data = arrow(table, compression=compression)
            for node in (["arrow", "table", 0], ["pandas", "frame", 0], ["polars", "frame", 0]):
                said = refused(forge(node, frames=[data]))
                assert "compressed" in said or "cannot be imported" in said


def test_tables_with_extension_types_are_refused() -> None:
    """Below other types, too; an unknown one is recognised by its metadata."""
    kind = pa.uuid()
    column = pa.array([b"0" * 16], kind.storage_type)
    plain = pa.ExtensionArray.from_storage(kind, column)
    nested = pa.StructArray.from_arrays([plain], names=["in"])
    field = pa.field("a", pa.int64(), metadata={"ARROW:extension:name": "x.unknown"})
    unknown = pa.table([pa.array([1])], schema=pa.schema([field]))
    for table in (pa.table({"a": plain}), pa.table({"a": nested}), unknown):
        assert "extension type" in refused(forge(["arrow", "table", 0], frames=[arrow(table)]))


def test_rows_of_nothing_are_counted() -> None:
    """A column of nulls takes no bytes, however many rows it has; pandas would make a list of them."""
    nothing = pa.Array.from_buffers(pa.null(), 1 << 30, [None])
    lists = pa.LargeListArray.from_arrays(pa.array([0, 1 << 30], pa.int64()), nothing)
    for column in (nothing, lists):
        assert "values" in refused(forge(["arrow", "table", 0], frames=[arrow(pa.table({"a": column}))]))


def test_texts_that_share_their_bytes_are_not_made_for_pandas() -> None:
    views = pa.table({"a": pa.array(["x" * 100] * 3, pa.string_view())})
    said = refused(forge(["pandas", "frame", 0], frames=[arrow(views)]))
    assert "view types" in said or "cannot be imported" in said
    assert CODEC.decode(forge(["arrow", "table", 0], frames=[arrow(views)])) == views


def test_damaged_tables_are_refused() -> None:
    """Whatever byte is another one: refused, or read as a table that is valid to its last value."""
    table = pa.table({"a": [1, 2, 3], "b": ["x", None, "yz"], "c": [[1], [], None]})
    data = bytearray(arrow(table))
    dice = random.Random(5)
    for _ in range(2000):
        damaged = bytearray(data)
        for _ in range(dice.randint(1, 3)):
            damaged[dice.randrange(len(data))] = dice.choice([0, 1, 127, 128, 255, dice.randrange(256)])
        with contextlib.suppress(ValueUnreadable):
            CODEC.decode(forge(["arrow", "table", 0], frames=[bytes(damaged)])).validate(full=True)
    for length in range(0, len(data), 7):
        with contextlib.suppress(ValueUnreadable):
            CODEC.decode(forge(["arrow", "table", 0], frames=[bytes(data[:length])]))


@pytest.fixture(autouse=True)
def _no_calls() -> Iterator[None]:
    own.CALLS.clear()
    yield
    assert not own.CALLS
