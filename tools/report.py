"""What was measured: printed as it comes, kept as numbers, written to `docs/performance.md`."""

from __future__ import annotations

import datetime
import json
import platform
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.conftest import ROOT

DOCS = ROOT / "docs"


class Report:
    """Rows of numbers by table; each is printed when it is added."""

    def __init__(self) -> None:
        self.tables: dict[str, list[dict[str, Any]]] = {}

    def row(self, table: str, **row: Any) -> None:
        self.tables.setdefault(table, []).append(row)
        print(table + ": " + ", ".join(f"{key} {_short(value)}" for key, value in row.items()))

    def line(self, name: str, unit: str, xs: list[float], ys: list[float]) -> None:
        """How `ys` grow with `xs`: a straight line, and how far the farthest lies from it."""
        # Relative to each, so that the small ones count as the large ones do.
        design = np.array([[x, 1.0] for x in xs]) / np.array(ys)[:, None]
        slope, start = np.linalg.lstsq(design, np.ones(len(xs)), rcond=None)[0]
        misfit = max(abs((slope * x + start) / y - 1) for x, y in zip(xs, ys, strict=True))
        self.row(
            "growth", of=name, per=unit, slope=slope, start=start, misfit=misfit, at=xs, took=ys
        )

    def write(self) -> None:
        about = {
            "date": datetime.date.today().isoformat(),
            "processor": _processor(),
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
        }
        whole = {"machine": about, **self.tables}
        (DOCS / "performance.json").write_text(json.dumps(whole, indent=1) + "\n")
        parts = [
            "# What it costs",
            "Made by `make bench`: "
            + ", ".join(f"{key} {value}" for key, value in about.items())
            + ". Rows of a table ran in turn, but other work of the machine is in them too: compare"
            " within a table only. The same numbers are in `performance.json`.",
        ]
        for name, rows in self.tables.items():
            parts += [f"## {name.capitalize()}", _table(rows)]
            parts += [_plot(row) for row in rows if "slope" in row]
        (DOCS / "performance.md").write_text("\n\n".join(parts) + "\n")


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    return " ".join(map(_short, value)) if isinstance(value, list) else str(value)


def _table(rows: list[dict[str, Any]]) -> str:
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = [names, ["---"] * len(names)]
    lines += [[_short(row.get(name, "")) for name in names] for row in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _plot(row: dict[str, Any]) -> str:
    """What was measured and the line through it, as GitHub draws it."""
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
