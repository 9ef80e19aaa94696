"""The numerical tests as other processors would run them: `make machines`.

A processor can do less than it can: told so, the libraries compute as on a lesser one. Each setting
runs with one and with two threads, in float32 and in bfloat16; what this machine has not, is named.
Of those tests that have no engine choose the precision, none is run a second time in bfloat16: the
plugin of pytest's that this file is, too, leaves them out.
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

# By name: which flag of the processor it takes, and what makes the libraries stop there.
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
PLUGINS = ("-p", "no:xdist", "-p", "tests.tools.machines")
# What in those files is a matter of memory, or of networks that are only read.
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
    """Whether the numerical tests pass, and their last line."""
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
        flags = set()  # No Linux.
    wrong = 0
    have = {name: settings for name, (flag, settings) in PROCESSORS.items() if flag in flags}
    for name in PROCESSORS:
        if name not in have:
            print(f"{name}: this processor has not got it")
    tried = {
        f"{name}, {precision}, {threads} thread{'s' * (threads > 1)}": own
        | {"OMP_NUM_THREADS": str(threads), "DREAM_PRECISION": precision}
        for threads in (1, 2)
        for name, own in (have or {"as it is": {}}).items()
        for precision in ("float32", "bfloat16")
    }
    # As many side by side as there are cores: two threads of a run wait for one another asleep.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for about, (passed, last) in zip(tried, pool.map(run, tried.values()), strict=True):
            wrong += not passed
            print(f"{about}: {last}", flush=True)
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
