"""Settings: one frozen dataclass, read once from the environment, passed on as an argument.

Each field `name` is read from SHEAF_NAME, or from the file that SHEAF_NAME_FILE names (for secrets).
"""

from __future__ import annotations

import ipaddress
import os
import types
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Self, get_args, get_type_hints

from sheaf.core.errors import SettingsError

#: Variables that other programs know, each tried if the setting's own is not set.
_USUAL = {
    "ca_bundle": ("CURL_CA_BUNDLE", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"),
    "ca_folder": ("SSL_CERT_DIR",),
}
#: Variables that tell other programs to load pages through a proxy.
_PROXIES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY")
_TRUTH = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}


@dataclass(frozen=True, slots=True)
class Settings:
    #: The folder that all workers share: outputs, their indexes, and the runs.
    data_dir: Path = Path("data")
    #: Where Redis is. Unset: the embedded cluster of `data_dir`, started by `sheaf up`.
    redis_url: str | None = field(default=None, repr=False)
    #: Redis's ACL user; unset for the default user.
    redis_user: str | None = None
    #: Redis's password. Prefer SHEAF_REDIS_PASSWORD_FILE.
    redis_password: str | None = field(default=None, repr=False)
    #: The file with the key that calls are signed with; unset: one in `data_dir`, which is created when it is needed.
    #: There is no setting for the key itself, as a pool's children get the environment.
    cluster_key_file: Path | None = None

    #: Processes in a worker's pool; 0: its part of the host's cores, no more than this container may use (affinity and
    #: cgroup quota). The workers of a host share its cores, each taking its part again as others come and go.
    pool_size: int = 0
    #: Batches that a worker holds at once at most; 0: as many as half a second of its pool's work needs.
    batches_in_flight: int = 0
    #: Seconds that a worker may hold a batch without a sign of life before others take it.
    batch_lease_s: float = 15.0
    #: Seconds between a worker's signs of life (leases, heartbeat).
    heartbeat_s: float = 5.0
    #: Seconds between two looks of the reconciler for batches to put back.
    reconcile_s: float = 3.0
    #: Batches that are on the queue at most: Redis stays small, whatever the run's length. The reconciler tops it up.
    queue_batches: int = 2000
    #: Seconds a worker takes at most to finish what it has in hand when asked to stop; the rest is handed back.
    grace_s: float = 20.0
    #: Seconds of work that a worker takes ahead of its pool; more evens out hiccups, less leaves more to other workers.
    ahead_s: float = 0.5
    #: Restart a pool's child after this many items; 0: never.
    child_items: int = 0
    #: Restart a pool's child that exceeds this many MiB when it is next idle, kill it at twice that; 0: never.
    child_memory_mb: int = 0
    #: Processes that a worker runs at once at most for programs' `Process.start()`, beside its pool; 0: 64 for each
    #: core that it may use, and no more than 256. Others wait.
    hosted: int = 0
    #: The folder with the users' own task modules.
    tasks_dir: Path = Path("tasks")
    #: Comma-separated modules outside the tasks folder whose public functions may also run as tasks.
    task_modules: str = ""
    #: Whether workers run the task `exec`, that is, any command; unset: only those that `sheaf up` starts.
    allow_exec: bool | None = None

    #: Comma-separated networks that a run's --allow-net may open at most; `none`: no private address, whatever a run
    #: says. A cloud's service of metadata is opened only by its own address (169.254.169.254), here and in the run.
    allow_net_most: str = "0.0.0.0/0,::/0"

    #: The file with the certificates of authorities (PEM) that `load` trusts, instead of the public ones. Unset: what
    #: CURL_CA_BUNDLE, SSL_CERT_FILE or REQUESTS_CA_BUNDLE names.
    ca_bundle: Path | None = None
    #: A folder of such certificates, as OpenSSL wants it, beside that. Unset: what SSL_CERT_DIR names.
    ca_folder: Path | None = None

    #: A commit is written when this many MiB have accumulated ...
    commit_mb: float = 16.0
    #: ... or the oldest record has waited this many seconds, or nothing else is in flight.
    commit_s: float = 1.0
    #: Seconds a worker may hold the output's lock without renewing it.
    lock_lease_s: float = 10.0
    #: Seconds to wait for the output's lock, then for its fence, before the commit is put off and tried again.
    lock_wait_s: float = 30.0

    #: The file a worker touches while it makes progress; unset: none.
    health_file: Path | None = None
    #: The descriptor, open already, that what tasks print is written to: 2 is stderr, with the worker's log.
    prints_fd: int = 2
    #: What tells the host of this worker from others; unset: the kernel's boot id. Workers of one host share its cores.
    host: str | None = None
    #: What a person types to call Sheaf, for the commands in messages.
    command: str = "sheaf"
    #: The name to show for this worker; unset: the container's or the host's name.
    label: str | None = None
    #: One of debug, info, warning, error.
    log_level: str = "info"

    def __post_init__(self) -> None:
        for name in (
            "batch_lease_s",
            "heartbeat_s",
            "reconcile_s",
            "commit_s",
            "commit_mb",
            "ahead_s",
            "lock_lease_s",
            "lock_wait_s",
        ):
            if getattr(self, name) <= 0:
                raise SettingsError(f"{_variable(name)}={getattr(self, name)} must be greater than 0")
        for name in (
            "pool_size",
            "batches_in_flight",
            "grace_s",
            "child_items",
            "child_memory_mb",
            "hosted",
            "prints_fd",
        ):
            if getattr(self, name) < 0:
                raise SettingsError(f"{_variable(name)}={getattr(self, name)} must not be negative")
        if self.queue_batches < 1:
            raise SettingsError(f"SHEAF_QUEUE_BATCHES={self.queue_batches} must be at least 1")
        if self.heartbeat_s * 2 > self.batch_lease_s:
            raise SettingsError(
                f"SHEAF_HEARTBEAT_S={self.heartbeat_s} must be at most half of "
                f"SHEAF_BATCH_LEASE_S={self.batch_lease_s}, or healthy workers would lose their batches"
            )
        if self.log_level not in ("debug", "info", "warning", "error"):
            raise SettingsError(f"SHEAF_LOG_LEVEL={self.log_level!r} is not one of debug, info, warning, error")

        for network in self.networks:
            try:
                ipaddress.ip_network(network)
            except ValueError as error:
                raise SettingsError(
                    f"SHEAF_ALLOW_NET_MOST={self.allow_net_most!r} cannot be used: {error}; write networks as "
                    "10.0.0.0/8 and fd00::/8, separated by commas, or `none`"
                ) from error

    @property
    def networks(self) -> tuple[str, ...]:
        """The networks in `allow_net_most`."""
        names = tuple(name.strip() for name in self.allow_net_most.split(",") if name.strip())
        return () if names == ("none",) else names

    @property
    def extra_modules(self) -> tuple[str, ...]:
        """The names in `task_modules`."""
        return tuple(name.strip() for name in self.task_modules.split(",") if name.strip())

    @classmethod
    def from_env(cls, environment: Mapping[str, str] | None = None) -> Self:
        """Read the settings. Raises SettingsError that names the variable for a bad value."""
        source = os.environ if environment is None else environment  # noqa: TID251  the one place that reads it
        hints = get_type_hints(cls)
        values: dict[str, Any] = {}
        for each in fields(cls):
            text = _lookup(source, _variable(each.name))
            usual = (source.get(variable) for variable in _USUAL.get(each.name, ()))
            text = text if text is not None else next(filter(None, usual), None)
            if text is not None:
                values[each.name] = _convert(_variable(each.name), text, hints[each.name])
        return cls(**values)


def proxy_variables(environment: Mapping[str, str] | None = None) -> list[str]:
    """The variables that are set and ask for a proxy, which `load` does not use; none if NO_PROXY takes all back."""
    source = os.environ if environment is None else environment  # noqa: TID251
    if "*" in (source.get("NO_PROXY"), source.get("no_proxy")):
        return []
    return [name for known in _PROXIES for name in (known, known.lower()) if source.get(name)]


def child_environment(changes: Mapping[str, str | None]) -> dict[str, str]:
    """Return this process's environment with some variables changed (None: taken out), for a process that we start."""
    merged: dict[str, str | None] = {**os.environ, **changes}  # noqa: TID251
    return {name: value for name, value in merged.items() if value is not None}


#: What a program's process on a worker has of the worker's machine, and not of the program: where it is, what it may
#: reach, how Python and the loader work. docs/settings.md lists them.
_OF_THE_MACHINE = frozenset(
    ("PATH", "HOME", "HOSTNAME", "USER", "LOGNAME", "SHELL", "PWD", "OLDPWD", "TMPDIR", "SHLVL", "_")
)
_OF_THE_MACHINE_PREFIXES = ("SHEAF_", "PYTHON", "LD_")


def own_environment() -> dict[str, str]:
    """What this program's processes get of its environment, wherever they run."""
    return {name: value for name, value in os.environ.items() if not _is_of_the_machine(name)}  # noqa: TID251


def replace_environment(of_program: Mapping[str, str]) -> None:
    """Give this process a program's environment, with what is of this machine."""
    for name in [name for name in os.environ if not _is_of_the_machine(name)]:  # noqa: TID251
        del os.environ[name]  # noqa: TID251
    os.environ.update({name: value for name, value in of_program.items() if not _is_of_the_machine(name)})  # noqa: TID251


def _is_of_the_machine(name: str) -> bool:
    return name in _OF_THE_MACHINE or name.startswith(_OF_THE_MACHINE_PREFIXES)


def _variable(name: str) -> str:
    return f"SHEAF_{name.upper()}"


def _lookup(source: Mapping[str, str], variable: str) -> str | None:
    """The variable's text, or its file's; empty means unset, as compose passes `${X:-}`."""
    path = source.get(f"{variable}_FILE")
    if path:
        if source.get(variable):
            raise SettingsError(f"{variable} and {variable}_FILE are both set; set one")
        try:
            return Path(path).read_text(encoding="utf-8").strip()
        except UnicodeDecodeError:
            raise SettingsError(f"{variable}_FILE names a file that is not UTF-8 text; rewrite it") from None
        except OSError as error:
            # Who writes a password where its file's name belongs should not read it in a log.
            shown = path if "/" in path or "PASSWORD" not in variable else "***"
            raise SettingsError(f"{variable}_FILE={shown!r} cannot be read: {error.strerror}") from None
    return source.get(variable) or None


def _convert(variable: str, text: str, hint: Any) -> Any:
    kind = hint
    if isinstance(hint, types.UnionType):
        kind = next(option for option in get_args(hint) if option is not type(None))
    if kind is bool:
        if text.lower() not in _TRUTH:
            raise SettingsError(f"{variable}={text!r} must be 1 or 0")
        return _TRUTH[text.lower()]
    try:
        return kind(text)
    except ValueError as error:
        raise SettingsError(f"{variable}={text!r} is not a valid {kind.__name__}") from error
