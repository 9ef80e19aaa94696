"""The page: Gradio around `dream`. Each tab is a file in `dream/page`."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

try:  # Before torch, as ZeroGPU wants it; only a Space has it.
    import spaces
except ImportError:
    spaces = None

import gradio as gr
import torch
from gradio.utils import get_space
from starlette.middleware import Middleware

from dream import DreamError, Engine, WeightsError
from dream.networks.device import repeat_exactly
from dream.page import (
    api,
    card,
    channels,
    class_images,
    deep_dream,
    live,
    motion,
    parts,
    visitors,
)
from dream.page.door import FILE_BYTES, SESSIONS, Door, Page
from dream.page.work import Work
from dream.recipe.knob import from_environment

TITLE = "Deep Dream"
LINE = "Watch a neural network dream into your photo."
# Soft's own indigo and grey are too light to be read by everybody.
THEME = gr.themes.Soft(
    primary_hue="indigo",
    secondary_hue="rose",
    neutral_hue="slate",
    font=["system-ui", "sans-serif"],
).set(
    background_fill_primary="*neutral_50",  # Soft's own, which set() would lose.
    body_text_color_subdued="*neutral_500",
    block_label_text_color="*primary_700",
    block_title_text_color="*primary_700",
    button_primary_background_fill="*primary_600",
    button_primary_background_fill_hover="*primary_700",
    checkbox_label_background_fill_selected="*primary_600",
    color_accent="*primary_600",
    slider_color="*primary_600",
)
CSS = """
.gradio-container { max-width: 1180px !important; margin: 0 auto !important; }
.main { padding-inline: clamp(1rem, 3vw, 2rem) !important; }
#title .html-container { padding: 0; }
#title h1 { font-size: 2rem; line-height: 1.1; margin: 0; }
#title p { font-size: 1.1rem; margin: .3rem 0 .1rem; }
.expected { margin-top: calc(-.6 * var(--layout-gap)); text-align: center; }
.expected .html-container { padding: 0; }
.expected span { color: var(--body-text-color-subdued); font-size: .85rem; }
#head { position: relative; }
#duplicate { position: absolute; right: 0; bottom: 0; min-width: 0; width: auto; }
.dark { --color-accent: var(--primary-400); }
.status { min-height: 3.2em; font-variant-numeric: tabular-nums; }
.status .html-container { padding-inline: 0; opacity: 1; }
input[role=combobox] { padding-right: 1.1rem; text-overflow: ellipsis; }
[role=slider]:focus-visible, [role=combobox]:focus-visible, [type=range]:focus-visible {
  outline: 3px solid var(--color-accent); outline-offset: 2px; }
#photos .container { width: min(4.8rem, 15vw); }
#photos img { aspect-ratio: 3 / 2; object-fit: cover; }
.layers .grid-wrap { min-height: 0; padding: 0; }
.layers .grid-container { grid-template-columns: repeat(3, minmax(0, 1fr)); }
.layers .thumbnail-lg { aspect-ratio: 3 / 2; }
.layers .caption-label { font-size: .75rem; padding: 0 .3rem; }
.result { position: sticky; top: 1rem; align-self: flex-start; }
#channels .grid-wrap { max-height: none; }
#channels .grid-container { grid: auto-flow / repeat(4, minmax(0, 1fr)); }
#channels .caption-label { font-size: .75rem; padding: 0 .3rem; }
#player video, #frame img { width: 100%; height: min(380px, 62vw); object-fit: contain; }
.examples { gap: .4rem; flex-wrap: wrap; }
#class-image img { width: 100%; height: min(420px, 90vw); object-fit: contain; }
#mirror img { width: 100%; height: min(480px, 72vw); object-fit: contain; }
.wall { overflow: hidden; background: #000; }
.wall * { visibility: hidden; }
.wall #mirror img { visibility: visible; position: fixed; inset: 0; height: 100% !important;
  object-fit: cover !important; background: #000; }
#presets { gap: .4rem; flex-wrap: wrap; }
#mask button[aria-label="Save changes"], #mask button[aria-label="Pan"],
#mask button[aria-label="Color"] { display: none; }
.beside { gap: .5rem; }
#made-of p { margin: 0; color: var(--body-text-color-subdued); font-size: .85rem; }
#made-of .html-container { padding: 0; }
#others .grid-wrap { min-height: 0; padding: 0; }
#others .caption-label { font-size: .7rem; padding: 0 .3rem; }
#strip .grid-wrap { min-height: 0; padding: 0; }
#strip .caption-label { font-size: .65rem; padding: 0 .2rem; }
#strip .grid-container { grid-auto-flow: column; grid-auto-columns: 96px;
  grid-template-columns: none !important; overflow-x: auto; }
@media (max-width: 768px) {
  .columns { flex-direction: column; }
  .result { order: -1; position: static; }
  .tab-container button { padding: .5rem .4rem; font-size: .8rem; }
  #title h1 { font-size: 1.7rem; }
  #title p { font-size: .9rem; }
  #duplicate { bottom: auto; top: .4rem; padding: .3rem .5rem; font-size: .7rem; }
  .status { min-height: 1.6em; }
  #photo { height: 200px !important; }
  #came-about { flex: 1.35 1 90px !important; }
  #came-about, #again, #download { font-size: .72rem; padding-inline: 0; white-space: nowrap; }
  .beside { display: none !important; }
}
"""
SCRIPT = (Path(__file__).parent / "dream" / "page" / "page.js").read_text(encoding="utf-8")


def build(work: Work) -> Page:
    """The whole page, and its endpoints."""
    with Page(title=TITLE, analytics_enabled=False) as page:
        with gr.Row(elem_id="head"):
            gr.HTML(f"<h1>{TITLE}</h1><p>{LINE}</p>", elem_id="title")
            if get_space():
                gr.DuplicateButton("Duplicate this Space", elem_id="duplicate")
        with gr.Tabs(overflow_behavior="wrap") as tabs:
            with gr.Tab("Deep Dream", id="dream"):
                dreams = deep_dream.tab(work, page.load)
            with gr.Tab("Channel visualization", id="channels"):
                channels.tab(work, tabs, dreams)
            with gr.Tab("Class image", id="class"):
                class_images.tab(work, tabs, dreams)
            with gr.Tab("Zoom and video", id="motion"):
                motion.tab(work)
            with gr.Tab("Live", id="live"):
                live.tab(work, tabs, dreams)
        api.endpoints(work)
    return page


def main() -> None:
    """Serve the page; GRADIO_SERVER_NAME and GRADIO_SERVER_PORT say where."""
    # A Space sees every core of its host but may use only these.
    cores = from_environment("CPU_CORES", float(torch.get_num_threads()), 0.1, 1000)
    torch.set_num_threads(1)  # All but one thread: two teams would be in each other's way.
    repeat_exactly()
    # One at a time where there is one device; on ZeroGPU each has one of its own.
    at_a_time = 8 if "SPACES_ZERO_GPU" in os.environ else 1
    at_a_time = from_environment("DREAM_CONCURRENCY", at_a_time, 1, 1000)
    engine = Engine(shipped=[parts.EXAMPLES / "channels"], threads=max(1, int(cores)))
    work = Work(engine, spaces.GPU if spaces else None, at_a_time)
    try:
        work.warm_up(deep_dream.opening(work.engine))
    except WeightsError as error:
        print(f"The page opens all the same, but {error}")
    gr.set_static_paths([card.CARD])
    tags = card.tags(TITLE, LINE, os.environ.get("SPACE_HOST"))
    folder = visitors.own_folder()
    page = build(work)
    # One more has its photo read, and waits for its turn at the device.
    page.queue(max_size=20, default_concurrency_limit=at_a_time + 1)
    visitors.keep_swept(folder)
    page.launch(
        theme=THEME,
        css=CSS,
        head=f"<script>{SCRIPT}</script>",
        favicon_path=parts.EXAMPLES / "site" / "favicon.png",
        app_kwargs={"middleware": [Middleware(Door, page), Middleware(card.Carded, tags)]},
        ssr_mode=False,  # Else Node would serve the page, without the card.
        max_file_size=FILE_BYTES,
        state_session_capacity=SESSIONS,
        enable_monitoring=False,
        footer_links=["api", "gradio", "settings"],
        mcp_server=importlib.util.find_spec("mcp") is not None,
    )


if __name__ == "__main__":
    try:
        main()
    except DreamError as error:  # A variable of the environment that names what cannot be.
        sys.exit(f"Error: {error}")
