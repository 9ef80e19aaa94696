"""A visit survives a reload, a dropped session, a restart and a cut connection."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from dream.page.widgets.saved_visit import MAX_DREAMS, OPENING_ENTRY, Visit
from tests.support.browser import (
    CHROMIUM,
    SECONDS,
    WINDOW_SIZES,
    download,
    expect_photo,
    fill,
    leave_page,
    number,
    open_page,
    small_photo,
    sources,
    status,
    upload,
)
from tests.support.server import free_port, open_line, run_app

expect.set_options(timeout=15 * SECONDS)  # Allow for a busy machine.
NAME = "0" * 32 + "/dream.png"


def in_a_browser(test: Any) -> Any:
    for mark in (
        pytest.mark.skipif(not CHROMIUM, reason="no Chromium on this machine"),
        pytest.mark.filterwarnings("default"),
        pytest.mark.slow,
    ):
        test = mark(test)
    return test


@pytest.mark.parametrize(
    "kept",
    [
        *(None, 1, "x", [], {}, {"shown": 1, "dreams": 2, "recipe": 3}),
        {"shown": [NAME] * 2, "recipe": "x" * 100_000, "dreams": {"0": [NAME] * 3}},
        {"shown": ["/etc/passwd", NAME, NAME], "dreams": [["../" + NAME, NAME, NAME], [[]] * 3]},
        {"shown": [NAME, NAME, "0" * 32 + "/../../x/y.png"], "dreams": [[NAME, NAME, None]]},
    ],
)
def test_what_no_page_keeps_is_read_as_nothing(kept: Any) -> None:
    assert Visit.read(kept) == Visit()


def test_what_a_page_keeps_names_uploads_alone_and_bounds_them() -> None:
    made = {"shown": [NAME] * 3, "recipe": "{}", "dreams": [[NAME] * 3] * (MAX_DREAMS + 5)}
    visit = Visit.read(made)
    assert visit.shown.file.endswith(NAME) and len(visit.dreams) == MAX_DREAMS
    assert visit.to_browser() == {**made, "dreams": [[NAME] * 3] * MAX_DREAMS}
    assert not visit.shown.resolve()  # The file does not exist.
    assert (
        Visit.read(Visit(shown=OPENING_ENTRY).to_browser()) == Visit()
        and OPENING_ENTRY.resolve() == OPENING_ENTRY
    )


@pytest.fixture(params=WINDOW_SIZES)
def page(request: Any, window: Page, address: str) -> Iterator[Page]:
    with open_page(window, address, request.param) as page:
        yield page


def dream_small(page: Page, folder: Path, *intensities: int) -> None:
    """Dream a small photo of a cat at each intensity."""
    page.wait_for_timeout(1 * SECONDS)
    upload(page, small_photo("cat.jpg", folder))
    for count, intensity in enumerate(intensities, 1):
        fill(page, "Intensity", intensity)
        page.click("#go")
        expect(strip(page)).to_have_count(count, timeout=60 * SECONDS)
        expect(page.locator("#go")).to_be_visible()


def strip(page: Page) -> Any:
    return page.locator("#strip button.thumbnail-item")


def layer(page: Page) -> Any:
    return page.get_by_label("Layer", exact=True).first


@in_a_browser
def test_a_reload_brings_back_photo_settings_dream_and_strip(
    page: Page, address: str, tmp_path: Path
) -> None:
    dream_small(page, tmp_path, 1, 2)
    made, first = sources(page), download(page, tmp_path)
    page.locator(".layers:visible button", has_text="Rings").click()
    expect(layer(page)).to_have_value("Rings, eyes · inception3b")
    fill(page, "Intensity", 4)
    page.wait_for_timeout(0.5 * SECONDS)
    page.reload()
    expect(status(page)).to_have_text("Your last visit is restored.")
    expect_photo(page, "cat.jpg")
    expect(number(page, "Intensity")).to_have_value("4")
    expect(layer(page)).to_have_value("Rings, eyes · inception3b")
    expect(strip(page)).to_have_count(2)
    assert sources(page) == made
    expect(page.locator("#made-of p").nth(1)).to_contain_text("Intensity 2:")
    assert download(page, tmp_path / "again").read_bytes() == first.read_bytes()
    strip(page).first.click()
    expect(status(page)).to_have_text("Dream 1 of this visit and its recipe are back.")
    # A link overrides the saved recipe once; the strip stays.
    page.goto(f'{address}/?recipe={{"intensity": 8}}')
    expect(status(page)).to_have_text(
        "The controls are set to the recipe of the link. Dream this photo to use it."
    )
    expect(number(page, "Intensity")).to_have_value("8")
    expect_photo(page, "coffee.jpg")
    assert all("coffee.jpg" in each for each in sources(page))
    expect(page.locator("#made-of p").nth(1)).to_contain_text("Intensity 8:")
    expect(page.locator("#download")).to_be_disabled()
    expect(strip(page)).to_have_count(2)
    upload(page, small_photo("cat.jpg", tmp_path))
    fill(page, "Intensity", 3)
    page.wait_for_timeout(0.5 * SECONDS)
    page.reload()
    expect(status(page)).to_have_text("Your last visit is restored.")
    expect_photo(page, "cat.jpg")
    expect(number(page, "Intensity")).to_have_value("3")
    # Malformed storage, written by others, opens a new page.
    page.evaluate("Object.keys(localStorage).forEach(key => localStorage[key] = 'x:y')")
    page.goto(address)
    expect(number(page, "Intensity")).to_have_value("5")
    expect(status(page)).to_have_text("Drag the divider to compare, or upload your own photo.")


# A server that keeps one session at a time.
FORGETFUL = "import app; app.MAX_SESSIONS = 1; app.main()"


@pytest.fixture
def phone_window(window: Page) -> Iterator[Page]:
    """Yield a phone-size window for a test's own server."""
    width, height = WINDOW_SIZES["phone"]
    window.set_viewport_size({"width": width, "height": height})
    yield window
    leave_page(window)


def open_app(page: Page, address: str) -> None:
    page.goto(address)
    expect(page.locator("#view img")).to_have_count(2, timeout=60 * SECONDS)


@in_a_browser
def test_a_session_that_was_let_go_and_a_restart_take_only_files(
    phone_window: Page, browser: Browser, tmp_path: Path
) -> None:
    page, log, port = phone_window, tmp_path / "log", {"GRADIO_SERVER_PORT": str(free_port())}
    with run_app(log, "-c", FORGETFUL, **port) as address:
        open_app(page, address)
        dream_small(page, tmp_path, 1, 2)
        other = browser.new_page()  # Its session evicts the page's.
        open_app(other, address)
        other.get_by_role("button", name="Creatures").click()
        expect(number(other, "Intensity")).to_have_value("7")
        other.close()
        first = sources(page)[0]
        page.click("#again")
        expect(strip(page)).to_have_count(3, timeout=60 * SECONDS)
        assert sources(page)[0] == first
        assert download(page, tmp_path).name == "dream-cat-inception4c-i2-seed0.png"
        page.click("#came-about")
        expect(status(page)).to_contain_text("The dream as it forms", timeout=60 * SECONDS)
        film = download(page, tmp_path, "#making-download")
        assert film.name == "making-of-dream-cat-inception4c-i2-seed0.mp4"
        strip(page).first.click()
        expect(status(page)).to_have_text("Dream 1 of this visit and its recipe are back.")
        page.locator("#photos .gallery-item img, #photos .gallery img").nth(2).click()
        expect_photo(page, "clouds.jpg")
        page.wait_for_timeout(0.5 * SECONDS)
    with run_app(log, **port):
        page.reload()
        expect(status(page)).to_have_text(
            "Your last visit is restored. No longer on the server: the last dream, "
            "dreams of this visit (3)."
        )
        expect(number(page, "Intensity")).to_have_value("1")
        expect_photo(page, "clouds.jpg")  # A shipped example.
        expect(strip(page)).to_have_count(0)
        page.click("#again")  # The opening image, which is shown.
        expect(status(page)).to_contain_text("Dreamed in", timeout=60 * SECONDS)
        assert download(page, tmp_path).name.startswith("dream-coffee-inception4c-i1-")
    assert "Traceback" not in log.read_text()


@in_a_browser
@pytest.mark.parametrize(
    ("page", "server_knows"), [("desk", True), ("phone", False)], indirect=["page"]
)
def test_a_line_that_was_cut_in_a_dream_brings_back_what_was_made(
    server_knows: bool, page: Page, address: str, tmp_path: Path
) -> None:
    with open_line(address) as line:
        open_app(page, f"http://127.0.0.1:{line.port}")
        page.wait_for_timeout(1 * SECONDS)
        upload(page, small_photo("rocket.jpg", tmp_path))
        fill(page, "Intensity", 10)
        page.click("#go")
        expect(status(page)).to_contain_text("Octave 2", timeout=60 * SECONDS)
        line.cut(server_knows)
        expect(page.locator(".toast-body")).to_contain_text("Connection to the server was lost")
        page.wait_for_timeout((3 if server_knows else 15) * SECONDS)
        line.listen()
        # The page recovers by itself.
        ended = "Its dream was stopped early. Dream deeper to continue from here."
        said = "Your last visit is restored." + (f" {ended}" if server_knows else "")
        expect(status(page)).to_have_text(said, timeout=60 * SECONDS)
        expect_photo(page, "rocket.jpg")
        expect(strip(page)).to_have_count(0 if server_knows else 1)
        path = download(page, tmp_path)
        made = "" if server_knows else ".png"
        assert re.match(rf"dream-rocket-inception4c-i10-seed0{made or '-[0-9]+.png'}$", path.name)
        assert sources(page)[-1].endswith(path.name)
        expect(page.locator("#made-of p").nth(1)).to_contain_text("Intensity 10:")
        page.evaluate("localStorage.clear()")
        page.goto("about:blank")
        open_app(page, address)
