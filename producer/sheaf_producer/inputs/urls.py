"""From lines to URLs: each checked, in its normal form; what cannot be used is kept with the reason."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sheaf.core.errors import InputError
from sheaf.submission.draft import Draft
from sheaf.submission.tally import Line, Tally
from sheaf.tasks.load.errors import InvalidUrl
from sheaf.tasks.load.url import LONGEST_URL, check_url, split_normal
from sheaf_producer.inputs.dedupe import unique
from sheaf_producer.inputs.read import Sheet


def usable_urls(sheets: Iterable[Sheet], default_scheme: str | None, draft: Draft) -> Iterator[list[str]]:
    """Yield the lines' URLs in their normal form, each once, many at once; note the other lines in the draft.

    Raises InputError at the end if there was none, since an empty run is of no use to anybody.
    """
    some = False
    for urls in unique((_urls(sheet, default_scheme, draft) for sheet in sheets), draft):
        some = some or bool(urls)
        yield urls
    if not some:
        raise InputError(_nothing_usable(draft.tally))


def _urls(sheet: Sheet, default_scheme: str | None, draft: Draft) -> list[str]:
    # Nearly all lines of nearly all long lists are what they should be: an object for each would take most of the time.
    urls = None if sheet.rejected else split_normal(sheet.chunk.data)
    if urls is not None and max(map(len, urls), default=0) <= LONGEST_URL:
        return urls
    urls = []
    for line in sheet.lines():
        try:
            urls.append(_url(line, default_scheme))
        except InvalidUrl as error:
            draft.reject(line._replace(problem=str(error)))
    return urls


def _url(line: Line, default_scheme: str | None) -> str:
    if line.problem is not None:
        raise InvalidUrl(line.problem)
    return check_url(line.text, default_scheme)


def _nothing_usable(tally: Tally) -> str:
    if tally.rejected == 0:
        return "the list is empty: it holds no line but blank ones and comments; nothing was submitted"
    return f"none of the {tally.rejected:,} lines is a URL that can be loaded; nothing was submitted:{tally.shown()}"
