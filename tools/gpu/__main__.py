"""Check and measure the engine on a GPU: `make gpu`.

    python -m tools.gpu [--device cuda] [--out gpu-report] [--minutes 6]

It needs torch, torchvision, NumPy, Pillow and safetensors alone, and fetches nothing. On a CPU it
runs at small sizes, to show that it runs. In the folder `--out` it writes `gpu.md`, `gpu.json` and
sheets of pictures. It exits with 1, and a list, if something fails.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

import torch

from dream.networks.device import pick_device
from tools.gpu import comparison, memory, speed, trials
from tools.gpu.settings import Settings
from tools.report import Report, describe_machine, in_words

# Checks come first, so that only measurements are skipped when time runs out.
PARTS = {
    "pictures": comparison.compare_with_cpu,
    "repeat": comparison.check_repeatability,
    "full": memory.fill_memory,
    "sizes": memory.dream_many_sizes,
    "speed": speed.time_dreams,
    "live": speed.time_live,
    "profile": speed.profile_dream,
    "several": speed.dream_on_all_gpus,
    "trials": trials.try_improvements,
}


def main(arguments: list[str] | None = None) -> int:
    """Run the requested parts, write their report, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.gpu", description=__doc__)
    parser.add_argument("--device", help="as cuda, cuda:1, mps or cpu; the best there is")
    parser.add_argument("--out", default="gpu-report", type=Path, help="the folder to write to")
    parser.add_argument("--minutes", default=6.0, type=float, help="no part begins after these")
    parser.add_argument("--parts", default=",".join(PARTS), help="which parts to run")
    options = parser.parse_args(arguments)
    device = pick_device(options.device)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    options.out.mkdir(parents=True, exist_ok=True)
    report, about = Report(), describe(device)
    print(in_words(about), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        deadline = time.monotonic() + 60 * options.minutes
        settings = Settings(device, options.out, Path(folder), deadline, device.type == "cpu")
        for name in options.parts.split(","):
            run_part(name, settings, report)
            write(options.out, about, report)  # After each part, in case the next one is killed.
    for failure in report.failures:
        print(f"FAILED: {failure}", file=sys.stderr)
    return int(bool(report.failures))


def run_part(name: str, settings: Settings, report: Report) -> None:
    """Run a part unless the deadline has passed; report its errors as failures."""
    if settings.is_late:
        report.add_row("left out", part=name)
        return
    start = time.perf_counter()
    try:
        PARTS[name](settings, report)
    except Exception as error:
        report.check(False, f"{name}: {type(error).__name__}: {error}")
        traceback.print_exc()
    report.add_row("parts", part=name, seconds=time.perf_counter() - start)


def describe(device: torch.device) -> dict[str, Any]:
    """Return the machine's description, with its GPU if there is one."""
    about = describe_machine() | {"device": str(device)}
    if device.type == "cuda":
        known = torch.cuda.get_device_properties(device)
        about |= {
            "GPU": known.name,
            "GPUs": torch.cuda.device_count(),
            "GB": round(known.total_memory / 1e9, 1),
            "CUDA": torch.version.cuda,
            "cuDNN": torch.backends.cudnn.version(),
        }
    return about


def write(folder: Path, about: dict[str, Any], report: Report) -> None:
    """Write the tables as Markdown and as JSON."""
    failed = [f"- {failure}" for failure in report.failures] or ["Nothing failed."]
    report.write(folder / "gpu.md", about, "# On a GPU", in_words(about), "\n".join(failed))


if __name__ == "__main__":
    sys.exit(main())
