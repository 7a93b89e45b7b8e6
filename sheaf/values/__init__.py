"""Python values as bytes and back, for what programs send each other: nothing is unpickled, imported or run by name.

    value ──► encoding.py ──► container.py ──► bytes ──► container.py ──► structure.py ──► decoding.py ──► value
                  │  one node of JSON per object         limits            references, depth    │
                  └──────────────── kinds/: how each type is written, and how it is rebuilt ────┘

The format is described in docs/values.md. A `Codec` is what a session has one of: it knows the program's own classes
and functions (`Resolver`), and what travels as a reference (`Reference`: locks, queues, ends of pipes).
"""

from __future__ import annotations

from sheaf.values.codec import Codec
from sheaf.values.limits import Limits
from sheaf.values.references import Reference
from sheaf.values.resolver import Modules, Resolver

__all__ = ["Codec", "Limits", "Modules", "Reference", "Resolver"]
