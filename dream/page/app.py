"""The app: its page, whose tabs are modules in `dream/page/tabs`, and its server."""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

try:  # ZeroGPU requires this import before torch. Only a Space has the package.
    import spaces
except ImportError:
    spaces = None

import gradio as gr
import torch
from fastapi.exceptions import RequestValidationError
from gradio.utils import get_space
from starlette.middleware import Middleware

from dream import Engine, WeightsError, __version__
from dream.files.decoder import start_decoder, uses_decoder_process
from dream.networks.device import use_deterministic_cudnn
from dream.page.blocks import MAX_UPLOAD_BYTES, ValidatedBlocks
from dream.page.server import api, responses, temp_files
from dream.page.server.connections import limit_connections
from dream.page.server.gradio_internals import check_gradio
from dream.page.server.hosts import HostCheck, allowed_hosts
from dream.page.server.log_limits import limit_repeated_records
from dream.page.server.middleware import RequestLimits
from dream.page.server.sessions import MAX_SESSIONS, replace_session_store
from dream.page.server.zero_gpu import with_lease_errors
from dream.page.tabs import channels, class_images, deep_dream, live, zoom_and_video
from dream.page.widgets import components, visit
from dream.page.widgets.recipe_sharing import RecipeTab
from dream.recipe.knob import read_env_number
from dream.render.cpu_threads import allowed_threads
from dream.service.job_runner import JobRunner, use_few_malloc_arenas

TITLE = "Deep Dream"
TAGLINE = "Watch a neural network dream into your photo."
# The default indigo and grey of Soft have too little contrast.
THEME = gr.themes.Soft(
    primary_hue="indigo",
    secondary_hue="rose",
    neutral_hue="slate",
    font=["system-ui", "sans-serif"],
).set(
    background_fill_primary="*neutral_50",  # Soft's default, which set() would reset.
    body_text_color_subdued="*neutral_500",
    block_label_text_color="*primary_700",
    block_title_text_color="*primary_700",
    button_primary_background_fill="*primary_600",
    button_primary_background_fill_hover="*primary_700",
    checkbox_label_background_fill_selected="*primary_600",
    color_accent="*primary_600",
    slider_color="*primary_600",
)
# The kinds of recipes by the tab that makes them; `/?tab=zoom` and a link of a zoom open one.
TAB_KINDS = {
    "dream": ["dream"],
    "channels": ["channel"],
    "class": ["class"],
    "zoom": ["zoom", "video"],
    "live": ["live"],
}
# With `cover`, the page knows the areas that a phone's rounded corners cover.
VIEWPORT = (
    '<meta name="viewport" content="width=device-width, initial-scale=1, viewport-fit=cover">'
)
PAGE_FOLDER = Path(__file__).parent
LAUNCH_OPTIONS: dict[str, Any] = {
    "theme": THEME,
    "css_paths": PAGE_FOLDER / "page.css",
    "head": f"{VIEWPORT}<script>{(PAGE_FOLDER / 'page.js').read_text(encoding='utf-8')}</script>",
    "favicon_path": components.EXAMPLES_FOLDER / "site" / "favicon.png",
    "ssr_mode": False,  # With it, Node would serve the page without the link preview tags.
    "max_file_size": MAX_UPLOAD_BYTES,
    "state_session_capacity": MAX_SESSIONS,
    "enable_monitoring": False,
    # With it, a page on another port could list the operator's buckets by their token.
    "run_history": False,
    "footer_links": ["api", "gradio", "settings"],
    # With it, Gradio requests the page at start and exits if that takes over three seconds.
    "_frontend": False,
    "mcp_server": importlib.util.find_spec("mcp") is not None,
}


def build_page(runner: JobRunner) -> ValidatedBlocks:
    """Build the page and its API endpoints."""
    page = ValidatedBlocks(title=TITLE, analytics_enabled=False)
    with page:
        with gr.Row(elem_id="head"):
            gr.HTML(f"<h1>{TITLE}</h1><p>{TAGLINE}</p>", elem_id="title")
            if get_space():
                gr.DuplicateButton("Duplicate this Space", elem_id="duplicate")
        with gr.Tabs(overflow_behavior="wrap") as tabs:
            with gr.Tab("Deep Dream", id="dream"):
                dream_tab = deep_dream.DreamTab(runner)
            with gr.Tab("Channel visualization", id="channels"):
                channel_tab = channels.ChannelTab(runner, tabs, dream_tab)
            with gr.Tab("Class image", id="class"):
                class_tab = class_images.ClassImageTab(runner, tabs, dream_tab)
            with gr.Tab("Zoom and video", id="zoom"):
                zoom_tab = zoom_and_video.ZoomAndVideoTab(runner)
            with gr.Tab("Live", id="live"):
                live_tab = live.LiveTab(runner, tabs, dream_tab)
        gr.HTML(f"{TITLE} {__version__}", elem_id="version")
        by_id: dict[str, RecipeTab] = {"channels": channel_tab, "class": class_tab}
        by_id |= {"zoom": zoom_tab, "live": live_tab}
        by_kind = {kind: tab for name, tab in by_id.items() for kind in TAB_KINDS[name]}
        visit.connect_restore(page.load, dream_tab.controls, dream_tab.outputs, by_kind)
        dream_tab.blend.connect(page.load, dream_tab.outputs)
        kinds = json.dumps(TAB_KINDS)
        components.run_in_browser(page.load, f"() => openTab({kinds})", None, tabs)
        components.run_in_browser(tabs.change, f"() => nameTab({kinds})")
        api.add_endpoints(runner)
    return page


@asynccontextmanager
async def lifespan(app: Any, hosts: frozenset[str] | None) -> AsyncIterator[None]:
    """Check headers before Gradio's own middleware reads them, and start the decoder."""
    app.middleware_stack = responses.ResponseHeaders(HostCheck(app.middleware_stack, hosts))
    limit_repeated_records()
    # From here on, input comes from strangers, so decode it in a separate process.
    os.environ["DREAM_DECODER"] = os.environ.get("DREAM_DECODER") or "process"
    start_decoder()  # Here, so that it does not delay the start of the server.
    replace_session_store(app)
    yield


def start_runner(concurrency: int) -> JobRunner:
    """Return the runner of all jobs, with the network that the page opens on, if possible."""
    threads = allowed_threads()
    torch.set_num_threads(1)  # The renderer has its own thread team; two would compete.
    use_deterministic_cudnn()
    engine = Engine(shipped=[components.EXAMPLES_FOLDER / "channels"], threads=threads)
    runner = JobRunner(engine, with_lease_errors(spaces.GPU) if spaces else None, concurrency)
    try:
        runner.warm_up(deep_dream.opening_recipe(runner.engine))
    except WeightsError as error:
        print(f"The page starts without the default network: {error}")
    return runner


def main() -> None:
    """Serve the page at GRADIO_SERVER_NAME and GRADIO_SERVER_PORT."""
    check_gradio()
    use_few_malloc_arenas()
    hosts = allowed_hosts()
    uses_decoder_process()  # Raises an error now if DREAM_DECODER has an invalid value.
    # One job at a time on one device; on ZeroGPU each job leases its own GPU.
    concurrency = 8 if "SPACES_ZERO_GPU" in os.environ else 1
    concurrency = read_env_number("DREAM_CONCURRENCY", concurrency, 1, 1000)
    runner = start_runner(concurrency)
    responses.set_link_preview(TITLE, TAGLINE, os.environ.get("SPACE_HOST"))
    folder = temp_files.create_temp_folder()
    page = build_page(runner)
    # One more job than the device runs may read its photo and wait for its turn. `api_open` is off
    # because a dream called outside the queue would hold a thread and end at its first step.
    page.queue(max_size=20, default_concurrency_limit=concurrency + 1, api_open=False)
    temp_files.start_sweeper(folder)
    limit_connections()
    page.launch(
        app_kwargs={
            "lifespan": partial(lifespan, hosts=hosts),
            "middleware": [Middleware(RequestLimits, page)],
            "exception_handlers": {RequestValidationError: responses.refuse_malformed_body},
        },
        **LAUNCH_OPTIONS,
    )
