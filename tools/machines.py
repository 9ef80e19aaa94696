"""Run the numerical tests as on other processors: `make machines`.

Environment variables make the libraries compute as on an older processor. Each setting runs with
one and with two threads, in float32 and in bfloat16; settings that this machine lacks are listed.
Tests in which no engine chooses the precision do not run again in bfloat16: this file is also the
pytest plugin that deselects them.
"""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.support.remake import AVX2, OTHER_MKL, PASSIVE_WAIT

# By name: the CPU flag it needs, and the variables that limit the libraries to it.
PROCESSORS = {
    "AVX2": ("avx2", AVX2 | OTHER_MKL),
    "AVX-512 without bf16": ("avx512bw", {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE"}),
    "AVX-512 with bf16": ("avx512_bf16", {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_BF16"}),
    "AMX": ("amx_bf16", {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_AMX"}),
}
NUMERICAL = (
    *("test_deterministic.py", "networks/test_dreamlet.py", "networks/test_network.py"),
    *("files/test_mask.py", "render"),
)
PLUGINS = ("-p", "no:xdist", "-p", "tools.machines")
# Tests in those files that concern memory, or networks that are only read.
OTHERS = "not gigabyte and not every_network and not every_listed"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    def chosen(item: pytest.Item) -> bool:
        assert isinstance(item, pytest.Function)
        engines = {"engine", "new_engine"} & set(item.fixturenames)
        return bool(engines) or "Engine(" in inspect.getsource(item.function)

    if os.environ["DREAM_PRECISION"] == "bfloat16":
        config.hook.pytest_deselected(items=[item for item in items if not chosen(item)])
        items[:] = filter(chosen, items)


def run(settings: dict[str, str]) -> tuple[bool, str]:
    """Run the numerical tests; return whether they pass, and their last line."""
    files = [f"tests/engine/{name}" for name in NUMERICAL]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *PLUGINS, "-k", OTHERS, *files],
        cwd=ROOT,
        env=os.environ | PASSIVE_WAIT | settings,
        capture_output=True,
        text=True,
    )
    failed = re.findall(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE)
    return not done.returncode, " ".join([done.stdout.strip().splitlines()[-1], *failed])


def main() -> int:
    try:
        flags = set(Path("/proc/cpuinfo").read_text(errors="replace").split())
    except OSError:
        flags = set()  # Not Linux.
    wrong = 0
    available = {name: settings for name, (flag, settings) in PROCESSORS.items() if flag in flags}
    for name in PROCESSORS:
        if name not in available:
            print(f"{name}: not available on this processor")
    variants = {
        f"{name}, {precision}, {threads} thread{'s' * (threads > 1)}": settings
        | {"OMP_NUM_THREADS": str(threads), "DREAM_PRECISION": precision}
        for threads in (1, 2)
        for name, settings in (available or {"as it is": {}}).items()
        for precision in ("float32", "bfloat16")
    }
    # One run per core: the two threads of a run sleep while they wait for each other.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for about, (passed, last) in zip(variants, pool.map(run, variants.values()), strict=True):
            wrong += not passed
            print(f"{about}: {last}", flush=True)
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
