"""The shown dream over its photo: a slider that works in the browser, download and share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Any

import gradio as gr
from PIL import Image

from dream.errors import DreamError
from dream.files.image import load_image, save_image
from dream.page import status_line
from dream.page.call_limits import run_in_thread
from dream.page.image_stream import new_output_folder, wait_for_stopped_image
from dream.page.widgets import components
from dream.page.widgets.recipe_controls import recipe_in_photo
from dream.page.widgets.visit import Visit, VisitOutputs
from dream.recipe.knob import Knob
from dream.tensors import resize_clamped, size_of, to_pil_image

SHARE_KNOB = Knob("The share of the dream over the photo.", 0, 100, value_type=int)
# A dream of 8192 pixels a side takes a gigabyte to blend.
BLEND_LOCK = Lock()


class BlendSection:
    """The slider, and the button that shares the dream, shown where the browser can share.

    `download_button` replaces Download while the photo shows through. The server blends only for it
    and to share.
    """

    def __init__(self, download_button: gr.Button) -> None:
        self.download_button = download_button
        with gr.Row(elem_id="blending"):
            self.slider = gr.Slider(
                SHARE_KNOB.low,
                SHARE_KNOB.high,
                SHARE_KNOB.high,
                step=1,
                label="Blend, % dream",
                scale=4,
            )
            self.share_button = gr.Button(
                "Share", size="sm", visible=False, min_width=90, elem_id="share-image"
            )

    def connect(self, page_load: Callable[..., Any], outputs: VisitOutputs) -> None:
        """Blend the view as the slider moves; download or share the blend on a click."""
        buttons = [outputs.download, self.download_button]
        script = "(share) => blendView(share)"
        components.run_in_browser(self.slider.change, script, self.slider, buttons)
        script = "() => update({ visible: Boolean(navigator.share) })"
        components.run_in_browser(page_load, script, None, self.share_button)
        file = gr.DownloadButton(visible=False)
        downloaded, shared = (
            button.click(
                blend_shown,
                [outputs.visit, self.slider],
                [file, outputs.status],
                **components.HEAVY_EVENT,
            )
            for button in (self.download_button, self.share_button)
        )
        components.run_in_browser(downloaded.success, "(file) => downloadFile(file)", file)
        script, inputs = "(file, recipe) => shareImage(file, recipe)", [file, outputs.linkable]
        components.run_in_browser(shared.success, script, inputs, outputs.status)


async def blend_shown(saved: Any, share: Any) -> tuple[str | None, str]:
    """Blend the shown dream of a stored visit; return the file, None after an error, and status."""
    visit = Visit.read(saved)
    await wait_for_stopped_image(visit.shown.file)
    try:
        share = SHARE_KNOB.check("the blend", share)
        path = await run_in_thread(blend_file, visit, share)
    except DreamError as error:
        return None, status_line.status_html(status_line.to_sentence(error))
    return path, status_line.status_html(f"The image is {share} % dream, {100 - share} % photo.")


def blend_file(visit: Visit, share: int) -> str:
    """Return the path of `share` per cent of the dream; raise DreamError if it is gone."""
    entry = visit.require_shown()
    if entry.file == entry.photo:
        raise DreamError("Dream this photo first.")
    if share == SHARE_KNOB.high:
        return entry.file
    with BLEND_LOCK:
        dream = load_image(entry.file)
        photo = to_pil_image(resize_clamped(load_image(entry.before), size_of(dream)))
        image = Image.blend(photo, to_pil_image(dream), share / 100)
    path = new_output_folder() / f"{Path(entry.file).stem}-blend{share}.png"
    save_image(image, path, recipe_in_photo(entry.file), photo=True, blend=share)
    return str(path)
