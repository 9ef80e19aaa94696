"""Previews of uploads that not every browser shows: HEIC, TIFF and BMP.

The page names the upload itself everywhere; only its address serves a JPEG in its place, decoded
by the reader that the dream uses. So a photo looks as it is dreamed, in every tab.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, suppress
from pathlib import Path

from PIL import TiffImagePlugin

from dream.errors import DreamError
from dream.files.heif_boxes import BRANDS, is_heif
from dream.files.image import load_thumbnail, save_preview
from dream.page.call_limits import run_in_thread

HEIC_BRANDS = tuple(set(BRANDS) - {b"avif", b"avis"})
TIFF_AND_BMP_STARTS = (*TiffImagePlugin.PREFIXES, b"BM")
# It fills a screen; beside the upload, so that both are deleted together.
PREVIEW_SIDE, PREVIEW_NAME = 1600, ".preview.jpg"


async def find_preview(file: Path, limit: AbstractAsyncContextManager[None]) -> Path:
    """Return the preview of an upload, which is made once; the file itself if it needs none.

    Also return the file if it cannot be read: the dream button says why.

    Args:
        file: the upload.
        limit: waits until the caller may read an image.

    Raises:
        DreamError: if `limit` refuses the caller.
    """
    with open(file, "rb") as opened:
        head = opened.read(12)
    preview = file.with_name(PREVIEW_NAME)
    # Browsers show AVIF, and a dream in AVIF must keep its recipe.
    if not (is_heif(head, HEIC_BRANDS) or head.startswith(TIFF_AND_BMP_STARTS)):
        return file
    if not preview.exists():
        async with limit:
            with suppress(DreamError):
                if not preview.exists():  # Another request may have made it meanwhile.
                    await run_in_thread(_write_preview, file, preview)
    return preview if preview.exists() else file


def _write_preview(file: Path, preview: Path) -> None:
    save_preview(load_thumbnail(file, PREVIEW_SIDE), preview)
