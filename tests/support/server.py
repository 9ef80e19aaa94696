"""The app as a real server in a subprocess, a line to it that can be cut, and other servers."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.support.fork_server import ROOT, ForkedProcess, can_fork, fork


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@contextmanager
def run_app(log: Path, *command: str, **environment: str) -> Iterator[str]:
    """Run `python app.py`, or Python with `command`, until the block ends; yield its address."""
    port = int(environment.get("GRADIO_SERVER_PORT", 0)) or free_port()
    variables = os.environ | {"GRADIO_SERVER_PORT": str(port), **environment}
    program = list(command) or ["app.py"]
    if can_fork(program, variables):
        log.write_bytes(b"")
        with _until_ended(fork(program, log, variables), log, port) as address:
            yield address
    else:
        program.insert(0, sys.executable)
        with run_server(program, log, port, cwd=ROOT, env=variables) as address:
            yield address


@contextmanager
def run_server(command: list[str], log: Path, port: int, **options: Any) -> Iterator[str]:
    """Run a server until the block ends; yield its address once it answers."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, start_new_session=True, **options
        )
    with _until_ended(process, log, port) as address:
        yield address


@contextmanager
def _until_ended(
    process: subprocess.Popen[bytes] | ForkedProcess, log: Path, port: int
) -> Iterator[str]:
    """Yield a server's address once it answers, and end it when the block ends."""
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(3000):
            assert process.poll() is None, log.read_text()
            try:
                urllib.request.urlopen(address, timeout=5).close()
                break
            except OSError:
                time.sleep(0.1)
        yield address
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=30)


@contextmanager
def serve_http(handler: type[BaseHTTPRequestHandler]) -> Iterator[int]:
    """Serve on this machine, without a log, until the block ends; yield the port."""
    quiet = type("QuietHandler", (handler,), {"log_message": lambda *_: None})
    server = ThreadingHTTPServer(("127.0.0.1", 0), quiet)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()


class Line:
    """Forwards its port to a server, both ways, until it is cut."""

    def __init__(self, port: int) -> None:
        self._server = ("127.0.0.1", port)
        self._listener: socket.socket | None = None
        self._ends: list[tuple[socket.socket, socket.socket]] = []
        self.port = 0
        self.listen()

    def listen(self) -> None:
        """Accept connections, at the same port as before."""
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept_all, args=[self._listener], daemon=True).start()

    def cut(self, server_knows: bool) -> None:
        """Close all connections and accept no more; a lost phone does not tell the server."""
        assert self._listener
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        ends, self._ends = self._ends, []
        for browser, server in ends:
            for end in (browser, server) if server_knows else (browser,):
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def _accept_all(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                browser, _ = listener.accept()
                ends = browser, socket.create_connection(self._server)
                self._ends.append(ends)
                for way in (ends, ends[::-1]):
                    threading.Thread(target=self._pass_on, args=(ends, *way), daemon=True).start()

    def _pass_on(self, ends: Any, source: socket.socket, target: socket.socket) -> None:
        """Forward the source to the target, or discard it once the line is cut."""
        with suppress(OSError):
            while content := source.recv(65536):
                with suppress(OSError):
                    target.sendall(content)
            if ends in self._ends:
                target.shutdown(socket.SHUT_WR)


@contextmanager
def open_line(address: str) -> Iterator[Line]:
    """Yield a proxy to the server at an address."""
    line = Line(int(address.rpartition(":")[2]))
    try:
        yield line
    finally:
        line.cut(server_knows=True)
