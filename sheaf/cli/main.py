"""The `sheaf` command: finds its commands by name and turns errors into one clear line and an exit status.

Exit status: 0 done, 1 it could not be done now or something is wrong, 2 ask differently, 130 interrupted.
"""

from __future__ import annotations

import dataclasses
import gc
import importlib
import os
import signal
import sys
from pathlib import Path
from typing import cast

import click

from sheaf.core import permissions, terminal
from sheaf.core.errors import SheafError, UsageError
from sheaf.core.settings import Settings
from sheaf.core.version import __version__

#: The commands in the order in which one meets them, and where each is.
_COMMANDS = {
    "up": "sheaf.cli.up_down:up",
    "load": "sheaf.cli.load:load",
    "map": "sheaf.cli.map:map_",
    "exec": "sheaf.cli.exec:exec_",
    "watch": "sheaf.cli.watch:watch",
    "status": "sheaf.cli.status:status",
    "failures": "sheaf.cli.failures:failures",
    "retry": "sheaf.cli.retry:retry",
    "verify": "sheaf.cli.verify:verify",
    "get": "sheaf.cli.get:get",
    "export": "sheaf.cli.export:export",
    "repair": "sheaf.cli.repair:repair",
    "cancel": "sheaf.cli.cancel:cancel",
    "prune": "sheaf.cli.prune:prune",
    "down": "sheaf.cli.up_down:down",
    "torture": "sheaf.cli.torture:torture",
}


class Commands(click.Group):
    """A command's module is imported when the command is called, so that each starts fast."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        place = _COMMANDS.get(cmd_name)
        if place is None:
            return None
        module, _, name = place.partition(":")
        return cast(click.Command, getattr(importlib.import_module(module), name))


@click.command(
    cls=Commands,
    invoke_without_command=True,
    # `color`: click takes nothing out of what is printed; the streams show it (sheaf.core.terminal), data stays exact.
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100, "color": True},
)
@click.option("--data", type=click.Path(path_type=Path), help="The data folder [SHEAF_DATA_DIR, else ./data].")
@click.version_option(__version__, message="sheaf %(version)s")
@click.pass_context
def sheaf_command(context: click.Context, data: Path | None) -> None:
    """Many workers, one file, every result exactly once.

    \b
    sheaf up                              start a cluster on this machine
    sheaf load urls.txt -o pages.warc.gz  load the pages into one file
    sheaf verify pages.warc.gz            check that each is in it, once and whole
    sheaf down                            stop the cluster
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())
        return
    settings = Settings.from_env()
    terminal.type_commands_as(settings.command)
    context.obj = settings if data is None else dataclasses.replace(settings, data_dir=data)
    context.meta[permissions.UMASK] = permissions.follow(context.obj.data_dir)


def main() -> None:
    """Run the command line and exit."""
    terminal.guard()
    try:
        status = sheaf_command.main(prog_name="sheaf", standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        status = _complain(_usage(error), error.exit_code)
    except UsageError as error:
        status = _complain(str(error), 2)
    except SheafError as error:
        status = _complain(str(error), 1)
    except (KeyboardInterrupt, click.Abort):
        status = _complain("interrupted", 130)
    except BrokenPipeError:
        # `sheaf failures | head`: the reader has had enough. Python would complain once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 128 + signal.SIGPIPE
    except OSError as error:
        status = _complain(f"{error.strerror or error}" + (f": {error.filename}" if error.filename else ""), 1)
    # The interpreter's last garbage collections have nothing to find, and would take 33 of a command's 300 ms.
    gc.freeze()
    raise SystemExit(status)


def _usage(error: click.ClickException) -> str:
    message = error.format_message()
    context = error.ctx if isinstance(error, click.UsageError) else None
    return f"{message.rstrip('.')}; see `{context.command_path} --help`" if context is not None else message


def _complain(message: str, status: int) -> int:
    sys.stderr.write(f"sheaf: {message}\n")
    return status
