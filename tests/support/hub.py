"""A small Hugging Face hub on this machine: two of its routes, and the ways they fail."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    """Files by path, faults by path (a status or a word), and the requests so far."""

    address: str = ""
    commit: str = COMMIT
    files: dict[str, bytes] = field(default_factory=dict)
    faults: dict[str, int | str] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    closing: threading.Event = field(default_factory=threading.Event)

    def put(self, path: str, content: bytes) -> str:
        """Serve content at a path; return its SHA-256."""
        self.files[path] = content
        return hashlib.sha256(content).hexdigest()

    def transfer_count(self) -> int:
        """Count the GET requests for files; the client sends other requests too."""
        return sum(request.removeprefix("GET ") in self.files for request in self.requests)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, hub: Hub) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.hub = hub

    def handle_error(self, *_: object) -> None:
        pass  # Tests include clients that leave during a transfer.


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, body: bool) -> None:
        hub = self.server.hub
        hub.requests.append(f"{self.command} {self.path}")
        content, fault = hub.files.get(self.path), hub.faults.get(self.path)
        if content is None:
            return self.fail(404, "EntryNotFound")
        if fault == "gated":
            return self.fail(403, "GatedRepo")
        if isinstance(fault, int):
            return self.fail(fault, "RepoNotFound" if fault == 404 else "")
        self.send_response(200)
        self.send_header("X-Repo-Commit", hub.commit)
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if body:
            self.send(content, fault)

    def fail(self, status: int, code: str) -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def send(self, content: bytes, fault: str | None) -> None:
        if fault == "cut":
            self.wfile.write(content[: len(content) // 2])
            self.close_connection = True
        elif fault == "wrong":
            self.wfile.write(content[:-1] + bytes([content[-1] ^ 1]))
        elif fault == "stall":
            self.wfile.write(content[: len(content) // 2])
            self.server.hub.closing.wait(60)
        elif fault == "slow":
            for start in range(0, len(content), 65536):
                self.wfile.write(content[start : start + 65536])
                time.sleep(0.02)
        else:
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def run_hub() -> Iterator[Hub]:
    """Serve a hub until the block ends."""
    hub = Hub()
    server = _Server(hub)
    hub.address = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield hub
    finally:
        hub.closing.set()
        server.shutdown()
        server.server_close()
