"""`sheaf load`, from what was typed to a run that is on its way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sheaf.formats import check_holds
from sheaf.locate import locate_output
from sheaf.settings import Settings
from sheaf.tasks.load.options import TUNING, LoadOptions
from sheaf_producer.deliver import Delivery, deliver, source_text, tell_other_options, told
from sheaf_producer.draft import Draft
from sheaf_producer.inputs.stream import check_inputs
from sheaf_producer.occupied import Onto
from sheaf_producer.read import read_lists
from sheaf_producer.submit import Wish
from sheaf_producer.urls import usable_urls


@dataclass(frozen=True, slots=True)
class Request:
    """What was typed."""

    lists: Sequence[str]
    output: str
    options: Mapping[str, Any]
    default_scheme: str | None
    batch_size: int | None
    again: bool
    #: What to do with an output that holds records of other runs.
    onto: Onto = Onto.ASK


def submit_load(settings: Settings, request: Request) -> Delivery:
    """Check everything, write the run, put its first batches on the queue.

    Raises before anything is written if something is wrong with the request, the output or the cluster.
    """
    options = LoadOptions.from_mapping(request.options)
    check_inputs(request.lists)
    inside = locate_output(settings.data_dir, request.output)
    check_holds(inside, "pages")
    wish = Wish(
        task="load",
        options=request.options,
        output=inside,
        source=source_text(request.lists),
        batch_size=request.batch_size,
        tuning=TUNING,
        item_timeout_s=options.longest_s,
        again=request.again,
        onto=request.onto,
    )

    def items(draft: Draft) -> Iterator[list[str]]:
        sheets = told(read_lists(request.lists), lambda sheet: sheet.chunk.data.count(b"\n"))
        return usable_urls(sheets, request.default_scheme, draft)

    delivery = deliver(settings, wish, items, "URL")
    tell_other_options(delivery.run, request.options, LoadOptions.from_mapping)
    return delivery
