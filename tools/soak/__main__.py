"""Run the long tests of robustness: `make soak`, or one part by its name.

    python -m tools.soak [loader command api fuzz events attacks crowd night audit]

Each part prints a row; a run of all parts writes the table in SECURITY.md.
"""

from __future__ import annotations

import datetime
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from tests.conftest import ROOT
from tests.support.api import find_listener
from tests.support.attacks import (
    Attack,
    hold_half_sent_bodies,
    hold_half_sent_requests,
    send_value_bombs,
)
from tests.support.corpus import corpus
from tests.support.crowd import call_in_crowd
from tests.support.event_fuzz import fuzz_events
from tests.support.fuzz import fuzz_files, fuzz_recipes
from tests.support.memory import peak_mb, reset_peak, resident_mb
from tests.support.nights import run_dreams
from tests.support.server import run_app
from tests.support.trial import Trial, api_reader, command_reader, loader_reader, try_files

FUZZ = 20_000
EVENTS = 2000
CALLERS, ROUNDS = 50, 3
CLIENTS, CROWD_SECONDS = 100, 60.0
DREAMS, EVERY = 2000, 100
COLUMNS = ("what", "cases", "fine", "refused", "crashed", "lost", "mixed up", "peak MB", "seconds")
TABLE = re.compile(r"(<!-- make soak -->\n).*?(<!-- /make soak -->)", re.DOTALL)
Row = dict[str, Any]


def _trial_row(what: str, trial: Trial, note: str = "") -> Row:
    for each in trial.wrong:
        print(f"  wrong: {each}")
    return {
        "what": what,
        "cases": trial.cases,
        "fine": trial.fine,
        "refused": trial.refused,
        "crashed": len(trial.wrong),
        "peak MB": f"+{trial.megabytes:.0f}",
        "seconds": f"{trial.seconds:.0f}, slowest {trial.slowest:.1f}",
    }


def loader(folder: Path) -> Iterator[Row]:
    yield _trial_row("corpus, through `load_image`", try_files(corpus(), loader_reader(folder)))


def command(folder: Path) -> Iterator[Row]:
    yield _trial_row(
        "corpus, through the command line", try_files(corpus(), command_reader(folder), least=LEAST)
    )


LEAST = 32


def api(folder: Path) -> Iterator[Row]:
    with _Server(folder) as (address, process):
        with httpx.Client(base_url=f"{address}/gradio_api", timeout=120) as client:
            trial = try_files(corpus(), api_reader(client), process, least=LEAST)
        yield _trial_row("corpus, through the API", trial)
    log = (folder / "log").read_text()
    assert "Traceback" not in log, log[-3000:]


def fuzz(folder: Path) -> Iterator[Row]:
    for what, work in (("files", fuzz_files), ("recipes", fuzz_recipes)):
        start = time.perf_counter()
        tally = work(FUZZ)
        yield {
            "what": f"fuzzed {what}",
            "cases": tally.fine + tally.refused,
            "fine": tally.fine,
            "refused": tally.refused,
            "crashed": 0,  # A crash would have ended this process.
            "peak MB": f"{peak_mb():.0f}",
            "seconds": f"{time.perf_counter() - start:.0f}",
        }


def events(folder: Path) -> Iterator[Row]:
    with _Server(folder, DREAM_TIME_LIMIT="2") as (address, process):
        trial = fuzz_events(address, EVENTS, seed=int(time.time()))
        trial.megabytes = peak_mb(process)
        yield _trial_row("nonsense to every private event of the page", trial)
    assert "Traceback" not in (folder / "log").read_text()


def attacks(folder: Path) -> Iterator[Row]:
    """Run each attack on a new server, so that its effects are not counted for the next one."""
    for what, attack in ATTACKS.items():
        with _Server(folder) as (address, _):
            seen = attack(address)
        dead = seen.statuses.pop(-1, 0)  # Page requests without an answer.
        yield {
            "what": f"{what}: {seen.before:.0f} to {seen.after:.0f} MB; another visitor waits "
            f"at most {seen.longest_wait:.1f} s for the page",
            "cases": seen.statuses.total() + seen.held,
            "fine": seen.statuses[200],
            "refused": seen.statuses.total() - seen.statuses[200],
            "crashed": dead + seen.held,  # A request still held counts as a crash.
            "peak MB": f"{seen.peak:.0f}",
            "seconds": f"{seen.seconds:.0f}",
        }


ATTACKS: dict[str, Callable[[str], Attack]] = {
    "70 bodies of 633,000 values": partial(send_value_bombs, count=70),
    "8 of them at once": partial(send_value_bombs, count=8, at_once=8),
    "a body of 16 MB to the path of MCP": partial(
        send_value_bombs, count=1, values=5_000_000, path="/gradio_api/mcp/"
    ),
    "60 half-sent bodies of 2 MB": partial(hold_half_sent_bodies, count=60),
    "300 half-sent requests": partial(hold_half_sent_requests, count=300),
}


def crowds(folder: Path) -> Iterator[Row]:
    with _Server(folder) as (address, process):
        sizes = [resident_mb(process)]
        for number in range(1, ROUNDS + 1):
            yield _crowd_row(
                f"{CALLERS} callers at once, round {number}", address, process, CALLERS
            )
            sizes.append(resident_mb(process))
        what = f"{CLIENTS} clients for {CROWD_SECONDS:.0f} seconds, calling repeatedly"
        yield _crowd_row(what, address, process, CLIENTS, CROWD_SECONDS)
        time.sleep(5)
        sizes.append(resident_mb(process))
        print(f"  resident at first and after each: {' '.join(f'{size:.0f}' for size in sizes)} MB")


def _crowd_row(what: str, address: str, process: int, callers: int, seconds: float = 0.0) -> Row:
    start = time.perf_counter()
    reset_peak(process)
    came = call_in_crowd(address, callers, seconds)
    took = time.perf_counter() - start
    waits = (
        f"median answer after {np.median(came.wait_seconds):.1f} s; " if came.wait_seconds else ""
    )
    return {
        "what": f"{what}; {waits}95% of page requests within {came.slow_look * 1000:.0f} ms",
        "cases": came.answered + came.full + came.lost + came.mixed_up,
        "fine": came.answered,
        "refused": came.full,
        "crashed": 0,
        "lost": came.lost,
        "mixed up": came.mixed_up,
        "peak MB": f"{peak_mb(process):.0f}",
        "seconds": f"{took:.0f}",
    }


def nights(folder: Path) -> Iterator[Row]:
    start = time.perf_counter()
    hours = run_dreams(DREAMS, EVERY)
    sizes = [hour.megabytes for hour in hours]
    print(f"  resident, every {EVERY}: {' '.join(f'{size:.0f}' for size in sizes)} MB")
    yield {
        "what": f"dreams in one process: {sizes[0]:.0f} MB after {EVERY}, {sizes[-1]:.0f} at the "
        f"end ({sizes[-1] / sizes[0] - 1:+.0%}); at most {max(hour.files for hour in hours)} "
        f"files, {max(hour.networks for hour in hours)} networks",
        "cases": DREAMS,
        "fine": hours[-1].done,
        "refused": 0,
        "crashed": 0,
        "peak MB": f"{max(sizes):.0f}",
        "seconds": f"{time.perf_counter() - start:.0f}",
    }


def audit(folder: Path) -> Iterator[Row]:
    """Look up the installed packages among known vulnerabilities."""
    start = time.perf_counter()
    pinned = folder / "installed.txt"
    listed = subprocess.run(
        [sys.executable, "-m", "uv", "pip", "freeze", "--python", sys.executable],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    # A local version such as 2.14.1+cpu is looked up as its release on PyPI.
    lines = [line.split("+")[0] for line in listed.splitlines() if "==" in line]
    pinned.write_text("\n".join(lines))
    tool = [sys.executable, "-m", "uv", "tool", "run", "pip-audit", "-r", str(pinned)]
    tool += ["--no-deps", "--disable-pip", "--format", "json", "--progress-spinner", "off"]
    done = subprocess.run(tool, capture_output=True, text=True, timeout=900)
    row: Row = {"what": "packages, checked by `pip-audit`", "cases": len(lines)}
    try:
        about = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        why = (done.stderr.strip().splitlines() or ["no message"])[-1][:160]
        print(f"  skipped: {why}")
        yield row | {"what": f"{row['what']}: skipped, the database cannot be reached", "cases": 0}
        return
    bad = [f"{each['name']} {fault['id']}" for each in about for fault in each.get("vulns", [])]
    print(f"  known vulnerabilities: {', '.join(bad) or 'none'}")
    yield row | {
        "fine": len(about) - len({each.split()[0] for each in bad}),
        "refused": 0,
        "crashed": len(bad),
        "seconds": f"{time.perf_counter() - start:.0f}",
    }


PARTS: dict[str, Callable[[Path], Iterator[Row]]] = {
    "loader": loader,
    "command": command,
    "api": api,
    "fuzz": fuzz,
    "events": events,
    "attacks": attacks,
    "crowd": crowds,
    "night": nights,
    "audit": audit,
}


class _Server:
    """The app on a free port, and the ID of its process."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self._served = run_app(folder / "log", GRADIO_TEMP_DIR=str(folder), **environment)

    def __enter__(self) -> tuple[str, int]:
        address = self._served.__enter__()
        process = find_listener(int(address.rpartition(":")[2]))
        assert process, "no /proc to find the process in"
        return address, process

    def __exit__(self, *error: Any) -> None:
        self._served.__exit__(*error)


def line(row: Row) -> str:
    return "| " + " | ".join(str(row.get(name, "")) for name in COLUMNS) + " |"


def write(rows: list[Row]) -> None:
    """Write the table to SECURITY.md."""
    page = ROOT / "SECURITY.md"
    head = [f"| {' | '.join(COLUMNS)} |", "|" + "---|" * len(COLUMNS)]
    day, cores = datetime.date.today().isoformat(), os.cpu_count()
    text = "\n".join([f"On {day}, {cores} cores:", "", *head, *map(line, rows), ""])
    made, count = TABLE.subn(lambda found: found[1] + text + found[2], page.read_text())
    assert count == 1
    page.write_text(made)


def main(names: list[str]) -> int:
    rows: list[Row] = []
    for name in names or PARTS:
        with tempfile.TemporaryDirectory(prefix="dream-soak-") as folder:
            for row in PARTS[name](Path(folder)):
                print(line(row), flush=True)
                rows.append(row)
    if not names:
        write(rows)
    faults = ("crashed", "lost", "mixed up")
    return int(any(row.get(fault) for row in rows for fault in faults))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
