"""A real Chromium, and what a visitor does on the page."""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

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


@contextmanager
def open_page(window: Page, address: str, size: str) -> Iterator[Page]:
    """Open the page in a window of a named size; check at the end that no script failed."""
    width, height = WINDOW_SIZES[size]
    window.set_viewport_size({"width": width, "height": height})
    errors: list[str] = []

    def failed(error: Any) -> None:
        errors.append(str(error))

    window.on("pageerror", failed)
    window.goto(address)
    expect(window.locator("#view img")).to_have_count(2)
    yield window
    window.remove_listener("pageerror", failed)
    leave_page(window)
    assert not errors


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
    """Return the number field of a slider."""
    return page.locator(f'input[type=number][aria-label*="{label}"]')


def fill(page: Page, label: str, value: float) -> None:
    number(page, label).fill(str(value))
    number(page, label).press("Tab")


def open_advanced(page: Page) -> None:
    page.get_by_role("button", name="Advanced").click()
    # Gradio refills the fields right after it creates them, faster than a visitor types.
    page.wait_for_timeout(500)


def sources(page: Page) -> list[str]:
    """Return the addresses of the comparison slider's two images."""
    sources = page.locator("#view img").evaluate_all("images => images.map(image => image.src)")
    return [source for source in sources if source]


def status(page: Page) -> Any:
    return page.locator("#status [role=status]")


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
