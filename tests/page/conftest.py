"""Fixtures of the browser tests, which are slow and need Chromium."""

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.support.browser import CHROMIUM, FLAGS, SECONDS, open_page

IN_A_BROWSER = [
    pytest.mark.skipif(not CHROMIUM, reason="no Chromium on this machine"),
    pytest.mark.filterwarnings("default"),
]

expect.set_options(timeout=15 * SECONDS)  # Allow for a busy machine.


def pytest_collection_modifyitems(items: list[Any]) -> None:
    for item in items:
        if "browser" in getattr(item, "fixturenames", ()):
            for mark in IN_A_BROWSER:
                item.add_marker(mark)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def window(browser: Browser) -> Iterator[Page]:
    """Yield a window that all tests of a file share; a new one would load all scripts again."""
    page = browser.new_page()
    page.set_default_timeout(30 * SECONDS)
    yield page
    page.close()


@pytest.fixture
def page(request: Any, window: Page, address: str) -> Iterator[Page]:
    """Yield the page, its scripts running, at desktop size, or as `on_phone` and `on_both` ask."""
    with open_page(window, address, getattr(request, "param", "desk")) as page:
        yield page
