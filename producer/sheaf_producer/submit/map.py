"""`sheaf map`, from what was typed to a run that is on its way."""

from __future__ import annotations

import random
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from types import SimpleNamespace

from sheaf.core.errors import InputError
from sheaf.core.settings import Settings
from sheaf.formats import check_holds
from sheaf.run.resolve import locate_output
from sheaf.run.task_spec import TaskSpec
from sheaf.submission.draft import Draft
from sheaf.submission.submission import Submission
from sheaf.submission.submit import AS_USUAL, RunRequest, SubmitOptions
from sheaf.tasks.description import TaskDescription, describe
from sheaf_producer.inputs import Inputs
from sheaf_producer.inputs.dedupe import unique
from sheaf_producer.submit.copies import Copy, plan_copy
from sheaf_producer.submit.flow import report_other_options, source_text, submit_and_report, with_progress


@dataclass(frozen=True, slots=True)
class Choice:
    """Which of the items are taken."""

    #: How many of the first; None: all.
    limit: int | None = None
    #: This part of them, from 0 to 1, chosen by `seed`; None: all.
    share: float | None = None
    seed: int = 0
    #: Each text once.
    unique: bool = False


@dataclass(frozen=True, slots=True)
class Request:
    """What was typed."""

    #: The task as far as it was typed; its options say how items are passed, and what takes the place of the task's own
    #: declaration.
    spec: TaskSpec
    inputs: Inputs
    #: The output's path; None: named after the function.
    output: str | None = None
    choice: Choice = Choice()
    how: SubmitOptions = AS_USUAL
    #: Make a copy in the input's order at the end.
    ordered: bool = False


def described(settings: Settings, request: Request) -> TaskDescription:
    """Look at task and inputs; return what the task says of itself, with what was typed in its place.

    Raises TaskError that names file and line, InputError that names the input; nothing is read or written.
    """
    request.inputs.check()
    typed = request.spec
    options = typed.options if typed.task == "exec" else {"pass": request.inputs.passing, **typed.options}
    found = describe(typed.task, settings.tasks_dir, options, modules=settings.extra_modules)
    return replace(found, spec=replace(found.spec, item_timeout_s=typed.item_timeout_s or found.spec.item_timeout_s))


def output_name(task: str, suffix: str = ".jsonl") -> str:
    """`prices.jsonl` for `shop.prices:prices`."""
    return f"{task.rpartition(':')[2]}{suffix}"


def submit_map(settings: Settings, request: Request) -> tuple[Submission, Copy | None]:
    """Check everything, write the run, put its first batches on the queue; return also what to make of it at the end.

    Raises before anything is written if something is wrong with the request, the output or the cluster.
    """
    description = described(settings, request)
    spec = description.spec
    output = request.output or output_name(spec.task, description.output)
    columns = spec.options.get("columns")
    output, copy = plan_copy(settings, output, ordered=request.ordered, columns=columns)
    if copy is not None and copy.path.endswith(".parquet"):
        spec = replace(spec, options={name: value for name, value in spec.options.items() if name != "columns"})
    inside = locate_output(settings.data_dir, output)
    check_holds(inside, "values")
    wanted = RunRequest(
        spec=spec,
        output=inside,
        source=source_text(request.inputs.names),
        how=request.how,
    )
    submission = submit_and_report(
        settings, wanted, lambda draft: chosen_items(request.inputs, request.choice, draft), "item"
    )
    report_other_options(
        submission.run, spec.options, lambda kept: SimpleNamespace(**dict.fromkeys(spec.options), **kept)
    )
    return submission, copy


def chosen_items(inputs: Inputs, choice: Choice, draft: Draft) -> Iterator[list[str]]:
    """Yield the items that are wanted, many at once; of a range of numbers none, which the draft then holds as such.

    Raises InputError if there is none, since an empty run is of no use to anybody.
    """
    numbers = inputs.numbers
    if numbers is not None and choice.share is None:
        draft.writer.set_numbers(numbers[: choice.limit])
        return
    taken = 0
    with closing(_wanted(inputs, choice, draft)) as blocks:
        for texts in with_progress(blocks, len):
            some = texts if choice.limit is None else texts[: choice.limit - taken]
            taken += len(some)
            yield some
            if taken == choice.limit:
                break
    if taken == 0:
        raise InputError(_nothing(inputs, choice, draft))


def _wanted(inputs: Inputs, choice: Choice, draft: Draft) -> Generator[list[str], None, None]:
    draw = random.Random(choice.seed).random  # noqa: S311  a sample, not a secret
    share = choice.share
    blocks = inputs.read(draft.reject)
    for texts in unique(blocks, draft) if choice.unique else blocks:
        yield texts if share is None else [text for text in texts if draw() < share]


def _nothing(inputs: Inputs, choice: Choice, draft: Draft) -> str:
    name = source_text(inputs.names)
    if draft.tally.rejected:
        return f"no line of {name} can be used; nothing was submitted:{draft.tally.shown()}"
    if choice.share is not None:
        return f"the sample of {name} is empty; take a larger share, or another --seed. Nothing was submitted"
    return f"{name} holds no item: no line but blank ones; nothing was submitted"
