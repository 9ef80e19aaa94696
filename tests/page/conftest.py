"""Fixtures of the browser tests."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.support.browser import CHROMIUM, FLAGS, SECONDS, open_page


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
def page(window: Page, address: str) -> Iterator[Page]:
    """Yield the page at desktop size, its scripts running."""
    with open_page(window, address, "desk") as page:
        page.wait_for_timeout(1 * SECONDS)
        yield page
