"""Delete Gradio's records of upload progress, whose IDs the clients choose."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from gradio.routes import file_upload_statuses

UPLOAD_ID = re.compile(r"[A-Za-z0-9_-]{0,64}")
KEPT_SECONDS = 60.0
_running_uploads: Counter[str] = Counter()


@contextmanager
def delete_progress_later(upload_id: str, is_upload: bool) -> Iterator[None]:
    """Count a running upload, and delete its progress record `KEPT_SECONDS` after the request.

    A page may request the progress again after its connection broke. Gradio keeps the record, and
    each ID that anybody requested, until the server ends.
    """
    if is_upload:
        _running_uploads[upload_id] += 1
    try:
        yield
    finally:
        if is_upload:
            _running_uploads[upload_id] -= 1
        if not _running_uploads[upload_id]:
            del _running_uploads[upload_id]
            asyncio.get_running_loop().call_later(KEPT_SECONDS, _forget, upload_id)


def _forget(upload_id: str) -> None:
    if upload_id not in _running_uploads:
        file_upload_statuses.stop_tracking(upload_id)
        file_upload_statuses._signals.pop(upload_id, None)
