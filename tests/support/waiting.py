"""Wait until something is so."""

from __future__ import annotations

import time
from collections.abc import Callable


def wait_until(is_so: Callable[[], object], seconds: float = 60) -> None:
    """Wait until `is_so` returns something true, or raise AssertionError after `seconds`."""
    latest = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < latest, f"it is not so after {seconds:g} seconds"
        time.sleep(0.05)
