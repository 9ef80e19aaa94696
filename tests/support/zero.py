"""ZeroGPU without one: its device API, served here, and the app as it runs there, on the CPU.

    python -m tests.support.zero

serves the app with the real `spaces` package. In the processes that it forks there is no GPU to be
had, so two things are left out: CUDA is not started, and weights are not moved to it.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

Call = tuple[str, dict[str, str]]


@contextmanager
def device_api() -> Iterator[tuple[str, list[Call]]]:
    """Lends a GPU to whoever asks; gives its address, and all calls so far with what they asked."""
    calls: list[Call] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            parts = urlsplit(self.path)
            calls.append((parts.path, dict(parse_qsl(parts.query))))
            answer = {}
            if parts.path == "/schedule":
                token = f"token-{len(calls)}"
                answer = {"idle": True, "nvidiaIndex": 0, "nvidiaUUID": "x", "allowToken": token}
            body = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", calls
    finally:
        server.shutdown()
        server.server_close()


def main() -> None:
    import spaces.zero.wrappers

    def on_the_cpu(nvidia_uuid: str) -> None:
        os.environ["DREAM_DEVICE"] = "cpu"

    spaces.zero.wrappers.torch.init = on_the_cpu
    spaces.zero.wrappers.torch.move = lambda callback: None
    import app

    app.main()


if __name__ == "__main__":
    main()
