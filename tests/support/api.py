"""The API as curl calls it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import httpx

JSON = {"content-type": "application/json"}


def upload(api: httpx.Client, file: Path | tuple[str, bytes]) -> str:
    """The path of a file, or of content by a name, on the server."""
    name, content = file if isinstance(file, tuple) else (file.name, file.read_bytes())
    (path,) = api.post("/upload", files={"files": (name, content)}).json()
    return str(path)


def start_call(api: httpx.Client, name: str, given: Any) -> str:
    answer = api.post(f"/call/v2/{name}", content=json.dumps(given), headers=JSON)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["event_id"])


def call(api: httpx.Client, name: str, given: Any) -> tuple[bool, Any]:
    """Whether a call, as curl makes it, ends well, and what it answers last."""
    return wait_for_result(api, name, start_call(api, name, given))


def wait_for_result(api: httpx.Client, name: str, event: str) -> tuple[bool, Any]:
    last = api.get(f"/call/{name}/{event}").text.strip().rpartition("event: ")[2]
    kind, _, data = last.partition("\ndata: ")
    return kind == "complete", json.loads(data)


def refusal(api: httpx.Client, name: str, given: Any) -> str:
    good, said = call(api, name, given)
    assert not good and isinstance(said["error"], str), said
    return str(said["error"])


def find_listener(port: int) -> int | None:
    """The process that listens on a port, where that can be told."""
    try:
        tables = [
            Path(f"/proc/net/{name}").read_text().splitlines()[1:] for name in ("tcp", "tcp6")
        ]
    except OSError:
        return None
    sockets = {
        line.split()[9]
        for line in sum(tables, [])
        if line.split()[3] == "0A" and line.split()[1].endswith(f":{port:04X}")
    }
    for process in filter(str.isdigit, os.listdir("/proc")):
        try:
            for each in os.listdir(f"/proc/{process}/fd"):
                if os.readlink(f"/proc/{process}/fd/{each}")[8:-1] in sockets:
                    return int(process)
        except OSError:
            continue
    return None
