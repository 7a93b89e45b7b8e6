"""From lines to URLs: each checked, in its normal form, once; what cannot be used is kept with the reason."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import TextIO

from sheaf.errors import InputError
from sheaf.tasks.load.errors import InvalidUrl
from sheaf.tasks.load.url import check_url
from sheaf_producer.dedupe import Dedupe
from sheaf_producer.draft import EXAMPLES, Draft, Tally
from sheaf_producer.read import Line


def usable_urls(lines: Iterable[Line], default_scheme: str | None, draft: Draft) -> Iterator[str]:
    """Yield each line's URL in its normal form, once; note the other lines in the draft.

    Raises InputError at the end if there was none, since an empty run is nobody's wish.
    """
    seen = Dedupe()
    rejects = draft.folder / "rejected.jsonl"
    with open(rejects, "w") as target:
        for line in lines:
            try:
                url = _url(line, default_scheme)
            except InvalidUrl as error:
                _reject(line, str(error), target, draft.tally)
                continue
            if seen.is_new(url):
                yield url
            else:
                draft.tally.duplicates += 1
    if draft.tally.rejected == 0:
        rejects.unlink()
    if len(seen) == 0:
        raise InputError(_nothing_usable(draft.tally))


def _url(line: Line, default_scheme: str | None) -> str:
    if line.problem is not None:
        raise InvalidUrl(line.problem)
    return check_url(line.text, default_scheme)


def _reject(line: Line, why: str, target: TextIO, tally: Tally) -> None:
    tally.rejected += 1
    if len(tally.examples) < EXAMPLES:
        tally.examples.append(f"line {line.number} of {line.source}: {why}")
    entry = {"source": line.source, "line": line.number, "text": line.text[:1000], "why": why}
    target.write(json.dumps(entry, ensure_ascii=False) + "\n")


def _nothing_usable(tally: Tally) -> str:
    if tally.rejected == 0:
        return "the list is empty: it holds no line but blank ones and comments; nothing was submitted"
    shown = "\n  ".join(tally.examples)
    more = f"\n  … and {tally.rejected - len(tally.examples):,} more" if tally.rejected > len(tally.examples) else ""
    return f"none of the {tally.rejected:,} lines is a URL that can be loaded; nothing was submitted:\n  {shown}{more}"
