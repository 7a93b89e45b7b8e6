"""Objects sent by reference: see sheaf/values/references.py."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sheaf.core.errors import ValueUnreadable
from sheaf.values.kind import makes

if TYPE_CHECKING:
    from sheaf.values.decoding import Decoding


@makes("reference")
def _make(decoding: Decoding, node: list[Any]) -> Any:
    _, tag, cell = node
    reference = next((known for known in decoding.references if known.tag == tag), None)
    if reference is None:
        raise ValueUnreadable(f"a reference {str(tag)[:40]!r} was received, but none is registered on this side")
    return reference.rebuild(decoding.value(cell))
