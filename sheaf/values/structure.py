"""Checks before anything is built: the form of the nodes, where they refer to, and how deep they nest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sheaf.core.errors import ValueUnreadable
from sheaf.values.limits import Limits

_HOLDERS = frozenset((list, dict))
#: For nodes of more cells, checking the set of their types first is faster.
_LONG = 8


def check(json: Any, limits: Limits) -> tuple[Any, list[list[Any]], list[Sequence[int]]]:
    """Return the root cell, the nodes, and for each node the numbers of those it refers to. Raises ValueUnreadable."""
    if type(json) is not list or len(json) != 2 or type(json[1]) is not list:
        raise ValueUnreadable("the message is damaged: it is not a cell and a list of nodes")
    root, nodes = json
    count = len(nodes)
    root_targets = _targets(["", root], count)
    targets: list[Sequence[int]] = []
    depths: list[int] = []
    deepest, forward = 0, False
    for number, node in enumerate(nodes):
        named = _targets(node, count)
        depth = 0
        for target in named:
            if target >= number:
                forward = True
            elif depths[target] > depth:
                depth = depths[target]
        depths.append(depth + 1)
        deepest = max(deepest, depth)
        targets.append(named)
    if forward:
        _check_depth(root_targets, targets, limits)
    elif deepest >= limits.depth:
        raise _too_deep(limits)
    return root, nodes, targets


def _targets(node: Any, count: int) -> Sequence[int]:
    """Return the numbers of the nodes that a node refers to."""
    if type(node) is not list or not node or type(node[0]) is not str:
        raise ValueUnreadable("the message is damaged: a node is not a tag and its cells")
    if len(node) > _LONG and set(map(type, node)).isdisjoint(_HOLDERS):
        return ()
    found: list[int] = []
    for cell in node:
        if type(cell) is list:
            if len(cell) != 1:
                raise ValueUnreadable("the message is damaged: a list stands where a cell should")
            target = cell[0]
            if type(target) is int:
                if not 0 <= target < count:
                    raise ValueUnreadable(f"the message is damaged: it has no node {target}")
                found.append(target)
            elif type(target) not in _HOLDERS:
                raise ValueUnreadable("the message is damaged: a cell holds neither a node's number nor plain JSON")
        elif type(cell) is dict:
            raise ValueUnreadable("the message is damaged: a dict stands where a cell should")
    return found


def _check_depth(root: Sequence[int], targets: Sequence[Sequence[int]], limits: Limits) -> None:
    """Bound the depth of a message with forward references, visiting nodes in the encoder's order."""
    seen = bytearray(len(targets))
    ways: list[Iterator[int]] = [iter(root)]
    while ways:
        target = next(ways[-1], None)
        if target is None:
            ways.pop()
        elif not seen[target]:
            seen[target] = 1
            ways.append(iter(targets[target]))
            if len(ways) > limits.depth + 1:
                raise _too_deep(limits)


def _too_deep(limits: Limits) -> ValueUnreadable:
    return ValueUnreadable(f"the value is nested more than {limits.depth} levels deep, the limit")
