"""A Python that has imported the app and forks itself, since the imports take most of a start.

`python -m tests.support.fork_server` reads a line of JSON for each process to start and prints the
process's number. It ends with its standard input.
"""

from __future__ import annotations

import gc
import json
import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[2]
# They are read when a module is imported, or name another Python.
READ_BY_IMPORTS = {"HF_ENDPOINT", "HF_HOME", "HF_HUB_OFFLINE", "PYTHONPATH", "SPACES_ZERO_GPU"}


class ForkedProcess:
    """A process that the fork server started, with the methods of `subprocess.Popen` used here."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def poll(self) -> int | None:
        """Return 0 if the process has ended, else None."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return 0
        return None

    def wait(self, timeout: float) -> None:
        """Wait until the process has ended."""
        wait_until(lambda: self.poll() is not None, timeout)


def can_fork(command: list[str], environment: Mapping[str, str]) -> bool:
    """Return whether the fork server runs that command, with all its variables, as a new Python."""
    return (
        sys.platform == "linux"
        and (command == ["app.py"] or command[0] == "-c")
        and all(
            environment.get(name) == _server_environment().get(name) for name in READ_BY_IMPORTS
        )
    )


def fork(command: list[str], log: Path, environment: Mapping[str, str]) -> ForkedProcess:
    """Start `python app.py` or `python -c SCRIPT` as a session of its own that prints to `log`."""
    server = _fork_server()
    assert server.stdin and server.stdout
    print(json.dumps([command, str(log), dict(environment)]), file=server.stdin, flush=True)
    return ForkedProcess(int(server.stdout.readline()))


@cache
def _server_environment() -> dict[str, str]:
    """Return the variables of the fork server: this process's when they are first needed."""
    return dict(os.environ)


@cache
def _fork_server() -> subprocess.Popen[str]:
    """Start this process's fork server."""
    return subprocess.Popen(
        [sys.executable, "-m", __name__],
        cwd=ROOT,
        env=_server_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _run(command: list[str], log: str, environment: dict[str, str]) -> None:
    """Become `python *command` in this forked process."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    output = os.open(log, os.O_WRONLY | os.O_APPEND)
    for stream, file in enumerate((os.open(os.devnull, os.O_RDONLY), output, output)):
        os.dup2(file, stream)
    os.environ.clear()
    os.environ.update(environment)
    if command[0] == "-c":
        sys.argv = ["-c"]
        exec(command[1], {"__name__": "__main__"})
    else:
        sys.argv = command
        runpy.run_path(command[0], run_name="__main__")


def _reap_children(*_: Any) -> None:
    """Let processes that have ended disappear."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def main() -> None:
    """Fork a process for each line of standard input."""
    import dream.page.app  # noqa: F401

    signal.signal(signal.SIGCHLD, _reap_children)
    gc.freeze()  # Otherwise a collection copies the memory that the processes share.
    for line in sys.stdin:
        if not (pid := os.fork()):
            _run(*json.loads(line))
            return
        print(pid, flush=True)


if __name__ == "__main__":
    main()
