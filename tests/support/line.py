"""A TCP proxy between a browser and a server that can be cut."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any


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
