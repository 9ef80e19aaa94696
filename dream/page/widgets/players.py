"""Players: of a video, and of a GIF or a still in its place."""

from __future__ import annotations

from typing import Any

import gradio as gr


def still_image(label: str, elem_id: str) -> gr.Image:
    """What shows a frame, or a GIF, in the place of a player; hidden as yet."""
    options: dict[str, Any] = {"interactive": False, "visible": False, "buttons": []}
    return gr.Image(type="filepath", label=label, elem_id=elem_id, **options)


def video_player(value: str | None, label: str, **options: Any) -> gr.Video:
    """What plays a video, again and again."""
    return gr.Video(
        value,
        label=label,
        interactive=False,
        autoplay=True,
        loop=True,
        buttons=[],
        **options,
    )


def player_updates(path: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The picture and the player with that video; a GIF is a picture to browsers."""
    is_gif = path.endswith(".gif")
    still = gr.update(visible=is_gif, **({"value": path} if is_gif else {}))
    return still, gr.update(visible=not is_gif, value=None if is_gif else path)
