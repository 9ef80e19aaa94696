"""The app as a real server in a subprocess, and other servers in a thread."""

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
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


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
    with run_server(
        [sys.executable, *(command or ["app.py"])], log, port, cwd=ROOT, env=variables
    ) as address:
        yield address


@contextmanager
def run_server(command: list[str], log: Path, port: int, **options: Any) -> Iterator[str]:
    """Run a server until the block ends; yield its address once it answers."""
    address = f"http://127.0.0.1:{port}"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, start_new_session=True, **options
        )
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
