"""What Gradio keeps of the progress of uploads, under names that whoever uploads chooses."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from gradio.routes import file_upload_statuses

UPLOAD_ID = re.compile(r"[A-Za-z0-9_-]{0,64}")
KEPT_SECONDS = 60.0
_under_way: Counter[str] = Counter()


@contextmanager
def bounded_progress(upload_id: str, is_upload: bool) -> Iterator[None]:
    """Serve an upload, or its progress, which is dropped some time after the upload has ended.

    A page may ask again for the progress of an upload that is under way, as its line was cut.
    Gradio keeps it, and each name that anybody asked for, until the server ends.
    """
    if is_upload:
        _under_way[upload_id] += 1
    try:
        yield
    finally:
        if is_upload:
            _under_way[upload_id] -= 1
        if not _under_way[upload_id]:
            del _under_way[upload_id]
            asyncio.get_running_loop().call_later(KEPT_SECONDS, _forget, upload_id)


def _forget(upload_id: str) -> None:
    if upload_id not in _under_way:
        file_upload_statuses.stop_tracking(upload_id)
        file_upload_statuses._signals.pop(upload_id, None)
