"""The page: Gradio around `dream`. Each tab is a file in `dream/tabs`."""

from __future__ import annotations

import importlib.util
import os
import sys

try:  # Before torch, as ZeroGPU wants it; only a Space has it.
    import spaces
except ImportError:
    spaces = None

import gradio as gr
import torch

from dream import DreamError, Engine, WeightsError
from dream.tabs import channels, channels_api, class_images, deep_dream, deep_dream_api, parts
from dream.tabs.work import Work

THEME = gr.themes.Soft(
    primary_hue="indigo",
    secondary_hue="rose",
    neutral_hue="slate",
    font=["system-ui", "sans-serif"],
)
CSS = """
.gradio-container { max-width: 1180px !important; margin: 0 auto !important; }
#title h1 { font-size: 2rem; line-height: 1.1; margin: 0; }
#title p { font-size: 1.1rem; margin: .3rem 0 .1rem; }
#expected { color: var(--body-text-color-subdued); font-size: .9rem; text-align: center; }
.status { min-height: 3.2em; font-variant-numeric: tabular-nums; }
.layers .grid-wrap { min-height: 0; padding: 0; }
.layers .grid-container { grid-template-columns: repeat(3, minmax(0, 1fr)); }
.layers .thumbnail-lg { aspect-ratio: 3 / 2; }
.layers .caption-label { font-size: .75rem; padding: 0 .3rem; }
.result { position: sticky; top: 1rem; align-self: flex-start; }
#channels .grid-wrap { max-height: none; }
#channels .caption-label { font-size: .75rem; padding: 0 .3rem; }
#class-image img { width: 100%; height: 100%; object-fit: contain; }
#presets { gap: .4rem; flex-wrap: wrap; }
#mask button[aria-label="Save changes"], #mask button[aria-label="Pan"],
#mask button[aria-label="Color"] { display: none; }
#strip .grid-wrap { min-height: 0; padding: 0; }
#strip .caption-label { font-size: .65rem; padding: 0 .2rem; }
#strip .grid-container { grid-auto-flow: column; grid-auto-columns: 96px;
  grid-template-columns: none !important; overflow-x: auto; }
@media (max-width: 768px) {
  .columns { flex-direction: column; }
  .result { order: -1; position: static; }
}
"""
KEYS = """
<script>
document.addEventListener("keydown", (event) => {
  if (event.target.closest("input, textarea, button, a, [role=slider]") && event.key !== "Escape")
    return;
  const buttons = document.querySelectorAll({ Enter: ".go", Escape: ".stop" }[event.key] || "none");
  [...buttons].find((button) => button.offsetParent)?.click();
});
</script>
"""


def build(work: Work) -> gr.Blocks:
    """The whole page, and its endpoints."""
    with gr.Blocks(title="Deep Dream", analytics_enabled=False, delete_cache=(3600, 86400)) as page:
        gr.HTML(
            "<h1>Deep Dream</h1><p>Watch a neural network dream into your photo.</p>",
            elem_id="title",
        )
        with gr.Tabs(overflow_behavior="wrap") as tabs:
            with gr.Tab("Deep Dream", id="dream"):
                dreams = deep_dream.tab(work, page.load)
            with gr.Tab("What it sees", id="channels"):
                channels.tab(work, tabs, dreams)
            with gr.Tab("Class image", id="class"):
                class_images.tab(work, tabs, dreams)
        deep_dream_api.endpoints(work)
        channels_api.endpoints(work)
        class_images.endpoint(work)
    return page.queue(max_size=20)


def main() -> None:
    """Serve the page; GRADIO_SERVER_NAME and GRADIO_SERVER_PORT say where."""
    if cores := os.environ.get("CPU_CORES"):
        # A Space sees every core of its host but may use only these.
        torch.set_num_threads(max(1, int(float(cores))))
    work = Work(Engine(shipped=[parts.EXAMPLES / "channels"]), spaces.GPU if spaces else None)
    try:
        work.warm_up(deep_dream.opening(work.engine))
    except WeightsError as error:
        print(f"The page opens all the same, but {error}")
    build(work).launch(
        theme=THEME,
        css=CSS,
        head=KEYS,
        max_file_size="50mb",
        footer_links=["api", "gradio", "settings"],
        mcp_server=importlib.util.find_spec("mcp") is not None,
    )


if __name__ == "__main__":
    try:
        main()
    except DreamError as error:  # A variable of the environment that names what is not there.
        sys.exit(f"Error: {error}")
