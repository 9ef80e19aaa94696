"""A real Chromium, and what a visitor does on the page."""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Locator, Page, expect

from tests.conftest import EXAMPLES

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"]
FLAGS += ["--in-process-gpu"]  # A page loads in a fifth less time.
SECONDS = 1000.0  # In milliseconds, the unit of Playwright's timeouts.
WINDOW_SIZES = {"desk": (1280, 800), "phone": (390, 844)}
# Tests that do the same at both sizes run at one of them.
on_phone = pytest.mark.parametrize("page", ["phone"], indirect=True)
BOTH_SIZES = ["phone", pytest.param("desk", marks=pytest.mark.at_scale)]
on_both = pytest.mark.parametrize("page", BOTH_SIZES, indirect=True)


@contextmanager
def open_page(window: Page, address: str, size: str) -> Iterator[Page]:
    """Open the page in a window of a named size; check at the end that no script failed."""
    width, height = WINDOW_SIZES[size]
    window.set_viewport_size({"width": width, "height": height})
    errors: list[str] = []

    def failed(error: Any) -> None:
        # Gradio sometimes asks its resizer of frames too early; it tries again.
        if "autoResize" not in str(error):
            errors.append(str(error))

    window.on("pageerror", failed)
    go_to(window, address)
    yield window
    window.remove_listener("pageerror", failed)
    leave_page(window)
    assert not errors, errors


def go_to(page: Page, address: str) -> None:
    """Open the page and wait until its scripts run; before that, a click is lost."""
    page.goto(address)
    expect(page.locator("#view img")).to_have_count(2, timeout=60 * SECONDS)
    page.wait_for_function("localStorage.getItem('deep-dream-settings')")


def leave_page(window: Page) -> None:
    """Leave the page and clear the visitor's storage and cookies."""
    window.context.clear_cookies()
    origin = window.evaluate("sessionStorage.clear(); location.origin")
    window.goto("about:blank")
    # After leaving: until then a late answer may still be stored.
    session = window.context.new_cdp_session(window)
    about = {"origin": origin, "storageTypes": "local_storage"}
    session.send("Storage.clearDataForOrigin", about)
    session.detach()


@contextmanager
def slow_cpu(page: Page) -> Iterator[None]:
    """Slow the browser down to a phone's speed."""
    session = page.context.new_cdp_session(page)
    session.send("Emulation.setCPUThrottlingRate", {"rate": 6})
    try:
        yield
    finally:
        session.detach()


def small_photo(name: str, folder: Path) -> Path:
    """Write an example photo of 192 pixels, which is dreamed at once."""
    with Image.open(EXAMPLES / name) as image:
        image.thumbnail((192, 192))
        image.save(folder / name)
    return folder / name


def upload(page: Page, file: Path) -> None:
    page.set_input_files("#photo input[type=file]", file)
    expect_photo(page, file.name)


def expect_photo(page: Page, name: str) -> None:
    expect(page.locator("#photo img")).to_have_attribute("src", re.compile(re.escape(name)))


def number(page: Page, label: str) -> Locator:
    """Return the visible number field of a slider."""
    return page.locator(f'input[type=number][aria-label*="{label}"]:visible').first


def fill(page: Page, label: str, value: float) -> None:
    number(page, label).fill(str(value))
    number(page, label).press("Tab")


def layer(page: Page) -> Locator:
    return page.get_by_label("Layer", exact=True).first


def choose_layer(page: Page, name: str) -> None:
    """Click the image of a layer."""
    page.locator(".layers:visible button", has_text=name).click()


def choose_preset(page: Page, name: str) -> None:
    page.locator("#presets button", has_text=name).click()


def open_tab(page: Page, name: str) -> None:
    page.get_by_role("tab", name=name).click()


def open_section(page: Page, name: str) -> None:
    page.get_by_role("button", name=name).click()
    # Gradio refills the fields right after it creates them, faster than a visitor types.
    page.wait_for_timeout(0.5 * SECONDS)


def open_advanced(page: Page, **values: float) -> None:
    """Open the section and fill in the values of knobs."""
    open_section(page, "Advanced")
    for name, value in values.items():
        fill(page, name.replace("_", " ").capitalize(), value)


def dream_and_wait(page: Page, what: str = "Dreamed in", button: str = "#go") -> None:
    """Press the button and wait for a new dream."""
    before = sources(page)[-1]
    page.click(button)
    expect(page.locator("#stop")).to_be_visible()
    expect(page.locator("#go")).to_be_visible(timeout=60 * SECONDS)
    expect(status(page)).to_contain_text(what)
    assert sources(page)[-1] != before


def strip(page: Page) -> Locator:
    """Return the earlier dreams of the visit."""
    return page.locator("#strip button.thumbnail-item")


def sources(page: Page) -> list[str]:
    """Return the addresses of the comparison slider's two images."""
    sources = page.locator("#view img").evaluate_all("images => images.map(image => image.src)")
    return [source for source in sources if source]


def status(page: Page, elem_id: str = "status") -> Locator:
    return page.locator(f"#{elem_id} [role=status]")


def expect_status(page: Page, text: str) -> None:
    """Wait for a status that a dream takes a while to reach."""
    expect(status(page)).to_contain_text(text, timeout=60 * SECONDS)


def see_status(page: Page, pattern: str, elem_id: str = "status") -> None:
    """Wait for a status that may soon be over: `expect` looks once a second, this at each frame."""
    page.wait_for_function(
        "([place, pattern]) => document.querySelector(place)?.innerText.match(pattern)",
        arg=[f"#{elem_id} [role=status]", pattern],
        timeout=60 * SECONDS,
    )


def download(page: Page, folder: Path, button: str = "#download") -> Path:
    with page.expect_download() as waiting:
        page.click(button)
    path = folder / waiting.value.suggested_filename
    waiting.value.save_as(path)
    return path


def download_after_a_stop(page: Page, folder: Path, name: str, button: str = "#download") -> Path:
    """Download until the file's name matches: the running step ends first."""
    for _ in range(50):
        path = download(page, folder, button)
        if re.fullmatch(name, path.name):
            return path
        page.wait_for_timeout(0.2 * SECONDS)
    raise AssertionError(f"{path.name} is not {name}")


def open_painter(page: Page) -> Locator:
    """Open the painter; return its canvas with the photo."""
    open_section(page, "Mask")
    expect(page.locator("#mask button[aria-label='Brush']")).to_be_visible()
    page.wait_for_timeout(1.5 * SECONDS)
    return page.locator("#mask canvas").first


def stroke(page: Page, canvas: Locator) -> None:
    """Paint a stroke over the middle of the image."""
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    assert box
    across, down = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(across - 40, down - 20)
    page.mouse.down()
    page.mouse.move(across + 40, down + 20, steps=8)
    page.mouse.up()
    page.wait_for_timeout(0.5 * SECONDS)


def mean_colour(image: Image.Image) -> Any:
    """Return the mean colour of pixels that are not as white as the page."""
    pixels = np.asarray(image.convert("RGB"))
    return pixels[pixels.min(2) < 230].mean(0)


def expect_on_painter(page: Page, photo: Path) -> None:
    """Wait until the painter shows that photo."""
    with Image.open(photo) as image:
        wanted = mean_colour(image)
    for _ in range(60):
        seen = mean_colour(Image.open(BytesIO(page.locator("#mask canvas").first.screenshot())))
        if abs(seen - wanted).max() < 20:
            return
        page.wait_for_timeout(0.25 * SECONDS)
    raise AssertionError(f"the painter shows {seen}, not {wanted}")
