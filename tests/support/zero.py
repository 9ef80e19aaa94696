"""ZeroGPU without a GPU: its device API, its decorator, and the app as it runs there, on the CPU.

    python -m tests.support.zero

serves the app with the real `spaces` package. Its forked processes have no GPU, so they neither
start CUDA nor move weights to it.
"""

from __future__ import annotations

import json
import os
import pickle
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tests.support.server import serve_http

# Leases per video; one lease would suffice for a small video.
VIDEO_LEASES = 3


@dataclass
class DeviceApi:
    """The device API.

    `calls` are all calls with their parameters; `seconds_left` are a visitor's, None for no limit;
    `worker` is the process that leased a GPU last.
    """

    address: str = ""
    calls: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    seconds_left: int | None = None
    worker: int = 0

    def end_lease(self) -> None:
        """Kill the process with the GPU, as ZeroGPU does when its seconds are over."""
        os.kill(self.worker, signal.SIGKILL)

    def answer(self, path: str, parameters: dict[str, str]) -> tuple[int, dict[str, Any]]:
        """Answer a call; return the status and the JSON."""
        self.calls.append((path, parameters))
        if path == "/allow":
            self.worker = int(parameters["pid"])
        if path != "/schedule":
            return 200, {}
        if self.seconds_left is not None:
            if (seconds := int(parameters["durationSeconds"])) > self.seconds_left:
                return 429, {"left": self.seconds_left, "wait": 1800}
            self.seconds_left -= seconds
        token = f"token-{len(self.calls)}"
        return 200, {"idle": True, "nvidiaIndex": 0, "nvidiaUUID": "x", "allowToken": token}


@contextmanager
def device_api() -> Iterator[DeviceApi]:
    """Serve a device API that lends a GPU to visitors with seconds left."""
    api = DeviceApi()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            parts = urlsplit(self.path)
            parameters = dict(parse_qsl(parts.query))
            status, answer = api.answer(parts.path, parameters)
            body = json.dumps(answer).encode()
            self.send_response(status)
            if "token" in parameters:
                self.send_header("X-Authenticated", "regular")
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with serve_http(Handler) as port:
        api.address = f"http://127.0.0.1:{port}"
        yield api


def lend(run_leased: Callable[..., Iterator[Any]]) -> Callable[..., Any]:
    """Return a `spaces.GPU` that lends at once; `run_leased(run, *given)` is what a lease does."""
    return lambda duration: lambda run: partial(run_leased, run)


class Lender:
    """A `spaces.GPU` that lends at once, records durations, and pickles arguments and answers."""

    def __init__(self) -> None:
        self.durations: list[int] = []

    def __call__(self, duration: Callable[..., int]) -> Callable[..., Any]:
        def decorated(run: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
            def elsewhere(*given: Any) -> Iterator[Any]:
                self.durations.append(duration(*given))
                for answer in run(*pickle.loads(pickle.dumps(given))):
                    yield pickle.loads(pickle.dumps(answer))

            return elsewhere

        return decorated


def main() -> None:
    import spaces.zero.wrappers

    def on_the_cpu(nvidia_uuid: str) -> None:
        os.environ["DREAM_DEVICE"] = "cpu"

    spaces.zero.wrappers.torch.init = on_the_cpu
    spaces.zero.wrappers.torch.move = lambda callback: None
    from dream.service.job_runner import JobRunner

    JobRunner.lease_count = lambda self, expected_seconds: VIDEO_LEASES  # type: ignore[method-assign]
    from dream.page import app

    app.main()


if __name__ == "__main__":
    main()
