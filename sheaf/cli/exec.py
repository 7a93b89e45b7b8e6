"""`sheaf exec`: a command for every item of a list."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from sheaf.cli.map import carry_out, first_items
from sheaf.cli.options import input_options, request_of
from sheaf.cli.sizes import size
from sheaf.core.settings import Settings
from sheaf.run.task_spec import TaskSpec
from sheaf.tasks.exec.command import shown
from sheaf.tasks.exec.options import TUNING, ExecOptions

#: Parameters of the command line that are options of the run, by the same name.
_RUN_OPTIONS = ("shell", "stdin", "accept_exit", "timeout_s", "attempts", "max_output_bytes")
_COMMAND = "sheaf.exec.command"


class _AfterDashes(click.Command):
    """Keeps what follows `--` separate: it is the command, whatever it looks like."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        place = args.index("--") if "--" in args else len(args)
        ctx.meta[_COMMAND] = args[place + 1 :]
        return super().parse_args(ctx, args[:place])


class _Statuses(click.ParamType):  # type: ignore[type-arg]  # generic in newer versions of click only
    """`0,1`, or `any`."""

    name = "statuses"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[int]:
        if str(value).strip() == "any":
            return []
        try:
            return [int(status) for status in str(value).split(",")]
        except ValueError:
            self.fail(f"{value!r} is no list of exit statuses; write it as 0,1, or any", param, ctx)


@click.command("exec", cls=_AfterDashes, short_help="Run a command for every item of a list.")
@click.argument("inputs", metavar="INPUT... -- COMMAND...", nargs=-1, required=True)
@click.option("--output", "-o", default="exec.jsonl", show_default=True, help="The file; its suffix: the format.")
@click.option("--dry-run", is_flag=True, help="Show the first commands; run nothing.")
@click.option(
    "--shell", is_flag=True, default=None, help="The command is a line for /bin/sh; the item is one word in it."
)
@click.option("--stdin", is_flag=True, default=None, help="The command reads the item from its standard input.")
@click.option("--accept-exit", type=_Statuses(), metavar="0,1", help="Exit statuses that count as success, or any [0].")
@click.option("--attempts", type=click.IntRange(1), metavar="N", help="How often a command is tried [1].")
@click.option("--max-output", "max_output_bytes", type=size, help="How much of each output is kept [1MiB].")
@click.option("--cwd", metavar="DIR", help="The folder to run in [this one; with containers: the data folder].")
@input_options
@click.pass_context
def exec_(context: click.Context, /, inputs: tuple[str, ...], **given: Any) -> None:
    """Run a command for every item of the inputs; output and exit status of each go into one file.

    The command runs as it is typed, without a shell. An exit status other than 0 makes its item a failure. Workers run
    commands only if allowed: those of `sheaf up` do, those in containers need SHEAF_ALLOW_EXEC=1.

    \b
    In the command               for the item photos/a.jpg
      {}                         photos/a.jpg    (added at the end if nothing of this list is in the command)
      {.}                        photos/a
      {/}                        a.jpg
      {//}                       photos
      {/.}                       a
      {#}                        the item's number, from 1

    \b
    sheaf exec --files 'photos/*.jpg' -- convert {} -resize 200 {.}.small.jpg
    sheaf exec hosts.txt --timeout 5 --accept-exit any -- ping -c 1 {}
    sheaf exec words.txt --shell -- 'grep -c {} book.txt | tr -d "\\n"'
    """
    settings: Settings = context.obj
    options = {name: given[name] for name in _RUN_OPTIONS if given[name] is not None}
    options |= {"command": context.meta[_COMMAND], "cwd": _folder(settings, given["cwd"])}
    checked = ExecOptions.from_mapping(options)
    request = request_of(TaskSpec("exec", options, checked.longest_s), inputs, TUNING, given)
    if given["dry_run"]:
        request.inputs.check()
        for number, text in enumerate(first_items(request), start=1):
            click.echo(shown(checked.command, text, number, shell=checked.shell, on_stdin=checked.stdin))
        click.echo("Nothing was run.", err=True)
        return
    carry_out(settings, request, detach=given["detach"], explain=given["explain"])


def _folder(settings: Settings, named: str | None) -> str:
    """Where the commands run. Workers in containers do not see our folder; they all see the data folder."""
    if named is not None:
        return str(Path(named).absolute())
    return str(Path.cwd() if settings.redis_url is None else settings.data_dir.absolute())
