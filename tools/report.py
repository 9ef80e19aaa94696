"""Tables of numbers, printed row by row and written as Markdown."""

from __future__ import annotations

import datetime
import json
import platform
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch


class Report:
    """Rows by table, and failures; each row is printed when it is added."""

    def __init__(self) -> None:
        self.tables: dict[str, list[dict[str, Any]]] = {}
        self.failures: list[str] = []

    def add_row(self, table: str, **row: Any) -> None:
        """Add a row to a table, and print it."""
        self.tables.setdefault(table, []).append(row)
        words = ", ".join(f"{key} {_short(value)}" for key, value in row.items())
        print(f"{table}: {words}", flush=True)

    def check(self, holds: bool, failure: str) -> None:
        """Record a failure, in one line, unless the check holds."""
        if not holds:
            self.failures.append(failure)
            print(f"FAILED: {failure}", flush=True)

    def add_line_fit(self, name: str, unit: str, xs: list[float], ys: list[float]) -> None:
        """Fit a line to `ys` over `xs`; add its slope, start and largest relative misfit."""
        # Relative errors, so that small values count as much as large ones.
        design = np.array([[x, 1.0] for x in xs]) / np.array(ys)[:, None]
        slope, start = np.linalg.lstsq(design, np.ones(len(xs)), rcond=None)[0]
        misfit = max(abs((slope * x + start) / y - 1) for x, y in zip(xs, ys, strict=True))
        self.add_row(
            "growth", of=name, per=unit, slope=slope, start=start, misfit=misfit, at=xs, took=ys
        )

    def write(self, path: Path, about: dict[str, Any], *intro: str) -> None:
        """Write the tables as Markdown below the intro's paragraphs, and beside them as JSON."""
        numbers = {"machine": about, "failures": self.failures, **self.tables}
        path.with_suffix(".json").write_text(json.dumps(numbers, indent=1) + "\n")
        parts = [*intro]
        for name, rows in self.tables.items():
            parts += [f"## {name.capitalize()}", markdown_table(rows)]
            parts += [_plot(row) for row in rows if "slope" in row]
        path.write_text("\n\n".join(parts) + "\n")


def describe_machine() -> dict[str, Any]:
    """Return the date, the processor, its threads, and torch's version."""
    return {
        "date": datetime.date.today().isoformat(),
        "processor": _processor(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


def in_words(about: dict[str, Any]) -> str:
    """Describe a machine in one line, as in "date 2026-11-29, threads 2"."""
    return ", ".join(f"{key} {value}" for key, value in about.items())


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, list):
        return " ".join(map(_short, value))
    # A line break or a bar would end a cell.
    return " ".join(str(value).split()).replace("|", "/")


def markdown_table(rows: list[dict[str, Any]]) -> str:
    """Return rows as a table; its columns are all names, in the order in which they came."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = [names, ["---"] * len(names)]
    lines += [[_short(row.get(name, "")) for name in names] for row in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _plot(row: dict[str, Any]) -> str:
    """Return a chart of the measurements and their line, as GitHub draws it."""
    fitted = [row["slope"] * x + row["start"] for x in row["at"]]
    lines = [
        "```mermaid",
        "xychart-beta",
        f'  title "{row["of"]}, against {row["per"]}"',
        "  x-axis [" + ", ".join(f'"{_short(x)}"' for x in row["at"]) + "]",
        f"  bar [{', '.join(map(_short, row['took']))}]",
        f"  line [{', '.join(map(_short, fitted))}]",
        "```",
    ]
    return "\n".join(lines)


def _processor() -> str:
    try:
        told = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    except OSError:
        told = None
    return told[1] if told else platform.processor() or platform.machine()
