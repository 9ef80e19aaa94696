"""A small Hugging Face hub on this machine: two of its routes, and the ways they fail."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler

from tests.support.server import serve_http

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


@contextmanager
def run_hub() -> Iterator[Hub]:
    """Serve a hub until the block ends."""
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            hub.requests.append(f"{self.command} {self.path}")
            content, fault = hub.files.get(self.path), hub.faults.get(self.path)
            if content is None or fault == "absent":
                self.fail(404, "EntryNotFound")
            elif fault == "gated":
                self.fail(403, "GatedRepo")
            elif isinstance(fault, int):
                self.fail(fault, "RepoNotFound" if fault == 404 else "")
            else:
                self.send_response(200)
                self.send_header("X-Repo-Commit", hub.commit)
                self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                if self.command == "GET":
                    with suppress(OSError):  # Clients may leave during a transfer.
                        self.send(content, fault)

        do_HEAD = do_GET  # noqa: N815

        def fail(self, status: int, code: str) -> None:
            self.send_response(status)
            self.send_header("X-Error-Code", code)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def send(self, content: bytes, fault: str | None) -> None:
            if fault in ("cut", "stall"):
                self.wfile.write(content[: len(content) // 2])
                self.close_connection = fault == "cut"
                hub.closing.wait(60 if fault == "stall" else 0)
            elif fault == "wrong":
                self.wfile.write(content[:-1] + bytes([content[-1] ^ 1]))
            elif fault == "slow":
                for start in range(0, len(content), 65536):
                    self.wfile.write(content[start : start + 65536])
                    time.sleep(0.02)
            else:
                self.wfile.write(content)

    with serve_http(Handler) as port:
        hub.address = f"http://127.0.0.1:{port}"
        try:
            yield hub
        finally:
            hub.closing.set()
