"""A visit survives a reload, a dropped session, a restart and a cut connection."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from dream.page.widgets.visit import MAX_DREAMS, OPENING_ENTRY, Visit
from tests.support import browser as ui
from tests.support.browser import SECONDS
from tests.support.server import free_port, open_line, run_app

NAME = "0" * 32 + "/dream.png"


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
    assert Visit.read(Visit(shown=OPENING_ENTRY).to_browser()) == Visit()
    assert OPENING_ENTRY.resolve() == OPENING_ENTRY


def dream_small(page: Page, folder: Path, *intensities: int) -> None:
    """Dream a small photo of a cat at each intensity."""
    ui.upload(page, ui.small_photo("cat.jpg", folder))
    for count, intensity in enumerate(intensities, 1):
        ui.fill(page, "Intensity", intensity)
        ui.dream_and_wait(page)
        expect(ui.strip(page)).to_have_count(count)


@ui.on_phone
def test_a_reload_brings_back_photo_settings_dream_and_strip(
    page: Page, address: str, tmp_path: Path
) -> None:
    dream_small(page, tmp_path, 1, 2)
    made, first = ui.sources(page), ui.download(page, tmp_path)
    ui.choose_layer(page, "Rings")
    expect(ui.layer(page)).to_have_value("Rings, eyes · inception3b")
    ui.fill(page, "Intensity", 4)
    page.wait_for_timeout(0.5 * SECONDS)
    page.reload()
    expect(ui.status(page)).to_have_text("Your last visit is restored.")
    ui.expect_photo(page, "cat.jpg")
    expect(ui.number(page, "Intensity")).to_have_value("4")
    expect(ui.layer(page)).to_have_value("Rings, eyes · inception3b")
    expect(ui.strip(page)).to_have_count(2)
    assert ui.sources(page) == made
    expect(page.locator("#made-of p").nth(1)).to_contain_text("Intensity 2:")
    assert ui.download(page, tmp_path / "again").read_bytes() == first.read_bytes()
    ui.strip(page).first.click()
    expect(ui.status(page)).to_have_text("Dream 1 of this visit and its recipe are back.")
    # A link overrides the saved recipe once; the strip stays.
    page.goto(f'{address}/?recipe={{"intensity": 8}}')
    expect(ui.status(page)).to_have_text(
        "The controls are set to the recipe of the link. Dream this photo to use it."
    )
    expect(ui.number(page, "Intensity")).to_have_value("8")
    ui.expect_photo(page, "coffee.jpg")
    assert all("coffee.jpg" in each for each in ui.sources(page))
    expect(page.locator("#made-of p").nth(1)).to_contain_text("Intensity 8:")
    expect(page.locator("#download")).to_be_disabled()
    expect(ui.strip(page)).to_have_count(2)
    ui.upload(page, ui.small_photo("cat.jpg", tmp_path))
    ui.fill(page, "Intensity", 3)
    page.wait_for_timeout(0.5 * SECONDS)
    page.reload()
    expect(ui.status(page)).to_have_text("Your last visit is restored.")
    ui.expect_photo(page, "cat.jpg")
    expect(ui.number(page, "Intensity")).to_have_value("3")


# A server that keeps one session at a time.
FORGETFUL = "from dream.page import app; app.MAX_SESSIONS = 1; app.main()"


@pytest.fixture
def phone_window(window: Page) -> Iterator[Page]:
    """Yield a phone-size window for a test's own server."""
    width, height = ui.WINDOW_SIZES["phone"]
    window.set_viewport_size({"width": width, "height": height})
    yield window
    ui.leave_page(window)


@pytest.mark.at_scale
def test_a_session_that_was_let_go_and_a_restart_take_only_files(
    phone_window: Page, browser: Browser, tmp_path: Path
) -> None:
    page, log, port = phone_window, tmp_path / "log", {"GRADIO_SERVER_PORT": str(free_port())}
    with run_app(log, "-c", FORGETFUL, **port) as address:
        ui.go_to(page, address)
        dream_small(page, tmp_path, 1, 2)
        other = browser.new_page()  # Its session evicts the page's.
        ui.go_to(other, address)
        ui.choose_layer(other, "Rings")
        expect(ui.layer(other)).to_have_value("Rings, eyes · inception3b")
        other.close()
        first = ui.sources(page)[0]
        page.click("#again")
        expect(ui.strip(page)).to_have_count(3, timeout=60 * SECONDS)
        assert ui.sources(page)[0] == first
        assert ui.download(page, tmp_path).name == "dream-cat-inception4c-i2-seed0.png"
        page.click("#came-about")
        ui.expect_status(page, "The dream as it forms")
        film = ui.download(page, tmp_path, "#making-download")
        assert film.name == "making-of-dream-cat-inception4c-i2-seed0.mp4"
        ui.strip(page).first.click()
        expect(ui.status(page)).to_have_text("Dream 1 of this visit and its recipe are back.")
        page.locator("#photos .gallery-item img, #photos .gallery img").nth(2).click()
        ui.expect_photo(page, "clouds.jpg")
        page.wait_for_timeout(0.5 * SECONDS)
    with run_app(log, **port):
        page.reload()
        expect(ui.status(page)).to_have_text(
            "Your last visit is restored. No longer on the server: the last dream, "
            "dreams of this visit (3)."
        )
        expect(ui.number(page, "Intensity")).to_have_value("1")
        ui.expect_photo(page, "clouds.jpg")  # A shipped example.
        expect(ui.strip(page)).to_have_count(0)
        page.click("#again")  # The opening image, which is shown.
        ui.expect_status(page, "Dreamed in")
        assert ui.download(page, tmp_path).name.startswith("dream-coffee-inception4c-i1-")
    assert "Traceback" not in log.read_text()


@pytest.mark.parametrize(
    ("page", "server_knows"),
    [("desk", True), pytest.param("phone", False, marks=pytest.mark.at_scale)],
    indirect=["page"],
)
def test_a_line_that_was_cut_in_a_dream_brings_back_what_was_made(
    server_knows: bool, page: Page, address: str, tmp_path: Path
) -> None:
    with open_line(address) as line:
        ui.go_to(page, f"http://127.0.0.1:{line.port}")
        ui.upload(page, ui.small_photo("rocket.jpg", tmp_path))
        ui.fill(page, "Intensity", 10)
        page.click("#go")
        ui.see_status(page, "Octave [2-5]")
        line.cut(server_knows)
        expect(page.locator(".toast-body")).to_contain_text("Connection to the server was lost")
        page.wait_for_timeout((3 if server_knows else 15) * SECONDS)
        line.listen()
        # The page recovers by itself.
        ended = "Its dream was stopped early. Dream deeper to continue from here."
        said = "Your last visit is restored." + (f" {ended}" if server_knows else "")
        expect(ui.status(page)).to_have_text(said, timeout=60 * SECONDS)
        ui.expect_photo(page, "rocket.jpg")
        expect(ui.strip(page)).to_have_count(0 if server_knows else 1)
        path = ui.download(page, tmp_path)
        made = "" if server_knows else ".png"
        assert re.match(rf"dream-rocket-inception4c-i10-seed0{made or '-[0-9]+.png'}$", path.name)
        assert ui.sources(page)[-1].endswith(path.name)
        expect(page.locator("#made-of p").nth(1)).to_contain_text("Intensity 10:")
        page.evaluate("localStorage.clear()")
        page.goto("about:blank")
        ui.go_to(page, address)
