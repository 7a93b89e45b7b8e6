"""`sheaf load`, from what was typed to a run that is on its way."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from sheaf.core.errors import InputError
from sheaf.core.settings import Settings, proxy_variables
from sheaf.formats import check_holds
from sheaf.run.resolve import locate_output
from sheaf.run.task_spec import TaskSpec
from sheaf.submission.draft import Draft
from sheaf.submission.submission import Submission
from sheaf.submission.submit import RunRequest, SubmitOptions
from sheaf.tasks.load.options import LoadOptions
from sheaf_producer.inputs.read import read_lists
from sheaf_producer.inputs.stream import check_inputs
from sheaf_producer.inputs.urls import usable_urls
from sheaf_producer.submit.flow import report_other_options, source_text, submit_and_report, with_progress

#: A certificate as text.
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----", re.ASCII)


@dataclass(frozen=True, slots=True)
class Request:
    """What was typed."""

    lists: Sequence[str]
    output: str
    options: Mapping[str, Any]
    default_scheme: str | None
    how: SubmitOptions


def read_certificates(name: str) -> str:
    """The certificates of a file, as text. Raises InputError if it holds none that can be used."""
    import ssl

    try:
        # What people write between the certificates is of no use to anybody, and in any coding.
        text = "\n".join(_CERTIFICATE.findall(Path(name).read_text("latin-1")))
    except OSError as error:
        raise InputError(f"the certificates in {name} cannot be read: {error.strerror}") from error
    try:
        ssl.create_default_context(cadata=text or "none")
    except (ssl.SSLError, ValueError) as error:
        raise InputError(
            f"{name} contains no usable certificates ({error}); it has to be PEM, with lines "
            "-----BEGIN CERTIFICATE-----"
        ) from error
    return text


def warn_of_proxies() -> None:
    """Say that variables which other programs obey are not obeyed here."""
    variables = proxy_variables()
    if variables:
        click.echo(
            f"{' and '.join(variables)}: ignored. A proxy would connect in Sheaf's place, bypassing its check of "
            "addresses; pages are loaded directly (docs/loading.md).",
            err=True,
        )


def submit_load(settings: Settings, request: Request) -> Submission:
    """Check everything, write the run, put its first batches on the queue.

    Raises before anything is written if something is wrong with the request, the output or the cluster.
    """
    options = LoadOptions.from_mapping(request.options)
    check_inputs(request.lists)
    inside = locate_output(settings.data_dir, request.output)
    check_holds(inside, "pages")
    wanted = RunRequest(
        spec=TaskSpec("load", request.options, item_timeout_s=options.longest_s),
        output=inside,
        source=source_text(request.lists),
        how=request.how,
    )

    def items(draft: Draft) -> Iterator[list[str]]:
        sheets = with_progress(read_lists(request.lists), lambda sheet: sheet.chunk.data.count(b"\n"))
        return usable_urls(sheets, request.default_scheme, draft)

    submission = submit_and_report(settings, wanted, items, "URL")
    report_other_options(submission.run, request.options, LoadOptions.from_mapping)
    return submission
