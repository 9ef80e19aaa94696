"""A real Chromium, and what a hand does on the page."""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Locator, Page, expect

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"]
SECONDS = 1000.0
SIZES = {"desk": (1280, 800), "phone": (390, 844)}


@contextmanager
def watched(browser: Browser, address: str, size: str) -> Iterator[Page]:
    """The page, open at a size by its name; in the end it had no errors."""
    width, height = SIZES[size]
    page = browser.new_page(viewport={"width": width, "height": height})
    page.set_default_timeout(30 * SECONDS)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(address)
    expect(page.locator("#view img")).to_have_count(2)
    yield page
    page.close()
    assert not errors


def upload(page: Page, file: Path) -> None:
    page.set_input_files("#photo input[type=file]", file)
    expect_photo(page, file.name)


def expect_photo(page: Page, name: str) -> None:
    expect(page.locator("#photo img")).to_have_attribute("src", re.compile(re.escape(name)))


def number(page: Page, label: str) -> Locator:
    """The number field beside a slider."""
    return page.locator(f'input[type=number][aria-label*="{label}"]')


def fill(page: Page, label: str, value: float) -> None:
    number(page, label).fill(str(value))
    number(page, label).press("Tab")


def open_advanced(page: Page) -> None:
    page.get_by_role("button", name="Advanced").click()
    # Gradio fills the fields once more as they come into being, faster than a hand types.
    page.wait_for_timeout(500)


def shown(page: Page) -> list[str]:
    """The addresses of the two pictures of the slider."""
    sources = page.locator("#view img").evaluate_all("images => images.map(image => image.src)")
    return [source for source in sources if source]


def status(page: Page) -> Any:
    return page.locator("#status [role=status]")


def download(page: Page, folder: Path) -> Path:
    with page.expect_download() as waiting:
        page.click("#download")
    path = folder / waiting.value.suggested_filename
    waiting.value.save_as(path)
    return path
