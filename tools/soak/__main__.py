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
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from tests.conftest import ROOT
from tests.support.attacks import (
    Attack,
    call_in_crowd,
    hold_half_sent_bodies,
    hold_half_sent_requests,
    send_value_bombs,
)
from tests.support.corpus import corpus
from tests.support.fuzz import fuzz_events, fuzz_files, fuzz_recipes
from tests.support.nights import run_dreams
from tests.support.processes import find_server, peak_mb, reset_peak, resident_mb
from tests.support.server import run_app
from tests.support.trial import Trial, api_reader, command_reader, loader_reader, try_files
from tools.report import Report, markdown_table

FUZZ = 20_000
EVENTS = 2000
CALLERS, ROUNDS = 50, 3
CLIENTS, CROWD_SECONDS = 100, 60.0
DREAMS, EVERY = 2000, 100
LEAST_SIDE = 32
TABLE = re.compile(r"(<!-- make soak -->\n).*?(<!-- /make soak -->)", re.DOTALL)
Row = dict[str, Any]


def _row(what: str, fine: int, refused: int = 0, crashed: int = 0, **others: Any) -> Row:
    """Return a row of the table; lost and mixed-up calls count as cases too."""
    lost, mixed_up = others.pop("lost", 0), others.pop("mixed_up", 0)
    return {
        "what": what,
        "cases": fine + refused + crashed + lost + mixed_up,
        "fine": fine,
        "refused": refused,
        "crashed": crashed,
        "lost": lost,
        "mixed up": mixed_up,
        "peak MB": others["megabytes"],
        "seconds": others["seconds"],
    }


def _trial_row(what: str, trial: Trial) -> Row:
    for each in trial.wrong:
        print(f"  wrong: {each}")
    return _row(
        what,
        trial.fine,
        trial.refused,
        len(trial.wrong),
        megabytes=f"+{trial.megabytes:.0f}",
        seconds=f"{trial.seconds:.0f}, slowest {trial.slowest:.1f}",
    )


@contextmanager
def _serve(folder: Path, **environment: str) -> Iterator[tuple[str, int]]:
    """Run the app on a free port; yield its address and the ID of its process."""
    with run_app(folder / "log", GRADIO_TEMP_DIR=str(folder), **environment) as address:
        process = find_server(address)
        assert process, "no /proc to find the process in"
        yield address, process


def _check_log(folder: Path) -> None:
    log = (folder / "log").read_text()
    assert "Traceback" not in log, log[-3000:]


def loader(folder: Path) -> Iterator[Row]:
    yield _trial_row("corpus, through `load_image`", try_files(corpus(), loader_reader(folder)))


def command(folder: Path) -> Iterator[Row]:
    trial = try_files(corpus(), command_reader(folder), least=LEAST_SIDE)
    yield _trial_row("corpus, through the command line", trial)


def api(folder: Path) -> Iterator[Row]:
    with (
        _serve(folder) as (address, process),
        httpx.Client(base_url=f"{address}/gradio_api", timeout=120) as client,
    ):
        trial = try_files(corpus(), api_reader(client), process, least=LEAST_SIDE)
    yield _trial_row("corpus, through the API", trial)
    _check_log(folder)


def fuzz(folder: Path) -> Iterator[Row]:
    for what, work in (("files", fuzz_files), ("recipes", fuzz_recipes)):
        start = time.perf_counter()
        trial = work(FUZZ)  # A crash would end this process.
        trial.seconds, trial.megabytes = time.perf_counter() - start, peak_mb()
        yield _trial_row(f"fuzzed {what}", trial)


def events(folder: Path) -> Iterator[Row]:
    with _serve(folder, DREAM_TIME_LIMIT="2") as (address, process):
        trial = fuzz_events(address, EVENTS, seed=int(time.time()))
        trial.megabytes = peak_mb(process)
    yield _trial_row("nonsense to every private event of the page", trial)
    _check_log(folder)


def attacks(folder: Path) -> Iterator[Row]:
    """Run each attack on a new server, so that its effects are not counted for the next one."""
    for what, attack in ATTACKS.items():
        with _serve(folder) as (address, _):
            seen = attack(address)
        dead = seen.statuses.pop(-1, 0)  # Page requests without an answer.
        yield _row(
            f"{what}: {seen.before:.0f} to {seen.after:.0f} MB; another visitor waits at most "
            f"{seen.longest_wait:.1f} s for the page",
            fine=seen.statuses[200],
            refused=seen.statuses.total() - seen.statuses[200],
            crashed=dead + seen.held,  # A request still held counts as a crash.
            megabytes=round(seen.peak),
            seconds=round(seen.seconds),
        )


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
    with _serve(folder) as (address, process):
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
    waits = came.wait_seconds and f"median answer after {np.median(came.wait_seconds):.1f} s; "
    return _row(
        f"{what}; {waits or ''}95% of page requests within {came.slow_look * 1000:.0f} ms",
        came.answered,
        came.full,
        lost=came.lost,
        mixed_up=came.mixed_up,
        megabytes=round(peak_mb(process)),
        seconds=round(time.perf_counter() - start),
    )


def nights(folder: Path) -> Iterator[Row]:
    start = time.perf_counter()
    hours = run_dreams(DREAMS, EVERY)
    sizes = [hour.megabytes for hour in hours]
    print(f"  resident, every {EVERY}: {' '.join(f'{size:.0f}' for size in sizes)} MB")
    yield _row(
        f"dreams in one process: {sizes[0]:.0f} MB after {EVERY}, {sizes[-1]:.0f} at the end "
        f"({sizes[-1] / sizes[0] - 1:+.0%}); at most {max(hour.files for hour in hours)} files, "
        f"{max(hour.networks for hour in hours)} networks",
        hours[-1].done,
        megabytes=round(max(sizes)),
        seconds=round(time.perf_counter() - start),
    )


def audit(folder: Path) -> Iterator[Row]:
    """Look up the installed packages among known vulnerabilities."""
    start, pinned = time.perf_counter(), folder / "installed.txt"
    uv = [sys.executable, "-m", "uv"]
    listed = subprocess.check_output([*uv, "pip", "freeze", "--python", sys.executable], text=True)
    # A local version such as 2.14.1+cpu is looked up as its release on PyPI.
    lines = [line.split("+")[0] for line in listed.splitlines() if "==" in line]
    pinned.write_text("\n".join(lines))
    tool = [*uv, "tool", "run", "pip-audit", "-r", str(pinned), "--no-deps", "--disable-pip"]
    tool += ["--format", "json", "--progress-spinner", "off"]
    done = subprocess.run(tool, capture_output=True, text=True, timeout=900)
    what, fine, faults = "packages, checked by `pip-audit`", 0, []
    try:
        about = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        what += ": skipped, the database cannot be reached"
        print(f"  skipped: {done.stderr[-160:]}")
    else:
        faults = [f"{each['name']} {one['id']}" for each in about for one in each.get("vulns", [])]
        fine = sum(not each.get("vulns") for each in about)
        print(f"  known vulnerabilities: {', '.join(faults) or 'none'}")
    seconds = round(time.perf_counter() - start)
    yield _row(what, fine, crashed=len(faults), megabytes="", seconds=seconds)


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


def write(rows: list[Row]) -> None:
    """Write the table to SECURITY.md."""
    page, day = ROOT / "SECURITY.md", datetime.date.today().isoformat()
    text = f"On {day}, {os.cpu_count()} cores:\n\n{markdown_table(rows)}\n"
    made, count = TABLE.subn(lambda found: found[1] + text + found[2], page.read_text())
    assert count == 1
    page.write_text(made)


def main(names: list[str]) -> int:
    report = Report()
    for name in names or PARTS:
        with tempfile.TemporaryDirectory(prefix="dream-soak-") as folder:
            for row in PARTS[name](Path(folder)):
                report.add_row("soak", **row)
    rows = report.tables["soak"]
    if not names:
        write(rows)
    return int(any(row[fault] for row in rows for fault in ("crashed", "lost", "mixed up")))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
