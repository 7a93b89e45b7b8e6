"""Containers: lists, tuples, dicts, sets, and those of `collections`, `types` and `argparse`."""

from __future__ import annotations

import argparse
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable
from types import MappingProxyType, SimpleNamespace
from typing import TYPE_CHECKING, Any

from sheaf.core.errors import ValueUnreadable
from sheaf.values.encoding import Unsendable
from sheaf.values.kind import Kind, kinds, makes, writes

if TYPE_CHECKING:
    from sheaf.values.decoding import Decoding
    from sheaf.values.encoding import Encoding


@writes(tuple)
def _write_tuple(encoding: Encoding, value: tuple[Any, ...]) -> list[Any]:
    return ["tuple", *encoding.cells(value)]


@makes("tuple")
def _tuple(decoding: Decoding, node: list[Any]) -> tuple[Any, ...]:
    return tuple(decoding.values(node[1:]))


@writes(set, frozenset)
def _write_set(encoding: Encoding, value: set[Any] | frozenset[Any]) -> list[Any]:
    return [type(value).__name__, *encoding.members(value)]


@makes("frozenset")
def _frozenset(decoding: Decoding, node: list[Any]) -> frozenset[Any]:
    decoding.will_hash(node[1:])
    return frozenset(decoding.values(node[1:]))


def _fill_set(decoding: Decoding, made: set[Any], node: list[Any]) -> None:
    members = decoding.values(node[1:])
    decoding.will_hash(node[1:])
    made.update(members)


def _fill_list(decoding: Decoding, made: list[Any], node: list[Any]) -> None:
    made.extend(decoding.values(node[1:]))


def fill_dict(decoding: Decoding, made: dict[Any, Any], cells: list[Any]) -> None:
    """Put pairs of cells into a dict."""
    if len(cells) % 2:
        raise ValueUnreadable("the message is damaged: a dict has a key without a value")
    keys, values = decoding.values(cells[::2]), decoding.values(cells[1::2])
    decoding.will_hash(cells[::2])
    made.update(zip(keys, values, strict=True))


def _fill_pairs(decoding: Decoding, made: dict[Any, Any], node: list[Any]) -> None:
    fill_dict(decoding, made, node[1:])


kinds["list"] = Kind(lambda _decoding, _node: [], _fill_list)
kinds["set"] = Kind(lambda _decoding, _node: set(), _fill_set)
kinds["dict"] = Kind(lambda _decoding, _node: {}, _fill_pairs)
kinds["ordereddict"] = Kind(lambda _decoding, _node: OrderedDict(), _fill_pairs)


@writes(OrderedDict)
def _write_ordered(encoding: Encoding, value: OrderedDict[Any, Any]) -> list[Any]:
    return ["ordereddict", *encoding.pairs(value)]


@writes(MappingProxyType)
def _write_proxy(_encoding: Encoding, _value: MappingProxyType[Any, Any]) -> list[Any]:
    raise Unsendable("a mappingproxy cannot be sent; send dict(…) of it")


@writes(Counter)
def _write_counter(encoding: Encoding, value: Counter[Any]) -> list[Any]:
    return ["counter", *encoding.pairs(value)]


def _fill_counter(decoding: Decoding, made: Counter[Any], node: list[Any]) -> None:
    found: dict[Any, Any] = {}
    fill_dict(decoding, found, node[1:])
    # Counter.update() would add the counts.
    dict.update(made, found)


kinds["counter"] = Kind(lambda _decoding, _node: Counter(), _fill_counter)


@writes(defaultdict)
def _write_defaultdict(encoding: Encoding, value: defaultdict[Any, Any]) -> list[Any]:
    return ["defaultdict", encoding.part(value.default_factory, ".default_factory"), *encoding.pairs(value)]


def _make_defaultdict(decoding: Decoding, node: list[Any]) -> defaultdict[Any, Any]:
    return defaultdict(decoding.value(node[1]))


def _fill_defaultdict(decoding: Decoding, made: dict[Any, Any], node: list[Any]) -> None:
    fill_dict(decoding, made, node[2:])


kinds["defaultdict"] = Kind(_make_defaultdict, _fill_defaultdict)


@writes(deque)
def _write_deque(encoding: Encoding, value: deque[Any]) -> list[Any]:
    return ["deque", value.maxlen, *encoding.cells(value)]


def _make_deque(_decoding: Decoding, node: list[Any]) -> deque[Any]:
    return deque(maxlen=node[1])


def _fill_deque(decoding: Decoding, made: deque[Any], node: list[Any]) -> None:
    made.extend(decoding.values(node[2:]))


kinds["deque"] = Kind(_make_deque, _fill_deque)


@writes(SimpleNamespace)
def _write_namespace(encoding: Encoding, value: SimpleNamespace) -> list[Any]:
    return ["namespace", *encoding.attributes(vars(value))]


@writes(argparse.Namespace)
def _write_arguments(encoding: Encoding, value: argparse.Namespace) -> list[Any]:
    return ["arguments", *encoding.attributes(vars(value))]


def _fill_namespace(decoding: Decoding, made: object, node: list[Any]) -> None:
    fill_dict(decoding, vars(made), attribute_cells(node[1:]))


def attribute_cells(cells: list[Any]) -> list[Any]:
    """Return pairs of attribute cells if the names may be set. Raises ValueUnreadable for dunder names."""
    for name in cells[::2]:
        check_attribute(name)
    return cells


def check_attribute(name: Any) -> None:
    if type(name) is not str or (name.startswith("__") and name.endswith("__")):
        raise ValueUnreadable(f"the message is damaged: an attribute must not be called {str(name)[:60]!r}")


def _empty(kind: Callable[[], Any]) -> Kind:
    return Kind(lambda _decoding, _node: kind(), _fill_namespace)


kinds["namespace"] = _empty(SimpleNamespace)
kinds["arguments"] = _empty(argparse.Namespace)
