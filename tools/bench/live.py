"""Measure live dreams: frame rate and delay in the pipe and in a browser, and where time goes.

A camera moves slowly over cat.jpg. In the browser (Chromium, if installed) a bar code in each
frame identifies it: the delay is from the camera frame on the page to its dream on the page.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from PIL import Image, ImageDraw

from dream import Engine, LiveRecipe
from dream.networks.network import Network, ValueAndGrad
from dream.render import live, video
from dream.render.job_loop import to_batch
from dream.render.zoom import MIN_COLOURFULNESS, MIN_CONTRAST, ImageStats
from tests.conftest import EXAMPLES, ROOT
from tests.support.browser import CHROMIUM, FLAGS
from tests.support.server import run_app
from tests.support.videos import write_camera_file
from tools.measure import Stopwatch, live_dreamer
from tools.report import Report

WARM_UP_FRAMES, FRAMES = 10, 60
MINUTES = 10
SIZES = ((320, 240), (240, 180))
BITS, BAR = 8, 32
SECONDS = 20
# Records when the camera's video shows a number, and when the dream of it appears.
WATCH = f"""() => {{
  const canvas = new OffscreenCanvas({BITS}, 1).getContext("2d", {{ willReadFrequently: true }});
  const number = (source, width, height) => {{
    canvas.drawImage(source, 0, height * {1 - BAR / 2 / 240}, width, 1, 0, 0, {BITS}, 1);
    const pixels = canvas.getImageData(0, 0, {BITS}, 1).data;
    const bits = [...Array({BITS}).keys()].map((bit) => (pixels[4 * bit + 1] > 127 ? 1 : 0));
    return parseInt(bits.join(""), 2);
  }};
  const video = document.querySelector("#camera video");
  const seen = {{}};
  window.delays = [];
  const look = () => {{
    seen[number(video, video.videoWidth, video.videoHeight)] = performance.now();
    video.requestVideoFrameCallback(look);
  }};
  video.requestVideoFrameCallback(look);
  let last = "";
  new MutationObserver(async () => {{
    const image = document.querySelector("#mirror img");
    if (!image || image.src === last) return;
    last = image.src;
    await image.decode().catch(() => {{}});
    const from = seen[number(image, image.naturalWidth, image.naturalHeight)];
    window.delays.push(from === undefined ? null : performance.now() - from);
  }}).observe(document.querySelector("#mirror"), {{ subtree: true, attributeFilter: ["src"] }});
}}"""


def measure(engine: Engine, report: Report) -> None:
    for width, height in SIZES:
        measure_pipe(report, width, height)
        measure_parts(engine, report, width, height)
    measure_still_camera(engine, report)
    if CHROMIUM:
        with tempfile.TemporaryDirectory() as folder:
            measure_in_browser(report, Path(folder))


def measure_still_camera(engine: Engine, report: Report) -> None:
    """Measure how far contrast and colour drift in ten minutes of a still camera."""
    with Image.open(EXAMPLES / "coffee.jpg") as photo:
        seen = photo.convert("RGB").resize((64, 48))
    dreamer, recipe = live_dreamer(engine), LiveRecipe()
    target, noise = ImageStats.measure(to_batch([seen])), np.random.default_rng(0)
    contrast, colour = [], []
    for frame in range(MINUTES * 600):
        noisy = np.asarray(seen) + noise.normal(0, 2, (48, 64, 3))
        dream = dreamer.dream_frame(
            Image.fromarray(noisy.clip(0, 255).astype(np.uint8)), recipe.with_max_side(64)
        )
        if frame >= 20:
            stats = ImageStats.measure(to_batch([dream]))
            contrast.append(float(stats.contrast / target.contrast.clamp(MIN_CONTRAST)))
            colour.append(
                float(stats.colourfulness / target.colourfulness.clamp(MIN_COLOURFULNESS))
            )
    for name, shares in (("contrast", contrast), ("colour", colour)):
        report.add_row(
            "ten minutes of a still camera", of=name, least=min(shares), most=max(shares)
        )


def views(count: int, width: int, height: int) -> Iterator[Image.Image]:
    """Yield the frames of a camera that moves to and fro over a photo."""
    with Image.open(EXAMPLES / "cat.jpg") as cat:
        photo = cat.convert("RGB").resize((width * 5 // 4, height * 5 // 4))
    for frame in range(count):
        left = abs(frame % 160 - 80) * (photo.width - width) // 80
        yield photo.crop((left, height // 8, left + width, height // 8 + height))


def measure_pipe(report: Report, width: int, height: int) -> None:
    """Measure the pipe, which gets each frame as soon as it returned the one before."""
    took = []
    with subprocess.Popen(
        [sys.executable, "-m", "dream", "pipe", "--size", f"{width}x{height}"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdin and process.stdout
        for view in views(WARM_UP_FRAMES + FRAMES, width, height):
            start = time.perf_counter()
            process.stdin.write(view.tobytes())
            process.stdin.flush()
            process.stdout.read(3 * width * height)
            took.append(time.perf_counter() - start)
        process.stdin.close()
    took = took[WARM_UP_FRAMES:]
    _row(report, f"pipe, {width} x {height}", len(took) / sum(took), took)


def _row(report: Report, of: str, rate: float, delays: list[float], **more: Any) -> None:
    delay = 1000 * statistics.median(delays)
    report.add_row("live", of=of, **{"frames a second": rate, "delay in ms": delay}, **more)


def measure_parts(engine: Engine, report: Report, width: int, height: int) -> None:
    """Measure the parts of a frame's time, in milliseconds (medians)."""
    watch, real = Stopwatch(), Network.value_and_grad

    def value_and_grad(*given: Any, **about: Any) -> ValueAndGrad:
        return watch.timed("step", real(*given, **about))

    dream_frame = watch.timed("whole", live_dreamer(engine).dream_frame)
    recipe = LiveRecipe(max_side=max(width, height))
    with (
        patch.object(Network, "value_and_grad", value_and_grad),
        watch.time_calls(
            (video, "backward_flow", "flow"),
            (live, "warp_previous_dream", "flow and warping"),
            (live, "match_stats", "matching contrast and colour"),
        ),
    ):
        for view in views(WARM_UP_FRAMES + FRAMES, width, height):
            dream_frame(view, recipe)
    times = {
        part: 1000 * statistics.median(each[WARM_UP_FRAMES:])
        for part, each in watch.seconds.items()
    }
    report.add_row("a live frame in ms", of=f"{width} x {height}", **times)


def measure_in_browser(report: Report, folder: Path) -> None:
    """Measure the page in Chromium, on the same cores."""
    from playwright.sync_api import sync_playwright

    seen = write_camera_file(
        folder / "seen.mjpeg", [*map(draw_number, range(2**BITS), views(2**BITS, 320, 240))]
    )
    fake = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    flags = [*FLAGS, *fake, f"--use-file-for-fake-video-capture={seen}"]
    with run_app(folder / "log") as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.goto(address)
        page.get_by_role("tab", name="Live").click()
        page.locator("#camera [title='grant webcam access'] button").click()
        page.locator("#camera [title='start recording']").click()
        page.wait_for_timeout(3000)
        page.evaluate(WATCH)
        page.wait_for_timeout(1000 * SECONDS)
        delays = page.evaluate("window.delays")
        browser.close()
    read = [each / 1000 for each in delays if each is not None]
    _row(report, "browser, 320 x 240", len(delays) / SECONDS, read, read=len(read) / len(delays))


def draw_number(number: int, view: Image.Image) -> Image.Image:
    """Draw a number below the image, in black and white, the highest bit first."""
    draw, side = ImageDraw.Draw(view), view.width / BITS
    for bit in range(BITS):
        colour = "white" if number >> (BITS - 1 - bit) & 1 else "black"
        left = round(bit * side)
        draw.rectangle((left, view.height - BAR, round(left + side), view.height), fill=colour)
    return view


if __name__ == "__main__":
    print(f"{torch.get_num_threads()} threads")
    measure(Engine("cpu"), Report())
