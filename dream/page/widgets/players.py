"""Video players, and images in their place for GIFs and frames."""

from __future__ import annotations

from typing import Any

import gradio as gr


def still_image(label: str, elem_id: str) -> gr.Image:
    """Build a hidden image that shows a frame or a GIF in place of a player."""
    options: dict[str, Any] = {"interactive": False, "visible": False, "buttons": []}
    return gr.Image(type="filepath", label=label, elem_id=elem_id, **options)


def video_player(value: str | None, label: str, **options: Any) -> gr.Video:
    """Build a looping video player."""
    return gr.Video(
        value, label=label, interactive=False, autoplay=True, loop=True, buttons=[], **options
    )


def player_updates(path: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the updates of image and player; browsers show a GIF as an image."""
    is_gif = path.endswith(".gif")
    still = gr.update(visible=is_gif, **({"value": path} if is_gif else {}))
    return still, gr.update(visible=not is_gif, value=None if is_gif else path)
