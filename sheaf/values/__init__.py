"""Encode the values that programs send each other, and decode them without unpickling, importing or running anything.

    value ──► encoding.py ──► container.py ──► bytes ──► container.py ──► structure.py ──► decoding.py ──► value
                  │  one node of JSON per object         limits            references, depth    │
                  └──────────────── kinds/: how each type is written, and how it is rebuilt ────┘

docs/values.md describes the format. A session has one `Codec`, which knows the program's own classes and functions
(`Resolver`) and the objects that are sent by reference (`Reference`: locks, queues, pipe ends).
"""

from __future__ import annotations

from sheaf.values.codec import Codec
from sheaf.values.limits import Limits
from sheaf.values.references import Reference
from sheaf.values.resolver import Modules, Resolver

__all__ = ["Codec", "Limits", "Modules", "Reference", "Resolver"]
