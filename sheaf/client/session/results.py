"""What came of a segment's items, read from the session's output by its index."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from sheaf.formats.values import decoded
from sheaf.output.index.rows import Failure
from sheaf.output.output import Output
from sheaf.run.run import Run

if TYPE_CHECKING:
    from sheaf.client.session.stream import Stream


class Chunk(NamedTuple):
    """Results that arrived together: as lines of JSON until they are read, or as failures."""

    indexes: list[int]
    data: bytes
    failures: list[Failure]

    def values(self) -> Iterator[tuple[int, Any]]:
        """Yield (index, value) of the items that succeeded."""
        # The lines hold no other newlines: JSON writes those in texts as escapes.
        lines = json.loads(b"[" + self.data.rstrip(b"\n").replace(b"\n", b",") + b"]")
        if b'"not_finite":' in self.data:
            for line in lines:
                if "not_finite" in line:
                    line["value"] = decoded(line["value"], line["not_finite"])
        for line in lines:
            yield line["index"], line["value"] if "value" in line else base64.b64decode(line["value_base64"])


@dataclass(slots=True)
class Segment:
    """A stretch of a stream that was sent off as one run."""

    stream: Stream
    run: Run
    result_file: ResultFile
    #: The place of its first item in the stream.
    first: int
    #: When it was sent off (monotonic).
    sent: float
    #: How many of its items' results were read so far, the bytes of these, and the last commit that they came from.
    settled: int = 0
    result_bytes: int = 0
    after: int = 0
    failed: set[int] = field(default_factory=set)

    @property
    def name(self) -> str:
        return self.run.manifest.run

    @property
    def count(self) -> int:
        return self.run.manifest.items

    @property
    def complete(self) -> bool:
        return self.settled == self.count


class ResultFile:
    """One of a session's outputs, as the thread that reads results has it open."""

    def __init__(self, name: str, output: Output) -> None:
        #: Its path inside the data folder.
        self.name = name
        self._output = output
        #: Segments that were sent to it, and bytes of results that were read.
        self.sent = self.bytes = 0
        #: Names of the segments that are out.
        self.open: set[str] = set()
        #: Another file has taken its place: no more segments go to it.
        self.last = False

    def fresh(self, segment: Segment) -> list[Chunk]:
        """Read what was committed of the segment since the last time."""
        chunks = []
        for piece in self._output.records.slices(segment.name, segment.after):
            segment.after = piece.commit
            segment.settled += len(piece.indexes)
            segment.result_bytes += piece.length
            self.bytes += piece.length
            chunks.append(Chunk(piece.indexes, self._output.records.read_slice(piece), []))
        if segment.settled < segment.count:
            found = self._output.reader.failures(segment.name)
            failures = [failure for failure in found if failure.index not in segment.failed]
            if failures:
                segment.failed.update(failure.index for failure in failures)
                segment.settled += len(failures)
                chunks.append(Chunk([failure.index for failure in failures], b"", failures))
        return chunks

    def close(self) -> None:
        self._output.close()

    def remove(self, *, keep: bool) -> None:
        """All of it was read."""
        self.close()
        if not keep:
            for path in self._output.path.parent.glob(f"{self._output.path.name}*"):
                path.unlink(missing_ok=True)
