"""The entry point: a session encodes and decodes all its values with one `Codec`."""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from sheaf.core.errors import ValueNotSendable
from sheaf.values import container
from sheaf.values.container import Buffer
from sheaf.values.decoding import Decoding
from sheaf.values.encoding import Encoding, NotPlain, Unsendable
from sheaf.values.kinds import writer_for
from sheaf.values.limits import Limits
from sheaf.values.references import Reference
from sheaf.values.resolver import NO_MODULES, Resolver

_LIMITS = Limits()
#: Nested Python calls per level of nesting, at most. They do not use the C stack.
_CALLS_PER_OBJECT = 8
_one_at_a_time = threading.Lock()


@dataclass(frozen=True, slots=True)
class Codec:
    """Encodes and decodes with what this side knows. Safe to share between threads."""

    #: The program's own classes and functions.
    resolver: Resolver = NO_MODULES
    #: Objects that are sent by reference: locks, queues, pipe ends.
    references: Sequence[Reference] = ()
    limits: Limits = _LIMITS

    def encode(self, value: Any, label: str = "value") -> bytes:
        """Return the value as bytes. Raises ValueNotSendable, which names the place inside `label` and a remedy."""
        parts = self.parts(value, label)
        return bytes(parts[0]) if len(parts) == 1 else b"".join(parts)

    def parts(self, value: Any, label: str = "value") -> list[Buffer]:
        """Return the same bytes in consecutive pieces. Large ones are views of the value, not copies.

        The value must not change until they have been written.
        """
        try:
            try:
                parts = self._parts(value, careful=False)
            except (NotPlain, orjson.JSONEncodeError):
                parts = self._parts(value, careful=True)
            except RecursionError:
                parts = self._deep_parts(value)
        except Unsendable as error:
            raise error.error(label) from error.__cause__
        size = sum(memoryview(part).nbytes for part in parts) if len(parts) > 1 else len(parts[0])
        if size > self.limits.message_bytes or len(parts[0]) > self.limits.json_bytes:
            raise ValueNotSendable(
                f"{label} takes {size:,} bytes, of which {len(parts[0]):,} are not those of bytes and arrays; no more "
                f"than {self.limits.message_bytes:,} and {self.limits.json_bytes:,} are sent at once; write it into a "
                "file on the volume and send its name"
            )
        return parts

    def decode(self, data: Buffer) -> Any:
        """Raises ValueUnreadable for anything that `encode` does not produce, and for names unknown on this side."""
        message = container.unpack(data, self.limits)
        if message.plain:
            return message.json
        return Decoding(message, self.resolver, self.references, self.limits).run()

    def _parts(self, value: Any, *, careful: bool) -> list[Buffer]:
        encoding = Encoding(self.resolver, self.references, self.limits, writer_for, careful=careful)
        root = encoding.cell(value)
        if not encoding.nodes:
            return [container.PLAIN + orjson.dumps(value)]
        return container.pack(orjson.dumps([root, encoding.nodes]), encoding.frames)

    def _deep_parts(self, value: Any) -> list[Buffer]:
        """Encode a deeply nested value, or one sent from deep inside a program, with a higher recursion limit."""
        with _one_at_a_time:
            before = sys.getrecursionlimit()
            sys.setrecursionlimit(before + _CALLS_PER_OBJECT * self.limits.depth)
            try:
                return self._parts(value, careful=True)
            finally:
                sys.setrecursionlimit(before)
