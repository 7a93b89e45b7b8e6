"""From lines to URLs: each checked, in its normal form; what cannot be used is kept with the reason."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sheaf.errors import InputError
from sheaf.tasks.load.errors import InvalidUrl
from sheaf.tasks.load.url import check_url
from sheaf_producer.dedupe import unique
from sheaf_producer.draft import Draft, Tally
from sheaf_producer.inputs.stream import Line

#: URLs that are yielded at once.
_AT_ONCE = 4096


def usable_urls(lines: Iterable[Line], default_scheme: str | None, draft: Draft) -> Iterator[list[str]]:
    """Yield the lines' URLs in their normal form, each once, many at once; note the other lines in the draft.

    Raises InputError at the end if there was none, since an empty run is nobody's wish.
    """
    some = False
    for urls in unique(_checked(lines, default_scheme, draft), draft):
        some = some or bool(urls)
        yield urls
    if not some:
        raise InputError(_nothing_usable(draft.tally))


def _checked(lines: Iterable[Line], default_scheme: str | None, draft: Draft) -> Iterator[list[str]]:
    urls = []
    for line in lines:
        try:
            urls.append(_url(line, default_scheme))
        except InvalidUrl as error:
            draft.reject(line._replace(problem=str(error)))
        if len(urls) == _AT_ONCE:
            yield urls
            urls = []
    yield urls


def _url(line: Line, default_scheme: str | None) -> str:
    if line.problem is not None:
        raise InvalidUrl(line.problem)
    return check_url(line.text, default_scheme)


def _nothing_usable(tally: Tally) -> str:
    if tally.rejected == 0:
        return "the list is empty: it holds no line but blank ones and comments; nothing was submitted"
    return f"none of the {tally.rejected:,} lines is a URL that can be loaded; nothing was submitted:{tally.shown()}"
