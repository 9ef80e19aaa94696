"""The tab "Live" in a real Chromium, whose camera plays a test video."""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, Playwright, expect, sync_playwright

from dream import DreamError, PictureError
from dream.files.video_reader import read_video_info
from dream.page.tabs import live
from dream.page.tabs.live import MAX_FRAME_SIDE
from tests.support.api import data_uri, open_stream, read_data_uri
from tests.support.browser import CHROMIUM, FLAGS, SECONDS, expect_photo, open_page
from tests.support.corpus import encode
from tests.support.videos import pan, write_camera_file

pytestmark = [
    pytest.mark.skipif(not CHROMIUM, reason="no Chromium on this machine"),
    pytest.mark.filterwarnings("default"),
]

FLIPPED = "matrix(-1, 0, 0, 1, 0, 0)"
CAMERA = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]


def black_uri(size: tuple[int, int], kind: str = "JPEG") -> str:
    return data_uri(encode(Image.new("RGB", size), kind))


def test_frames_are_small_jpegs() -> None:
    assert live._decode_frame(black_uri((MAX_FRAME_SIDE, 1))).size == (MAX_FRAME_SIDE, 1)
    for sent in (
        black_uri((MAX_FRAME_SIDE + 1, 1)),
        black_uri((4, 4), "PNG"),
        black_uri((999, 999))[:400],
        "",
        "x" * 999,
    ):
        with pytest.raises(PictureError, match="this is not a camera frame: "):
            live._decode_frame(sent)


@contextmanager
def open_camera_page(playwright: Playwright, address: str, seen: Path) -> Iterator[Page]:
    """Open the tab in a new browser whose camera plays a file, and start recording."""
    flags = [*FLAGS, *CAMERA, f"--use-file-for-fake-video-capture={seen}"]
    browser = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
    window = browser.new_page()
    window.set_default_timeout(30 * SECONDS)
    with open_page(window, address, "desk") as page:
        page.get_by_role("tab", name="Live").click()
        expect(page.locator("#mirror img")).to_be_visible()  # It opens with a dream.
        page.locator("#camera [title='grant webcam access'] button").click()
        page.locator("#camera [title='start recording']").click()
        yield page
    browser.close()


def said(page: Page) -> str:
    return page.locator("#live-status .html-container").inner_text()


def next_dream(page: Page, before: str = "") -> tuple[str, np.ndarray]:
    """Wait for the next dream; return its source and mean colour."""
    page.wait_for_function(
        """before => {
          const now = document.querySelector("#mirror img")?.src;
          window.first ??= now;
          return now && now !== before && now !== window.first;
        }""",
        arg=before,
    )
    source = page.locator("#mirror img").get_attribute("src") or ""
    assert source.startswith("data:image/jpeg;base64,")
    return source, np.asarray(read_data_uri(source)).mean((0, 1))


def tinted_pan(colour: tuple[int, int, int]) -> list[Image.Image]:
    """Return a pan over smooth noise tinted with that colour."""
    tint = Image.new("RGB", (160, 120), colour)
    return [Image.blend(image, tint, 0.7) for image in pan(20, (120, 160))]


def test_the_camera_dreams_one_visitor_comes_after_the_other_and_a_wall_by_itself(
    address: str, tmp_path: Path
) -> None:
    red = write_camera_file(tmp_path / "red.mjpeg", tinted_pan((220, 40, 40)))
    blue = write_camera_file(tmp_path / "blue.mjpeg", tinted_pan((40, 40, 220)))
    with sync_playwright() as playwright:
        with open_camera_page(playwright, address, red) as one:
            source = ""
            for _ in range(3):
                source, colour = next_dream(one, source)
                assert colour[0] > colour[2] + 40
            assert re.search(r"[\d.]+ frames? per second", said(one))
            one.click("#keep")
            expect(one.locator("#live-film video")).to_be_visible()
            film = one.locator("#live-film video").get_attribute("src") or ""
            (tmp_path / "film.mp4").write_bytes(one.request.get(film).body())
            kept = read_video_info(tmp_path / "film.mp4")
            assert kept.frame_count >= 3 and 0 < float(kept.times[-1]) < 11
            stack = open_camera_page(playwright, address, blue)
            other = stack.__enter__()
            expect(other.locator("#live-status")).to_contain_text("1 dream before yours")
            next_dream(one, source)  # It continues.
        # The first is closed, so the second gets its turn.
        _, colour = next_dream(other)
        assert colour[2] > colour[0] + 40
        other.click("#freeze")
        expect_photo(other, "mirror.png")
        expect(other.locator("#stop")).to_be_visible()
        expect(other.locator("#status")).to_contain_text(re.compile(r"step \d+ of|Dreamed in"))
        other.keyboard.press("Escape")
        other.get_by_role("tab", name="Live").click()
        expect(other.locator("#camera [title='start recording']")).to_be_visible()
        expect(other.locator("#live-status")).to_contain_text("Press Record to start it")
        check_wall_view(other, address)
        stack.__exit__(None, None, None)


def check_wall_view(page: Page, address: str) -> None:
    """Nothing has to be pressed, and nothing else is visible."""
    page.set_viewport_size({"width": 640, "height": 400})
    page.goto(f"{address}/?wall")
    _, colour = next_dream(page)
    assert colour[2] > colour[0] + 40
    box = page.locator("#mirror img").bounding_box()
    assert box == {"x": 0, "y": 0, "width": 640, "height": 400}
    expect(page.locator("#camera")).to_be_hidden()
    expect(page.locator("#leave-screen")).to_be_hidden()
    expect(page.locator("#camera video")).to_be_visible()  # Else Safari would get no frames of it.


def test_a_camera_is_a_mirror_unless_it_looks_away_and_what_it_takes_is_none(
    address: str, tmp_path: Path
) -> None:
    halves = Image.new("RGB", (160, 120), "blue")
    halves.paste("red", (0, 0, 80, 120))
    with (
        sync_playwright() as playwright,
        open_camera_page(
            playwright, address, write_camera_file(tmp_path / "halves.mjpeg", [halves] * 10)
        ) as page,
    ):
        source, _ = next_dream(page)
        assert np.asarray(read_data_uri(source))[60, 20].argmax() == 0
        for seen in ("#camera video", "#mirror img"):
            expect(page.locator(seen)).to_have_css("transform", FLIPPED)
        check_filled_window(page)
        page.add_init_script(
            "MediaStreamTrack.prototype.getSettings = () => ({ facingMode: 'environment' })"
        )
        page.goto(address)
        page.get_by_role("tab", name="Class image").click()
        page.get_by_role("button", name="Push my photo towards this class").click()
        page.locator("#class-photo").get_by_label("Capture from camera").click()
        page.locator("#class-photo [title='grant webcam access'] button").click()
        expect(page.locator("#class-photo video")).to_have_css("transform", "none")
        page.locator("#class-photo [title='capture photo']").click()
        # The image is shown before it is uploaded, when it has no address yet.
        expect(page.locator("#class-photo img")).to_have_attribute("src", re.compile("^http"))
        photo = page.locator("#class-photo img").get_attribute("src") or ""
        taken = Image.open(io.BytesIO(page.request.get(photo).body())).convert("RGB")
        assert np.asarray(taken)[60, 20].argmax() == 0


def check_filled_window(page: Page) -> None:
    """As on an iPhone, which has no full screen for elements; a button and Escape lead back."""
    page.evaluate("delete Element.prototype.requestFullscreen")
    for leave in (lambda: page.click("#leave-screen"), lambda: page.keyboard.press("Escape")):
        page.click("#fill-screen")
        box = page.locator("#mirror img").bounding_box()
        assert box == {"x": 0, "y": 0, "width": 1280, "height": 800}
        expect(page.locator("#camera video")).to_be_visible()
        leave()
        expect(page.locator("#freeze")).to_be_visible()
        expect(page.locator("#leave-screen")).to_be_hidden()
    expect(page.locator("#camera [title='stop recording']")).to_be_visible()  # It continues.


def test_who_goes_leaves_no_stream_behind(address: str) -> None:
    """Also when the browser just vanishes; Gradio would keep the turn for five minutes."""
    frame = Image.new("RGB", (64, 48), "red")
    for _ in range(3):  # Two streams may run.
        with open_stream(address) as send:
            while not send(frame):
                pass  # The previous one has only just left.


@pytest.mark.parametrize("sent", ["garbage", "http://127.0.0.1/x"])
def test_what_is_no_frame_ends_the_stream_in_one_line(address: str, sent: str) -> None:
    with open_stream(address) as send:
        while not send(Image.new("RGB", (64, 48), "red")):
            pass  # The previous one has only just left.
        with pytest.raises(DreamError, match=r"this is not a camera frame: .*$"):
            send(sent)
