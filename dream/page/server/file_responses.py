"""Serve uploads, results and the link preview image to whoever has their address.

Gradio's route serves whatever it has allowed, fetches other addresses, and echoes the headers of a
range request in its answer.
"""

from __future__ import annotations

import mimetypes
from pathlib import Path
from typing import Any

from gradio.route_utils import XSS_SAFE_MIMETYPES
from starlette.responses import FileResponse

from dream.page.blocks import is_uploaded, upload_path
from dream.page.refusal import refuse
from dream.page.server.link_preview import CARD_IMAGE


async def send_file(name: str, scope: Any, receive: Any, send: Any) -> None:
    """Answer (ASGI) with a file, given by its path or by an upload's name as in `upload_name`."""
    path = str(CARD_IMAGE) if name == CARD_IMAGE.name else upload_path(name) or name
    if path != str(CARD_IMAGE) and not is_uploaded(path):
        await refuse(send, 404, "there is no such file, or it has been removed")
        return
    file = Path(path).resolve()
    kind, _ = mimetypes.guess_type(file)
    # Files that could run scripts with the page's rights are downloaded, never shown.
    shown = kind if kind in XSS_SAFE_MIMETYPES else None
    answer = FileResponse(
        file,
        media_type=shown or "application/octet-stream",
        filename=file.name,
        content_disposition_type="inline" if shown else "attachment",
    )
    await answer(scope, receive, send)
