"""A compose project of the tests' own: how to start it, use it as a person does, and take it away completely."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.run_folder import name_stack, remove_stack

ROOT = Path(__file__).parents[2]
WORKERS = 3


class Stack:
    """A compose project. Its name, its images' tag and its folder of lists are this session's own."""

    def __init__(self, folder: Path) -> None:
        self.name = name_stack()
        self.lists = folder
        # pytest's folders are closed to others; the producer's container is another user.
        self.lists.chmod(0o755)
        self._environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("SHEAF_", "COMPOSE_"))
        }
        self._environment |= {
            "SHEAF_PROJECT": self.name,
            "SHEAF_TAG": self.name,
            "SHEAF_LISTS": str(folder),
            "SHEAF_POOL_SIZE": "2",
            "SHEAF_TASKS": str(self._tasks_folder()),
            "SHEAF_EXTRA": "examples/requirements.txt",
            "SHEAF_ALLOW_EXEC": "1",
        }

    def _tasks_folder(self) -> Path:
        """The examples, and what is in `tasks/`, as one folder of tasks."""
        folder = self.lists / "tasks"
        for source in ("examples", "tasks"):
            shutil.copytree(ROOT / source, folder, dirs_exist_ok=True)
        return folder

    def compose(self, *arguments: str, given: str = "", check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run `docker compose`; `given` is its standard input."""
        done = subprocess.run(
            self._command(*arguments), env=self._environment, input=given, capture_output=True, text=True, timeout=600
        )
        assert done.returncode == 0 or not check, (
            f"docker compose {' '.join(arguments)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        )
        return done

    def pool_size(self, processes: int) -> None:
        """The next `up` gives each worker this many processes."""
        self._environment["SHEAF_POOL_SIZE"] = str(processes)

    def producer(self, *arguments: str, given: str = "", check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command in a producer container, as the README tells a person to."""
        return self.compose("run", "--rm", "-T", "producer", *arguments, given=given, check=check)

    def start_producer(self, *arguments: str) -> subprocess.Popen[str]:
        return self.start_compose("run", "--rm", "-T", "producer", *arguments, stderr=subprocess.STDOUT)

    def start_compose(self, *arguments: str, stderr: int = subprocess.DEVNULL) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self._command(*arguments),
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )

    def python(self, service: str, code: str) -> str:
        """Run Python in a running container of the service and return what it printed."""
        return self.compose("exec", "-T", service, "python", "-c", code).stdout

    def producer_python(self, code: str) -> str:
        return self.compose("run", "--rm", "-T", "--entrypoint", "python", "producer", "-c", code).stdout

    def start_python(self, code: str, *arguments: str) -> subprocess.Popen[str]:
        """Run Python in a producer container; what it prints comes line by line."""
        return subprocess.Popen(
            self._command("run", "--rm", "-T", "--entrypoint", "python", "producer", "-uc", code, *arguments),
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )

    @property
    def admin_password(self) -> str:
        return self.compose("run", "--rm", "-T", "--no-deps", "creds", "cat", "/creds/admin").stdout.strip()

    def as_admin(self, *command: str, as_json: bool = False) -> str:
        """Ask Redis as the one user who may do everything."""
        login = ["--no-auth-warning", "--user", "admin", "--pass", self.admin_password]
        options = ["-e", *(["--json"] if as_json else [])]
        return self.compose("exec", "-T", "redis", "redis-cli", *options, *login, *command).stdout

    def denials(self) -> list[str]:
        """What Redis has denied to our programs (they name their connections) since it started."""
        log = json.loads(self.as_admin("acl", "log", as_json=True))
        return [f"{entry['username']}: {entry['object']}" for entry in log if " name=sheaf " in entry["client-info"]]

    def site(self, target: str) -> str:
        """Ask the local site, from inside its container."""
        return self.python(
            "site", f"import urllib.request as u; print(u.urlopen('http://127.0.0.1:8000{target}').read().decode())"
        )

    @property
    def site_net(self) -> str:
        """The one address that the workers are allowed to reach although it is private."""
        return self.compose("exec", "-T", "site", "hostname", "-i").stdout.strip() + "/32"

    def urls(self, count: int, options: str = "") -> str:
        """A list of pages of the local site."""
        return "".join(f"http://site:8000/page/{number}{options}\n" for number in range(count))

    def containers(self, service: str) -> list[dict[str, Any]]:
        """What the engine knows about each running container of the service."""
        names = self.compose("ps", "--quiet", service).stdout.split()
        found: list[dict[str, Any]] = json.loads(docker("inspect", *names))
        return found

    def one_off_containers(self, service: str) -> list[str]:
        """The ids of the service's containers that run now by `compose run`."""
        labels = {"project": self.name, "service": service, "oneoff": "True"}
        filters = [
            word for name, value in labels.items() for word in ("--filter", f"label=com.docker.compose.{name}={value}")
        ]
        return docker("ps", "--quiet", *filters).split()

    def kill_process(self, host_pid: int) -> None:
        """kill -9 from the host."""
        self.as_root_of_host("sh", "-c", f"kill -9 {host_pid}")

    def as_root_of_host(self, *command: str) -> str:
        """Run a command among the host's processes, and beside our volume: from a container, without rights of ours."""
        options = ["--pid", "host", "--user", "0", "--volume", f"{self.name}_data:/data:ro"]
        return docker("run", "--rm", *options, f"sheaf:{self.name}", *command)

    def fetch(self, name: str, folder: Path) -> Path:
        """Bring an output to the host, as `make fetch-output` does."""
        self.compose("cp", f"worker:/data/{name}", str(folder / name))
        return folder / name

    def start(self, workers: int = WORKERS) -> None:
        self.compose("--profile", "site", "up", "-d", "--wait", "--build", "--scale", f"worker={workers}")

    def remove(self) -> None:
        remove_stack(self.name)

    @staticmethod
    def _command(*arguments: str) -> Sequence[str]:
        return ["docker", "compose", "--file", str(ROOT / "docker-compose.yml"), *arguments]


def docker(*arguments: str) -> str:
    return _docker(*arguments).stdout


def log_of(container: str, since: float = 0.0) -> str:
    """What a container has printed since then: its log, which goes to standard error, included."""
    done = _docker("logs", *(("--since", f"{since:.3f}") if since else ()), container)
    return done.stdout + done.stderr


def _docker(*arguments: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"docker {' '.join(arguments)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def wait_until(condition: Callable[[], bool], timeout_s: float, what: str) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {timeout_s} s"
        time.sleep(0.1)


def missing_engine() -> str:
    """Return why no stack can be started here, or nothing."""
    for command in (["docker", "info"], ["docker", "compose", "version"]):
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=30)
        except OSError as error:
            return f"no `{command[0]}`: {error.strerror}"
        if done.returncode != 0:
            return f"`{' '.join(command)}` fails: {done.stderr.strip()}"
    return ""
