"""What Gradio keeps of the progress of uploads, under names that whoever uploads chooses."""

from __future__ import annotations

import asyncio
import re

from gradio.routes import file_upload_statuses

UPLOAD_ID = re.compile(r"[A-Za-z0-9_-]{0,64}")
KEPT_SECONDS = 60.0


def forget_later(upload_id: str) -> None:
    """Drop the progress of an upload that has ended, after a time in which a page may ask for it.

    Gradio keeps it, and each name that anybody asked for, until the server ends.
    """
    asyncio.get_running_loop().call_later(KEPT_SECONDS, _forget, upload_id)


def _forget(upload_id: str) -> None:
    file_upload_statuses.stop_tracking(upload_id)
    file_upload_statuses._signals.pop(upload_id, None)
