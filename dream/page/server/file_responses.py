"""Files that whoever has their address may read: uploads, what was made of them, and the card.

Gradio would serve whatever it has allowed, fetch other addresses, and send the headers of a request
for a part of a file back as those of the answer.
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
    """Answer (ASGI) with the file of that name: an upload's, as in `upload_name`, or its path."""
    path = str(CARD_IMAGE) if name == CARD_IMAGE.name else upload_path(name) or name
    if path != str(CARD_IMAGE) and not is_uploaded(path):
        await refuse(send, 404, "there is no such file here, or it is no longer kept")
        return
    file = Path(path).resolve()
    kind, _ = mimetypes.guess_type(file)
    # What could run scripts in the app's name is downloaded, never shown.
    shown = kind if kind in XSS_SAFE_MIMETYPES else None
    answer = FileResponse(
        file,
        media_type=shown or "application/octet-stream",
        filename=file.name,
        content_disposition_type="inline" if shown else "attachment",
    )
    await answer(scope, receive, send)
