"""Call the API as curl does."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import httpx

JSON = {"content-type": "application/json"}


def upload(api: httpx.Client, file: Path | tuple[str, bytes]) -> str:
    """Upload a file, or a (name, content) pair; return its path on the server."""
    name, content = file if isinstance(file, tuple) else (file.name, file.read_bytes())
    (path,) = api.post("/upload", files={"files": (name, content)}).json()
    return str(path)


def begin(api: httpx.Client, name: str, knobs: Any) -> str:
    """Start a call of an endpoint; return its event id."""
    answer = api.post(f"/call/v2/{name}", content=json.dumps(knobs), headers=JSON)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["event_id"])


def call(api: httpx.Client, name: str, knobs: Any) -> tuple[bool, Any]:
    """Call an endpoint; return whether it succeeded, and its last answer."""
    return result_of(api, name, begin(api, name, knobs))


def result_of(api: httpx.Client, name: str, event: str) -> tuple[bool, Any]:
    """Wait for a call; return whether it succeeded, and its last answer."""
    last = api.get(f"/call/{name}/{event}").text.strip().rpartition("event: ")[2]
    kind, _, data = last.partition("\ndata: ")
    return kind == "complete", json.loads(data)


def refusal(api: httpx.Client, name: str, knobs: Any) -> str:
    """Call an endpoint that refuses; return its message."""
    good, answer = call(api, name, knobs)
    assert not good and isinstance(answer["error"], str), answer
    return str(answer["error"])


def find_listener(port: int) -> int | None:
    """Return the process that listens on a port, None where /proc does not tell."""
    try:
        lines = [
            line.split()
            for name in ("tcp", "tcp6")
            for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]
        ]
    except OSError:
        return None
    sockets = {line[9] for line in lines if line[3] == "0A" and line[1].endswith(f":{port:04X}")}
    for process in filter(str.isdigit, os.listdir("/proc")):
        try:
            for number in os.listdir(f"/proc/{process}/fd"):
                if os.readlink(f"/proc/{process}/fd/{number}")[8:-1] in sockets:
                    return int(process)
        except OSError:
            continue
    return None
