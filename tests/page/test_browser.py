"""The page in a real Chromium, at desktop and phone size: upload, dream, watch, stop, download."""

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote
from zipfile import ZipFile

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, expect

from dream import ClassRecipe, DreamRecipe, load_image, read_recipe
from dream.recipe.presets import presets
from tests.conftest import EXAMPLES
from tests.support.browser import (
    CHROMIUM,
    SECONDS,
    WINDOW_SIZES,
    download,
    download_after_a_stop,
    expect_photo,
    fill,
    number,
    open_advanced,
    open_page,
    slow_cpu,
    small_photo,
    sources,
    status,
    upload,
)

expect.set_options(timeout=15 * SECONDS)  # Allow for a busy machine.

# Tests that do the same at both sizes run at one of them.
on_desktop = pytest.mark.parametrize("page", ["desk"], indirect=True)
on_phone = pytest.mark.parametrize("page", ["phone"], indirect=True)

pytestmark = [
    pytest.mark.skipif(not CHROMIUM, reason="no Chromium on this machine"),
    pytest.mark.filterwarnings("default"),
    pytest.mark.slow,
]


@pytest.fixture(params=WINDOW_SIZES)
def page(request: Any, window: Page, address: str) -> Iterator[Page]:
    with open_page(window, address, request.param) as page:
        yield page


def test_the_page_opens_on_a_finished_dream(page: Page, tmp_path: Path) -> None:
    assert len(set(sources(page))) == 2
    path = download(page, tmp_path)
    assert read_recipe(path, DreamRecipe).layer == "inception4c"
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= page.viewport_size["width"]  # type: ignore[index]


@on_phone
def test_what_a_dream_will_take_is_said_before_and_follows_the_controls(page: Page) -> None:
    line = page.locator("#expected span")
    expect(line).to_have_text(re.compile(r"^Dreamlet on a CPU, about \d+ seconds?$"))

    def seconds() -> int:
        return int(re.sub(r"\D", "", line.inner_text()))

    before = seconds()
    fill(page, "Intensity", 10)
    expect(line).not_to_have_text(re.compile(rf"about {before} "))
    assert (most := seconds()) > before
    upload(page, EXAMPLES / "galaxies.jpg")
    open_advanced(page)
    fill(page, "Iterations", 1)
    # The exact time depends on what the busy machine measured.
    expect(line).to_have_text(re.compile(r"about [1-9] seconds?$"))
    assert seconds() < most


def test_the_page_asks_no_other_host_for_anything(browser: Browser, address: str) -> None:
    page = browser.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    ended: list[str] = []
    for end in ("requestfinished", "requestfailed"):
        page.on(end, lambda request: ended.append(request.url))
    page.goto(address)
    expect(page.locator("#view img")).to_have_count(2)
    page.wait_for_timeout(2 * SECONDS)
    assert asked
    assert not [url for url in asked if not url.startswith((address, "data:", "blob:"))]
    # It holds no connection either: a browser has six, and a seventh page would stay blank.
    for _ in range(60):
        if not (open_still := set(asked) - set(ended)):
            break
        page.wait_for_timeout(0.25 * SECONDS)
    assert not open_still
    page.close()


@on_phone
def test_a_photo_dropped_is_dreamed_shown_and_downloaded(page: Page, tmp_path: Path) -> None:
    upload(page, EXAMPLES / "cat.jpg")
    fill(page, "Intensity", 7)
    page.click("#go")
    expect(page.locator("#stop")).to_be_visible()
    seen = set()
    while "Dreamed" not in (text := status(page).inner_text()):
        if match := re.match(r"Octave (\d) of (\d), step (\d+) of (\d+), ([\d.]+) s left", text):
            seen.add((match[1], sources(page)[-1]))
        page.wait_for_timeout(50)
    # The preview changed in more than one octave.
    assert len({picture for _, picture in seen}) >= 3 and len({octave for octave, _ in seen}) >= 2
    expect(page.locator("#go")).to_be_visible()
    expect(page.locator("#stop")).to_be_hidden()
    path = download(page, tmp_path)
    assert path.name == "dream-cat-inception4c-i7-seed0.png"
    recipe = read_recipe(path, DreamRecipe)
    assert (recipe.intensity, recipe.iterations, recipe.step) == (7, 17, 2.4)
    change = (load_image(path) - load_image(EXAMPLES / "cat.jpg")).abs().mean().item() * 255
    assert 15 < change < 45
    # The second dream starts from the first, not from the photo.
    fill(page, "Intensity", 1)
    with page.expect_response(re.compile("/queue/data|/call/")):
        page.click("#again")
    expect(status(page)).to_contain_text("Octave")
    expect(status(page)).to_contain_text("Dreamed in", timeout=60 * SECONDS)
    again = download(page, tmp_path / "again")
    assert again.name == "dream-cat-inception4c-i1-seed0.png"
    further = (load_image(again) - load_image(path)).abs().mean().item() * 255
    assert 0 < further < change / 2


@on_phone
def test_stop_works_within_a_second_and_keeps_what_there_is(page: Page, tmp_path: Path) -> None:
    upload(page, EXAMPLES / "rocket.jpg")
    fill(page, "Intensity", 10)
    page.click("#go")
    expect(status(page)).to_contain_text("Octave")
    expect(page.locator("#stop")).to_be_visible()
    page.keyboard.press("Escape")
    page.wait_for_timeout(1 * SECONDS)
    after_a_second = sources(page)
    # On a busy machine the status may follow the stop a little later.
    expect(status(page)).to_contain_text("Stopped", timeout=3 * SECONDS)
    expect(page.locator("#go")).to_be_visible()
    page.wait_for_timeout(1.5 * SECONDS)
    assert sources(page) == after_a_second  # Nothing continues after it.
    upload(page, small_photo("cat.jpg", tmp_path))
    fill(page, "Intensity", 1)
    page.click("#go")
    expect(status(page)).to_contain_text("Dreamed in")


@on_phone
def test_an_example_and_a_layer_are_one_click_each(page: Page, tmp_path: Path) -> None:
    page.wait_for_timeout(1 * SECONDS)  # A click before the scripts run is lost.
    page.locator(".gallery-item img, .gallery img").nth(2).click()
    expect_photo(page, "clouds.jpg")
    page.locator(".layers:visible button", has_text="Rings").click()
    expect(page.get_by_label("Layer", exact=True)).to_have_value("Rings, eyes · inception3b")
    open_advanced(page)
    fill(page, "Intensity", 1)
    expect(number(page, "Iterations")).to_have_value("6")
    fill(page, "Max side", 200)
    page.click("#go")
    expect(status(page)).to_contain_text("Dreamed in")
    path = download(page, tmp_path)
    assert path.name == "dream-clouds-inception3b-i1-seed0.png"


@on_desktop
def test_the_advanced_controls_are_obeyed_and_reset(page: Page, tmp_path: Path) -> None:
    open_advanced(page)
    for label, value in (("Octaves", 2), ("Iterations", 3), ("Max side", 200)):
        fill(page, label, value)
    page.get_by_label("Random seed").check()
    page.click("#go")
    expect(status(page)).to_contain_text("Dreamed in")
    recipe = read_recipe(download(page, tmp_path), DreamRecipe)
    assert (recipe.octaves, recipe.iterations, recipe.max_side) == (2, 3, 200)
    assert recipe.seed > 0
    expect(number(page, "Seed")).to_have_value(str(recipe.seed))
    page.get_by_role("button", name="Reset all").click()
    expect(number(page, "Seed")).to_have_value("0")
    expect(number(page, "Iterations")).to_have_value("10")
    expect(page.get_by_label("Random seed")).not_to_be_checked()


@on_phone
def test_intensity_moves_the_iterations_and_the_step(page: Page) -> None:
    open_advanced(page)
    fill(page, "Intensity", 8)
    expect(number(page, "Iterations")).to_have_value("22")
    expect(number(page, "Step")).to_have_value("2.9")
    page.locator('input[type=range][aria-label*="Intensity"]').press("ArrowLeft")
    expect(number(page, "Intensity")).to_have_value("7")
    expect(number(page, "Iterations")).to_have_value("17")
    page.get_by_role("button", name="Reset all").click()
    expect(number(page, "Iterations")).to_have_value("10")


@on_desktop
def test_another_network_is_one_choice_away_and_says_what_it_needs(page: Page) -> None:
    before = sources(page)
    page.get_by_label("Network", exact=True).click()
    page.get_by_role("option", name="vgg16 · 553 MB").click()
    expect(page.get_by_label("Layer", exact=True)).to_have_value("Eyes, arches · relu4_3")
    page.click("#go")
    said = "vgg16 cannot be downloaded right now. Choose another network."
    expect(status(page)).to_have_text(said)
    assert sources(page) == before
    # An image that Dreamlet made selects Dreamlet again.
    page.locator(".layers:visible button", has_text="Rings").click()
    expect(page.get_by_label("Network", exact=True)).to_have_value("dreamlet")
    expect(page.get_by_label("Layer", exact=True)).to_have_value("Rings, eyes · inception3b")


@on_desktop
def test_enter_dreams(page: Page, tmp_path: Path) -> None:
    upload(page, small_photo("cat.jpg", tmp_path))
    fill(page, "Intensity", 1)
    page.locator("#title").click()
    page.keyboard.press("Enter")
    expect(status(page)).to_contain_text("Dreamed in")


@on_desktop
@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("bad.jpg", b"hello", "bad.jpg is not an image this program reads"),
        ("bomb.png", None, "bomb.png has 81.0 megapixels; the limit is 64"),
    ],
)
def test_a_bad_file_is_answered_in_one_sentence(
    name: str, content: bytes | None, message: str, page: Page, tmp_path: Path
) -> None:
    before = sources(page)
    if content is None:
        Image.new("1", (9000, 9000)).save(tmp_path / name)
    else:
        (tmp_path / name).write_bytes(content)
    upload(page, tmp_path / name)
    page.click("#go")
    expect(status(page)).to_contain_text(message)
    expect(page.locator("#go")).to_be_visible()
    assert sources(page) == before
    assert "Traceback" not in page.content()


@on_phone
def test_without_a_photo_it_asks_for_one(page: Page) -> None:
    page.get_by_label("Remove Image").or_(page.get_by_label("Clear")).first.click()
    page.click("#go")
    expect(status(page)).to_contain_text("Upload a photo first")


def open_channels(page: Page) -> None:
    page.get_by_role("tab", name="Channel visualization").click()
    expect(page.locator("#show")).to_be_visible()


def said(page: Page) -> Any:
    return page.locator("#show-status [role=status]")


def thumbnails(page: Page) -> Locator:
    return page.locator("#channels .thumbnail-lg")


def test_the_second_tab_opens_on_a_full_grid(page: Page) -> None:
    open_channels(page)
    expect(thumbnails(page)).to_have_count(16)
    expect(said(page)).to_contain_text("Faces, fur (inception4c): 16 channels. Click one")
    page.locator(".layers:visible button", has_text="Scales").click()
    expect(said(page)).to_contain_text("Scales (inception5a): 16 channels.")
    expect(thumbnails(page)).to_have_count(16)
    page.locator(".layers:visible button", has_text="Eye fields").click()
    expect(said(page)).to_contain_text('Eye fields (inception4a): press "Show channels" to')
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= page.viewport_size["width"]  # type: ignore[index]


@on_desktop
def test_channels_form_enlarge_and_carry_over_into_a_dream(page: Page, tmp_path: Path) -> None:
    upload(page, small_photo("coffee.jpg", tmp_path))
    open_channels(page)
    page.locator(".layers:visible button", has_text="Rings").click()
    expect(said(page)).to_contain_text("Rings, eyes (inception3b): 16 channels.")
    # Other channels on the phone than on the desktop, since cached ones appear at once.
    channel = page.viewport_size["width"] % 300  # type: ignore[index]
    page.locator("#numbers textarea, #numbers input").fill(f"5,{channel}")
    open_advanced(page)
    fill(page, "Steps", 48)
    page.click("#show")
    expect(said(page)).to_contain_text("s left.")
    expect(page.locator("#stop-show")).to_be_visible()
    expect(said(page)).to_have_text(
        "Rings, eyes (inception3b): 2 channels. Click one to enlarge it.", timeout=60 * SECONDS
    )
    expect(page.locator("#show")).to_be_visible()
    expect(thumbnails(page)).to_have_count(2)
    thumbnails(page).nth(1).click()
    expect(page.locator("#channels .preview img").first).to_be_visible()
    expect(page.locator("#carry")).to_have_text(f"Dream my photo with channel {channel}")
    page.click("#carry")
    expect(page.locator("#go")).to_be_visible()
    done = f"(inception3b), channel {channel}, seed 0"
    expect(status(page)).to_contain_text(done, timeout=60 * SECONDS)
    expect(page.get_by_label("Layer", exact=True).first).to_have_value("Rings, eyes · inception3b")
    path = download(page, tmp_path)
    assert path.name == f"dream-coffee-inception3b+{channel}-i5-seed0.png"
    assert read_recipe(path, DreamRecipe).channels == str(channel)
    # Another layer has other channels.
    open_section(page, "Mix layers and channels")
    expect(page.locator("#only textarea, #only input")).to_have_value(str(channel))
    page.locator(".layers:visible button", has_text="Faces").click()
    expect(page.locator("#only textarea, #only input")).to_have_value("")


@on_phone
def test_a_click_on_a_photo_shows_what_sees_something_there(page: Page, tmp_path: Path) -> None:
    fill(page, "Intensity", 1)
    open_channels(page)
    open_advanced(page)
    fill(page, "Size", 112)
    fill(page, "Steps", 32)
    page.set_input_files("#seen input[type=file]", small_photo("coffee.jpg", tmp_path))
    photo = page.locator("#seen img")
    expect(photo).to_have_attribute("src", re.compile("coffee"))
    box = photo.bounding_box()
    assert box
    photo.click(position={"x": 0.5 * box["width"], "y": 0.3 * box["height"]})
    expect(page.locator("#where img")).to_be_visible()
    expect(said(page)).to_have_text(
        "Faces, fur (inception4c): most active channels at this spot, strongest first.",
        timeout=60 * SECONDS,
    )
    captions = page.locator("#channels .caption-label").all_inner_texts()
    strengths = [float(caption.split(" · ")[1]) for caption in captions]
    assert len(strengths) == 8 and strengths == sorted(strengths, reverse=True)
    first = page.locator("#where img").get_attribute("src")
    thumbnails(page).nth(3).click()
    expect(page.locator("#where img")).not_to_have_attribute("src", str(first))
    channel = captions[3].split(" · ")[0]
    expect(page.locator("#carry")).to_have_text(f"Dream my photo with channel {channel}")
    page.click("#carry")
    expect(status(page)).to_contain_text(f"(inception4c), channel {channel}", timeout=60 * SECONDS)
    expect_photo(page, "coffee.jpg")


def show_channels(page: Page, numbers: str) -> None:
    page.locator("#numbers textarea, #numbers input").fill(numbers)
    page.click("#show")


@on_desktop
def test_channels_stop_and_bad_ones_are_told(page: Page) -> None:
    open_channels(page)
    show_channels(page, "7,320")
    expect(said(page)).to_have_text("inception4c has channels 0 to 319, not '320'.")
    expect(thumbnails(page)).to_have_count(16)
    show_channels(page, "0-15")
    expect(page.locator("#stop-show")).to_be_visible()
    expect(said(page)).to_contain_text("s left.")
    page.keyboard.press("Escape")
    expect(said(page)).to_have_text("Stopped.")
    expect(page.locator("#show")).to_be_visible()


@on_desktop
def test_channels_that_form_give_way_to_those_of_another_layer(page: Page) -> None:
    open_channels(page)
    show_channels(page, "1-16")
    expect(said(page)).to_contain_text("s left.")
    page.locator(".layers:visible button", has_text="Rings").click()
    kept = "Rings, eyes (inception3b): 16 channels. Click one to enlarge it."
    expect(said(page)).to_have_text(kept)
    expect(page.locator("#show")).to_be_visible()
    page.wait_for_timeout(2 * SECONDS)
    expect(said(page)).to_have_text(kept)
    thumbnails(page).nth(1).click()
    caption = page.locator("#channels .caption-label").nth(1).inner_text()
    expect(page.locator("#carry")).to_have_text(f"Dream my photo with channel {caption}")


def verdict(page: Page) -> Any:
    return page.locator("#make-status [role=status]")


@on_phone
def test_a_class_is_typed_made_and_dreamed_on(page: Page, tmp_path: Path) -> None:
    page.get_by_role("tab", name="Class image").click()
    expect(verdict(page)).to_contain_text("goldfish: probability")
    expect(page.locator("#class-image img")).to_be_visible()
    expect(page.locator("#bars")).to_contain_text("goldfish")
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= page.viewport_size["width"]  # type: ignore[index]
    open_advanced(page)
    page.get_by_label("Steps").fill("64")
    box = page.get_by_label("Class", exact=True)
    box.fill("")
    box.press_sequentially("flamin")
    page.get_by_role("option", name="flamingo").click()
    page.click("#make")
    expect(page.locator("#stop-make")).to_be_visible()
    expect(verdict(page)).to_contain_text("s left.")
    expect(verdict(page)).to_contain_text("flamingo: probability", timeout=60 * SECONDS)
    expect(verdict(page)).to_contain_text("→ 1 of 1000.")
    expect(page.locator("#bars")).to_contain_text("flamingo")
    path = download(page, tmp_path, "#class-download")
    assert path.name == "class-flamingo-seed0.png"
    assert read_recipe(path) == ClassRecipe(target="flamingo", size=224, steps=64)
    page.click("#dream-on")
    expect(page.locator("#go")).to_be_visible()
    expect(status(page)).to_contain_text("Dreamed in", timeout=60 * SECONDS)


@on_desktop
def test_an_unclear_class_is_answered_with_what_is_near_and_stop_works(
    page: Page, tmp_path: Path
) -> None:
    page.get_by_role("tab", name="Class image").click()
    page.get_by_label("Class", exact=True).fill("unicorn")
    page.keyboard.press("Tab")
    page.click("#make")
    expect(verdict(page)).to_contain_text("There is no class 'unicorn'; try")
    page.get_by_label("Class", exact=True).fill("pizza")
    page.keyboard.press("Tab")
    # A browser as slow as a phone's still has frames to show when the stop comes.
    with slow_cpu(page):
        page.click("#make")
        expect(page.locator("#stop-make")).to_be_visible()
        expect(verdict(page)).to_contain_text("s left.")
        page.keyboard.press("Escape")
        expect(page.locator("#make")).to_be_visible()
        expect(verdict(page)).to_have_text("Stopped.")
        page.wait_for_timeout(2 * SECONDS)
        expect(verdict(page)).to_have_text("Stopped.")
    download_after_a_stop(page, tmp_path, r"class-pizza-seed0-\d+\.png", "#class-download")


def open_section(page: Page, name: str) -> None:
    page.get_by_role("button", name=name).click()
    page.wait_for_timeout(500)


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


def dream_and_wait(page: Page, what: str = "Dreamed in") -> None:
    """Press the button and wait for a new dream."""
    before = sources(page)[-1]
    page.click("#go")
    expect(page.locator("#stop")).to_be_visible()
    expect(page.locator("#go")).to_be_visible(timeout=60 * SECONDS)
    expect(status(page)).to_contain_text(what)
    assert sources(page)[-1] != before


def mean_colour(image: Image.Image) -> Any:
    """Return the mean colour of pixels that are not as white as the page."""
    pixels = np.asarray(image.convert("RGB"))
    return pixels[pixels.min(2) < 230].mean(0)


def expect_on_painter(page: Page, photo: Path) -> None:
    """Wait until the painter shows that photo."""
    with Image.open(photo) as image:
        wanted = mean_colour(image)
    for _ in range(60):
        seen = mean_colour(Image.open(io.BytesIO(page.locator("#mask canvas").first.screenshot())))
        if abs(seen - wanted).max() < 20:
            return
        page.wait_for_timeout(0.25 * SECONDS)
    raise AssertionError(f"the painter shows {seen}, not {wanted}")


@on_phone
def test_a_mask_is_painted_dreamed_and_brought_back(
    page: Page, address: str, tmp_path: Path
) -> None:
    open_advanced(page)
    for label, value in (("Octaves", 2), ("Iterations", 5)):
        fill(page, label, value)
    cat, galaxies = EXAMPLES / "cat.jpg", small_photo("galaxies.jpg", tmp_path)
    canvas = open_painter(page)
    upload(page, cat)
    expect_on_painter(page, cat)
    stroke(page, canvas)
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url))
    dream_and_wait(page)
    # The photo, the strokes and both combined, once: more would take minutes on a slow connection.
    assert sum(url.endswith("/upload") for url in sent) == 3
    path = download(page, tmp_path)
    change = (load_image(path) - load_image(cat)).abs().sum(1)
    inside = (change > 0).float().mean()
    assert 0.005 < inside < 0.3 and change.max() * 255 > 20
    # Another photo has no mask; the dream brings its own.
    upload(page, galaxies)
    expect_on_painter(page, galaxies)
    dream_and_wait(page)
    assert not read_recipe(download(page, tmp_path / "whole"), DreamRecipe).mask
    page.set_input_files("#photo input[type=file]", path)
    expect(status(page)).to_contain_text("This photo is a dream. The controls are set to its")
    expect_on_painter(page, path)
    dream_and_wait(page)
    recipe = read_recipe(path, DreamRecipe)
    assert read_recipe(download(page, tmp_path / "again"), DreamRecipe) == recipe
    # The same without opening the painter.
    page.goto(address)
    page.set_input_files("#photo input[type=file]", path)
    expect(status(page)).to_contain_text("This photo is a dream. The controls are set to its")
    dream_and_wait(page)
    assert read_recipe(download(page, tmp_path / "unopened"), DreamRecipe) == recipe


@on_desktop
def test_a_guide_brings_its_layer_and_is_brought_back(page: Page, tmp_path: Path) -> None:
    upload(page, small_photo("coffee.jpg", tmp_path))
    fill(page, "Intensity", 2)
    open_section(page, "Guide image")
    page.set_input_files("#guide input[type=file]", EXAMPLES / "rocket.jpg")
    layer = page.get_by_label("Layer", exact=True)
    expect(layer).to_have_value("Scales · inception5a")
    objective = page.get_by_label("Objective", exact=True)
    objective.click()
    page.get_by_role("option", name="texture").click()
    dream_and_wait(page, "Scales (inception5a), seed 0")
    guided = download(page, tmp_path)
    recipe = read_recipe(guided, DreamRecipe)
    assert recipe.objective == "texture" and recipe.guide
    page.locator("#guide").get_by_label("Remove Image").or_(
        page.locator("#guide").get_by_label("Clear")
    ).first.click()
    expect(layer).to_have_value("Faces, fur · inception4c")
    expect(objective).to_have_value("automatic")  # Texture needs a guide.
    # The recipe alone gives the same image.
    open_section(page, "Recipe: save, share, load")
    text = page.locator("#recipe textarea").input_value()
    assert DreamRecipe.from_json(text) == recipe
    said = page.locator("#recipe-said [role=status]")
    page.locator("#recipe textarea").fill('{"octaves": 99}')
    page.click("#use")
    expect(said).to_have_text(
        "This recipe cannot be used: octaves must be a whole number from 1 to 10, not 99."
    )
    expect(said).to_be_in_viewport()
    page.locator("#recipe textarea").fill(text)
    page.click("#use")
    expect(said).to_have_text("The controls are set to the recipe.")
    expect(objective).to_have_value("texture")
    expect(layer).to_have_value("Scales · inception5a")
    expect(page.locator("#guide img")).to_be_visible()
    page.click("#go")
    expect(page.locator("#stop")).to_be_visible()
    expect(page.locator("#go")).to_be_visible(timeout=60 * SECONDS)
    again = download(page, tmp_path / "again")
    assert again.read_bytes() == guided.read_bytes()


@pytest.mark.parametrize("clipboard", ["undefined", "{ writeText: () => Promise.reject() }"])
def test_where_no_page_may_write_to_the_clipboard_the_link_is_selected(
    page: Page, clipboard: str
) -> None:
    absent = f"Object.defineProperty(navigator, 'clipboard', {{ value: {clipboard} }})"
    page.evaluate(absent)
    open_section(page, "Recipe: save, share, load")
    page.click("#copy-link")
    expect(page.locator("#link")).to_contain_text("Copy this link to the page with the recipe")
    link = page.locator("#link textarea, #link input")
    expect(link).to_be_focused()
    selected = link.evaluate("each => each.value.slice(each.selectionStart, each.selectionEnd)")
    assert selected == link.input_value() and "?recipe=" in selected


@on_desktop
def test_a_link_opens_the_page_with_its_recipe(page: Page, address: str) -> None:
    open_section(page, "Recipe: save, share, load")
    page.click("#copy-link")
    link = page.locator("#link textarea, #link input")
    expect(link).to_have_value(re.compile("recipe="))
    fill(page, "Intensity", 2)
    page.goto(link.input_value())
    expect(status(page)).to_contain_text("The controls are set to the recipe of the link.")
    expect(number(page, "Intensity")).to_have_value("5")
    recipe = DreamRecipe(layer="inception5a>inception3b:0.5", intensity=8, keep_colours=True)
    page.goto(f"{address}/?recipe={quote(recipe.to_json())}")
    expect(status(page)).to_contain_text("The controls are set to the recipe of the link.")
    expect(number(page, "Intensity")).to_have_value("8")
    expect(page.get_by_label("Layer", exact=True)).to_have_value(recipe.layer)
    open_section(page, "Mix layers")
    expect(page.get_by_label("Layer 1")).to_have_value("Scales · inception5a")
    expect(page.get_by_label("Layer 2")).to_have_value("Rings, eyes · inception3b")
    open_advanced(page)
    expect(page.get_by_label("Keep colours")).to_be_checked()
    wrong = quote('{"octaves": 99}')
    page.goto(f"{address}/?recipe={wrong}")
    expect(status(page)).to_contain_text(
        "cannot be used: octaves must be a whole number from 1 to 10, not 99."
    )
    expect(number(page, "Intensity")).to_have_value("5")


@on_phone
def test_presets_and_mixed_layers_set_the_controls(page: Page, tmp_path: Path) -> None:
    page.get_by_role("button", name="Creatures").click()
    layer = page.get_by_label("Layer", exact=True)
    expect(layer).to_have_value("inception5a:2,inception4e")
    expect(number(page, "Intensity")).to_have_value("7")
    expect(page.locator(".layers:visible button.selected")).to_have_count(0)
    open_section(page, "Mix layers")
    page.get_by_label("Weight").first.fill("-1")
    page.get_by_label("Weight").first.press("Tab")
    expect(layer).to_have_value("inception5a:-1,inception4e")
    page.locator(".layers:visible button", has_text="Rings").click()
    expect(page.get_by_label("Layer 1")).to_have_value("Rings, eyes · inception3b")
    expect(page.get_by_label("Layer 2")).to_have_value("none")
    page.get_by_role("button", name="Subtle").click()
    expect(number(page, "Intensity")).to_have_value(str(presets()["Subtle"].intensity))
    upload(page, small_photo("cat.jpg", tmp_path))
    dream_and_wait(page)
    recipe = read_recipe(download(page, tmp_path), DreamRecipe)
    assert recipe == presets()["Subtle"].with_changes(max_side=640)


@on_desktop
def test_the_dreams_of_a_visit_stand_side_by_side(page: Page, tmp_path: Path) -> None:
    upload(page, small_photo("cat.jpg", tmp_path))
    fill(page, "Intensity", 1)
    dream_and_wait(page)
    everything = page.get_by_role("button", name="Download all")
    expect(everything).to_be_hidden()
    first = download(page, tmp_path)
    page.locator(".layers:visible button", has_text="Rings").click()
    fill(page, "Intensity", 2)
    dream_and_wait(page)
    items = page.locator("#strip button.thumbnail-item")
    expect(items).to_have_count(2)
    with page.expect_download() as waiting:
        everything.press("Enter")
    assert waiting.value.suggested_filename == "dreams.zip"
    with ZipFile(waiting.value.path()) as archive:
        assert archive.read(first.name) == first.read_bytes() and len(archive.namelist()) == 3
    expect(status(page)).to_have_text("The ZIP has 2 dreams and their recipes.")
    items.first.click()
    expect(status(page)).to_have_text("Dream 1 of this visit and its recipe are back.")
    expect(number(page, "Intensity")).to_have_value("1")
    expect(page.get_by_label("Layer", exact=True)).to_have_value("Faces, fur · inception4c")
    expect(page.locator("#made-of p").nth(1)).to_contain_text("Intensity 1:")
    assert download(page, tmp_path / "back").read_bytes() == first.read_bytes()
    assert first.name in sources(page)[-1]
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= page.viewport_size["width"]  # type: ignore[index]


@on_phone
def test_a_sheet_compares_layers_and_intensities(page: Page, tmp_path: Path) -> None:
    upload(page, small_photo("coffee.jpg", tmp_path))
    open_section(page, "Compare layers and intensities")
    for intensity in ("3", "8"):
        page.locator("#comparing").get_by_label(intensity, exact=True).uncheck()
    page.locator("#comparing").get_by_label("1", exact=True).check()
    page.click("#make-sheet")
    expect(status(page)).to_contain_text("Contact sheet of 6 dreams, made in", timeout=60 * SECONDS)
    sheet = page.locator("#sheet img")
    page.locator("#sheet").scroll_into_view_if_needed()
    expect(sheet).to_be_visible()
    width, height = sheet.evaluate("image => [image.naturalWidth, image.naturalHeight]")
    assert width == 2 * (192 + 6) + 6 and height == 3 * (128 + 18 + 6) + 6


@on_desktop
def test_stop_holds_while_a_mask_is_on_its_way(page: Page, tmp_path: Path) -> None:
    upload(page, small_photo("cat.jpg", tmp_path))
    fill(page, "Intensity", 1)
    stroke(page, open_painter(page))
    before = sources(page)
    held: list[Any] = []
    page.route("**/upload*", lambda route: held.append(route))
    page.click("#go")
    for _ in range(100):
        if held:
            break
        page.wait_for_timeout(50)
    page.click("#stop")
    expect(status(page)).to_contain_text("Stopped.")
    for route in held:
        route.continue_()
    page.unroute("**/upload*")
    page.wait_for_timeout(3 * SECONDS)
    expect(status(page)).to_contain_text("Stopped.")
    expect(page.locator("#go")).to_be_visible()
    assert sources(page) == before
    dream_and_wait(page)


@on_desktop
def test_an_older_dream_brings_its_photo_along(page: Page, tmp_path: Path) -> None:
    fill(page, "Intensity", 1)
    for name in ("coffee.jpg", "galaxies.jpg"):
        upload(page, small_photo(name, tmp_path))
        dream_and_wait(page)
    page.locator("#strip button.thumbnail-item").first.click()
    expect(status(page)).to_have_text("Dream 1 of this visit and its recipe are back.")
    expect_photo(page, "coffee.jpg")
    open_painter(page)
    expect_on_painter(page, EXAMPLES / "coffee.jpg")


@on_desktop
def test_what_is_typed_beyond_the_bounds_brings_the_steps_of_the_bound(page: Page) -> None:
    open_advanced(page)
    for typed, iterations, step in ((11, "36", "4.5"), (0, "6", "0.35")):
        fill(page, "Intensity", typed)
        expect(number(page, "Iterations")).to_have_value(iterations)
        expect(number(page, "Step")).to_have_value(step)


@on_desktop
def test_the_escape_that_closes_a_list_stops_nothing(page: Page) -> None:
    fill(page, "Intensity", 10)
    page.click("#go")
    expect(status(page)).to_contain_text("Octave")
    page.get_by_label("Network", exact=True).click()
    expect(page.get_by_role("listbox")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("listbox")).to_be_hidden()
    page.wait_for_timeout(0.5 * SECONDS)
    expect(page.locator("#stop")).to_be_visible()
    expect(status(page)).to_contain_text("Octave")
    page.keyboard.press("Escape")
    expect(status(page)).to_contain_text("Stopped.")


@on_desktop
def test_a_channel_carried_over_takes_the_place_of_the_dream_under_way(page: Page) -> None:
    fill(page, "Intensity", 10)
    page.click("#go")
    expect(status(page)).to_contain_text("Octave")
    fill(page, "Intensity", 1)
    open_channels(page)
    page.click("#carry")
    expect(status(page)).to_contain_text("(inception4c), channel 0, seed 0", timeout=60 * SECONDS)
    expect(page.locator("#go")).to_be_visible()


@on_desktop
def test_a_dream_that_was_stopped_goes_on_from_all_of_it(page: Page, tmp_path: Path) -> None:
    upload(page, EXAMPLES / "clouds.jpg")
    fill(page, "Intensity", 10)
    page.click("#go")
    expect(status(page)).to_contain_text("Octave 2")
    page.click("#stop")
    expect(status(page)).to_contain_text("Stopped. Dream deeper to continue from here.")
    expect(page.locator("#go")).to_be_visible()
    before = sources(page)
    # The whole shown image is downloaded, without a recipe.
    named = r"dream-clouds-inception4c-i10-seed0-\d+\.png"
    assert load_image(download_after_a_stop(page, tmp_path, named)).shape[3] == 640
    page.click("#came-about")
    expect(status(page)).to_contain_text("This dream was stopped early. Finish a dream first.")
    expect(page.locator("#made-of p").nth(1)).to_contain_text("Intensity 10:")
    fill(page, "Intensity", 1)
    page.click("#again")
    expect(page.locator("#stop")).to_be_visible()
    expect(status(page)).to_contain_text("Dreamed in", timeout=60 * SECONDS)
    assert download(page, tmp_path).name == "dream-clouds-inception4c-i1-seed0.png"
    assert sources(page)[0] == before[0]


def test_what_is_pressed_is_shown_at_once_and_goes_where_nothing_came_of_it(
    page: Page, tmp_path: Path
) -> None:
    upload(page, small_photo("cat.jpg", tmp_path))
    before = sources(page)
    page.route("**/queue/join*", lambda route: None)  # The server is busy.
    page.click("#go")
    expect(status(page)).to_have_text("Waiting for the server …")
    photo = page.locator("#photo img").get_attribute("src")
    assert "cat.jpg" in str(photo) and sources(page) == [photo, photo]
    page.click("#stop")
    expect(status(page)).to_have_text("Stopped.")
    assert sources(page) == before
    page.unroute("**/queue/join*")


@on_desktop
def test_below_the_dream_other_layers_are_a_click_away(page: Page, tmp_path: Path) -> None:
    lines = page.locator("#made-of p")
    expect(lines.first).to_have_text("Dreamlet: Faces, fur (inception4c)")
    held: list[Any] = []  # The photo's other updates, on a busy server.
    page.route("**/run/predict*", lambda route: held.append(route))
    upload(page, small_photo("cat.jpg", tmp_path))
    fill(page, "Intensity", 1)
    page.click("#try-layers")
    expect(status(page)).to_have_text(
        "Previews at 4 other layers. Click one to choose its layer.", timeout=60 * SECONDS
    )
    for route in held:
        route.continue_()
    page.unroute("**/run/predict*")
    page.wait_for_timeout(1 * SECONDS)
    others = page.locator("#others button.thumbnail-item")
    expect(others).to_have_count(4)
    others.nth(3).click()
    expect(page.get_by_label("Layer", exact=True)).to_have_value("Scales · inception5a")
    dream_and_wait(page, "Scales (inception5a), seed 0")
    expect(lines.first).to_have_text("Dreamlet: Scales (inception5a)")
    expect(lines.nth(1)).to_have_text("Intensity 1: 6 steps per octave, 5 octaves, step 0.35/255")
    page.evaluate("() => (navigator.clipboard.writeText = async (text) => (window.copied = text))")
    page.click("#share")
    expect(page.locator("#shared-link")).to_contain_text("Link copied to the clipboard")
    assert page.evaluate("window.copied").startswith(page.url.partition("?")[0])
    expect(others).to_have_count(4)
    upload(page, small_photo("coffee.jpg", tmp_path))  # It was not dreamed at these.
    expect(others).to_have_count(0)


@on_phone
def test_a_phones_page_is_no_longer_for_it(page: Page) -> None:
    expect(page.locator("#made-of")).to_be_hidden()
    expect(page.locator("#try-layers")).to_be_hidden()
    tabs = page.get_by_role("tab").evaluate_all("tabs => tabs.map(tab => tab.offsetTop)")
    assert len(set(tabs)) <= 2  # In two lines.
