"""Zooms and videos in a real Chromium: watched, stopped, played and downloaded."""

import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from dream import DreamRecipe, VideoRecipe, ZoomRecipe, read_recipe
from dream.files.video_reader import read_video_info
from tests.support import browser as ui
from tests.support.browser import SECONDS
from tests.support.videos import add_beeps, pan, write_video


def said(page: Page) -> Any:
    return ui.status(page, "film-status")


def wait_for_playback(page: Page, player: str, width: int) -> float:
    """Wait until a player plays a video of that width; return its seconds."""
    page.wait_for_function(
        f"(() => {{ const film = document.querySelector('{player} video');"
        f" return film && film.videoWidth == {width} && film.readyState >= 3"
        " && film.played.length && film.played.end(0) > 0 && !film.error; })()",
        timeout=60 * SECONDS,
    )
    length: float = page.locator(f"{player} video").evaluate("film => film.duration")
    return length


def test_a_zoom_is_watched_stopped_played_and_downloaded(page: Page, tmp_path: Path) -> None:
    ui.open_tab(page, "Zoom and video")
    wait_for_playback(page, "#player", 320)  # It opens with a finished one.
    page.get_by_role("button", name="Dreamed video").click()
    expect(said(page)).to_contain_text("Dreamed video")
    ui.open_advanced(page, max_side=96, iterations=1, seconds=1)
    page.click("#film")
    expect(page.locator("#stop-film")).to_be_visible()
    expect(said(page)).to_have_text(re.compile(r"24 frames, 1 seconds\. Made in [\d.]+ s\."))
    assert wait_for_playback(page, "#player", 96) == pytest.approx(1)
    path = ui.download(page, tmp_path, "#film-download")
    assert path.name == "zoom-coffee-inception4c+inception5a+inception4e-seed0.mp4"
    assert read_recipe(path) == ZoomRecipe(max_side=96, iterations=1, seconds=1)
    # A video stopped before its start leaves nothing, takes over nothing, and does not stop
    # a later one.
    held: list[Route] = []
    page.route("**/queue/join*", lambda route: held.append(route))
    page.click("#film")
    page.click("#stop-film")
    page.wait_for_timeout(1 * SECONDS)
    expect(said(page)).to_have_text("Stopped.")
    expect(page.locator("#film")).to_be_visible()
    ui.fill(page, "Seconds", 30)
    page.click("#film")
    page.wait_for_timeout(1 * SECONDS)
    with page.expect_response("**/queue/join*"):
        held[0].continue_()
    page.wait_for_timeout(2 * SECONDS)
    expect(page.locator("#stop-film")).to_be_visible()
    held[1].continue_()
    page.unroute("**/queue/join*")
    expect(page.locator("#frame img")).to_be_visible()
    ui.see_status(page, r"Frame [1-9]\d* of 720, .* left\.", "film-status")
    page.keyboard.press("Escape")
    stopped = re.compile(r"Stopped\. The video has \d+ frames, [\d.]+ seconds\.")
    expect(said(page)).to_have_text(stopped)
    assert 0 < wait_for_playback(page, "#player", 96) < 30
    expect(page.locator("#film")).to_be_visible()


def test_a_video_that_is_dropped_is_dreamed_and_plays_with_its_sound(
    page: Page, tmp_path: Path
) -> None:
    silent = write_video(tmp_path / "silent.mp4", pan(12, (64, 96)))
    clip = add_beeps(tmp_path / "clip.mp4", silent, [0.2])
    ui.open_tab(page, "Zoom and video")
    ui.open_section(page, "Dream a video")
    one = write_video(tmp_path / "one.mp4", pan(1))
    page.set_input_files("#video input[type=file]", one)
    expect(page.locator(".expected:visible").last).to_contain_text("one.mp4 has one frame")
    page.locator("#video").get_by_label(re.compile("clear|remove", re.I)).first.click()
    page.set_input_files("#video input[type=file]", clip)
    expect(page.locator(".expected:visible").last).to_contain_text("Dreamlet on a CPU, about")
    ui.open_section(page, "Advanced")
    page.get_by_label("WebM").check()
    page.click("#dream-video")
    expect(said(page)).to_contain_text("12 frames, 0.5 seconds. Made in", timeout=60 * SECONDS)
    assert wait_for_playback(page, "#player", 96) == pytest.approx(0.5, abs=0.1)
    path = ui.download(page, tmp_path, "#film-download")
    assert read_video_info(path).has_audio and read_recipe(path, VideoRecipe).first_octaves == 5
    # A zoom stays at a layer that is named.
    page.get_by_label("Layer, or layers by keyframe").fill("conv3")
    for label, value in {"Seconds": 0.5, "Max side": 96, "Iterations": 1}.items():
        ui.fill(page, label, value)
    page.click("#film")
    expect(said(page)).to_contain_text("12 frames, 0.5 seconds. Made in", timeout=60 * SECONDS)
    path = ui.download(page, tmp_path, "#film-download")
    assert [key.dream.layer for key in read_recipe(path, ZoomRecipe).keyframes] == ["conv3"]


def test_how_a_dream_came_about_is_a_click_away(page: Page, tmp_path: Path) -> None:
    ui.open_advanced(page, max_side=96)
    ui.dream_and_wait(page)
    page.click("#came-about")
    expect(ui.status(page)).to_contain_text("The dream as it forms: 95 frames")
    wait_for_playback(page, "#making-film", 96)
    page.get_by_label("As a looping GIF").check()
    expect(page.locator("#making-picture img")).to_have_attribute(
        "src", re.compile(r"\.gif$"), timeout=60 * SECONDS
    )
    page.get_by_label("Once").check()
    expect(page.locator("#making-picture img")).to_be_hidden()
    path = ui.download(page, tmp_path, "#making-download")
    assert read_recipe(path, DreamRecipe).max_side == 96
    page.click("#go")  # Another dream formed differently.
    expect(page.locator("#making-film")).to_be_hidden()
