"""The "Deep Dream" tab in a real Chromium: upload, dream, watch, stop, download."""

import re
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from dream import DreamRecipe, load_image, read_recipe
from tests.conftest import EXAMPLES, change
from tests.support import browser as ui
from tests.support.api import data_uri
from tests.support.browser import SECONDS
from tests.support.corpus import encode

# What a browser that can share has; Chromium on Linux cannot.
SHARE_SCRIPT = """
navigator.canShare = ({ files }) => files.every((file) => file.type === "image/png");
navigator.share = async (data) => {
  if (window.refusal) throw new DOMException("no", window.refusal);
  window.shared = data;
};
"""
DROP_SCRIPT = """async ([names, sources]) => {
  const dataTransfer = new DataTransfer();
  for (const [place, name] of names.entries()) {
    const blob = await (await fetch(sources[place])).blob();
    const type = name.endsWith(".heic") ? "" : blob.type;
    dataTransfer.items.add(new File([blob], name, { type }));
  }
  const event = new DragEvent("drop", { bubbles: true, cancelable: true, dataTransfer });
  document.querySelector("#photo img").dispatchEvent(event);
}"""


@ui.on_phone
def test_the_page_opens_on_a_finished_dream(page: Page, tmp_path: Path) -> None:
    assert len(set(ui.sources(page))) == 2
    path = ui.download(page, tmp_path)
    assert read_recipe(path, DreamRecipe).layer == "inception4c"


@ui.on_phone
def test_a_phones_page_is_no_longer_for_it(page: Page) -> None:
    expect(page.locator("#made-of")).to_be_hidden()
    expect(page.locator("#try-layers")).to_be_hidden()
    tabs = page.get_by_role("tab").evaluate_all("tabs => tabs.map(tab => tab.offsetTop)")
    assert len(set(tabs)) <= 2  # In two lines.


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


def test_intensity_moves_the_iterations_and_the_step(page: Page) -> None:
    ui.open_advanced(page)
    # What is typed beyond the bounds brings the steps of the bound.
    for typed, iterations, step in ((11, "27", "2.85"), (0, "6", "0.35"), (8, "19", "2.45")):
        ui.fill(page, "Intensity", typed)
        expect(ui.number(page, "Iterations")).to_have_value(iterations)
        expect(ui.number(page, "Step")).to_have_value(step)
    page.locator('input[type=range][aria-label*="Intensity"]').press("ArrowLeft")
    expect(ui.number(page, "Intensity")).to_have_value("7")
    expect(ui.number(page, "Iterations")).to_have_value("16")


def test_another_network_is_one_choice_away_and_says_what_it_needs(page: Page) -> None:
    before = ui.sources(page)
    page.get_by_label("Network", exact=True).click()
    page.get_by_role("option", name="vgg16 · 553 MB").click()
    expect(ui.layer(page)).to_have_value("Eyes, arches · relu4_3")
    page.click("#go")
    said = "vgg16 cannot be downloaded right now. Choose another network."
    expect(ui.status(page)).to_have_text(said)
    assert ui.sources(page) == before
    # An image that Dreamlet made selects Dreamlet again.
    ui.choose_layer(page, "Rings")
    expect(page.get_by_label("Network", exact=True)).to_have_value("dreamlet")
    expect(ui.layer(page)).to_have_value("Rings, eyes · inception3b")


def test_a_bad_photo_and_none_are_answered_in_one_sentence(page: Page, tmp_path: Path) -> None:
    before = ui.sources(page)
    (tmp_path / "bad.jpg").write_bytes(b"hello")
    ui.upload(page, tmp_path / "bad.jpg")
    page.click("#go")
    expect(ui.status(page)).to_contain_text("bad.jpg is not an image this program reads")
    expect(page.locator("#go")).to_be_visible()
    assert ui.sources(page) == before
    assert "Traceback" not in page.content()
    page.get_by_label("Remove Image").or_(page.get_by_label("Clear")).first.click()
    page.click("#go")
    expect(ui.status(page)).to_contain_text("Upload a photo first")


def test_a_dream_that_was_stopped_goes_on_from_all_of_it(page: Page, tmp_path: Path) -> None:
    ui.upload(page, EXAMPLES / "clouds.jpg")
    ui.fill(page, "Intensity", 10)
    page.click("#go")
    ui.see_status(page, "Octave [2-5]")
    page.click("#stop")
    expect(ui.status(page)).to_contain_text("Stopped. Dream deeper to continue from here.")
    expect(page.locator("#go")).to_be_visible()
    before = ui.sources(page)
    # The whole shown image is downloaded, without a recipe.
    named = r"dream-clouds-inception4c-i10-seed0-\d+\.png"
    assert load_image(ui.download_after_a_stop(page, tmp_path, named)).shape[3] == 640
    page.click("#came-about")
    expect(ui.status(page)).to_contain_text("This dream was stopped early. Finish a dream first.")
    expect(page.locator("#made-of p").nth(1)).to_contain_text("Intensity 10:")
    ui.fill(page, "Intensity", 1)
    ui.dream_and_wait(page, button="#again")
    assert ui.download(page, tmp_path).name == "dream-clouds-inception4c-i1-seed0.png"
    assert ui.sources(page)[0] == before[0]


LANDMARKS = "#view, #status, #again, #dreams, #made-of, #photo, .foot, #expected, #presets"
PLACES = f"""() => {{
  scrollTo(0, 0);
  const places = [...document.querySelectorAll("{LANDMARKS}")].map((each) => {{
    const box = each.getBoundingClientRect();
    return [each.id || each.className, box.x, box.y, box.width, box.height].join(" ");
  }});
  return places.filter((place) => !place.endsWith(" 0 0"));
}}"""


@ui.on_both
def test_a_dream_of_a_photo_of_any_shape_moves_nothing_on_the_page(
    page: Page, tmp_path: Path
) -> None:
    before = page.evaluate(PLACES)
    assert len(before) >= 7
    ui.fill(page, "Intensity", 1)
    with Image.open(EXAMPLES / "cat.jpg") as image:
        image.resize((96, 192)).save(tmp_path / "upright.png")
        image.resize((192, 48)).save(tmp_path / "wide.png")
    for count, name in enumerate(("upright.png", "wide.png"), start=1):
        ui.upload(page, tmp_path / name)
        page.click("#go")
        expect(page.locator("#stop")).to_be_visible()
        assert page.evaluate(PLACES) == before
        expect(page.locator("#go")).to_be_visible(timeout=60 * SECONDS)
        ui.expect_status(page, "Dreamed in")
        expect(ui.strip(page)).to_have_count(count)
        assert page.evaluate(PLACES) == before


def test_the_result_stays_in_view_while_settings_are_changed(page: Page) -> None:
    ui.open_section(page, "Advanced")
    page.get_by_role("button", name="Reset all").scroll_into_view_if_needed()
    expect(page.locator("#view")).to_be_in_viewport(ratio=0.9)
    assert page.evaluate("scrollY") > 800


@ui.on_phone
def test_the_button_is_always_in_reach_on_a_phone_and_hides_nothing(page: Page) -> None:
    bar = page.locator(".foot:visible")
    for tab in ("Channel visualization", "Class image", "Zoom and video", "Deep Dream"):
        ui.open_tab(page, tab)
        for end in ("0", "document.body.scrollHeight"):
            page.evaluate(f"scrollTo(0, {end})")
            expect(bar.locator(".go")).to_be_in_viewport(ratio=1)
        foot, box = page.locator("footer").bounding_box(), bar.bounding_box()
        assert foot and box and foot["y"] + foot["height"] <= box["y"]
        assert box["y"] + box["height"] == page.viewport_size["height"]  # type: ignore[index]
    page.evaluate(  # As with an on-screen keyboard.
        "Object.defineProperty(visualViewport, 'height', { value: 500 });"
        "visualViewport.dispatchEvent(new Event('resize'))"
    )
    box = bar.bounding_box()
    assert box and box["y"] + box["height"] == 500
    # A frame as high as the page has no foot that is in view.
    page.evaluate("window.parentIFrame = { size() {}, scrollTo() {} }; document.body.append('')")
    expect(bar).to_have_css("position", "relative")


@ui.on_both
def test_what_is_pressed_is_shown_at_once_and_goes_where_nothing_came_of_it(
    page: Page, tmp_path: Path
) -> None:
    ui.upload(page, ui.small_photo("cat.jpg", tmp_path))
    before = ui.sources(page)
    page.route("**/queue/join*", lambda route: None)  # The server is busy.
    page.click("#go")
    expect(ui.status(page)).to_have_text("Waiting for the server …")
    photo = page.locator("#photo img").get_attribute("src")
    assert "cat.jpg" in str(photo) and ui.sources(page) == [photo, photo]
    page.click("#stop")
    expect(ui.status(page)).to_have_text("Stopped.")
    assert ui.sources(page) == before
    page.unroute("**/queue/join*")


@pytest.mark.at_scale
@ui.on_phone
def test_a_sheet_compares_layers_and_intensities(page: Page, tmp_path: Path) -> None:
    ui.upload(page, ui.small_photo("coffee.jpg", tmp_path))
    ui.open_section(page, "Compare layers and intensities")
    for intensity in ("5", "8"):
        page.locator("#comparing").get_by_label(intensity, exact=True).uncheck()
    page.locator("#comparing").get_by_label("1", exact=True).check()
    page.click("#make-sheet")
    ui.expect_status(page, "Contact sheet of 6 dreams, made in")
    sheet = page.locator("#sheet img")
    page.locator("#sheet").scroll_into_view_if_needed()
    expect(sheet).to_be_visible()
    width, height = sheet.evaluate("image => [image.naturalWidth, image.naturalHeight]")
    assert width == 2 * (192 + 6) + 6 and height == 3 * (128 + 18 + 6) + 6


@pytest.mark.at_scale
def test_the_dreams_of_a_visit_stand_side_by_side(page: Page, tmp_path: Path) -> None:
    photo = ui.small_photo("galaxies.jpg", tmp_path)
    ui.upload(page, photo)
    ui.fill(page, "Intensity", 1)
    ui.dream_and_wait(page)
    everything = page.get_by_role("button", name="Download all")
    expect(everything).to_be_hidden()
    first = ui.download(page, tmp_path)
    ui.choose_layer(page, "Rings")
    ui.fill(page, "Intensity", 2)
    ui.upload(page, ui.small_photo("cat.jpg", tmp_path))
    ui.dream_and_wait(page)
    items = ui.strip(page)
    expect(items).to_have_count(2)
    with page.expect_download() as waiting:
        everything.press("Enter")
    assert waiting.value.suggested_filename == "dreams.zip"
    with ZipFile(waiting.value.path()) as archive:
        assert archive.read(first.name) == first.read_bytes() and len(archive.namelist()) == 3
    expect(ui.status(page)).to_have_text("The ZIP has 2 dreams and their recipes.")
    items.first.click()
    expect(ui.status(page)).to_have_text("Dream 1 of this visit and its recipe are back.")
    expect(ui.number(page, "Intensity")).to_have_value("1")
    expect(ui.layer(page)).to_have_value("Faces, wheels · inception4c")
    expect(page.locator("#made-of p").nth(1)).to_contain_text("Intensity 1:")
    assert ui.download(page, tmp_path / "back").read_bytes() == first.read_bytes()
    assert first.name in ui.sources(page)[-1]
    # It brings its photo along, also to the mask editor.
    ui.expect_photo(page, "galaxies.jpg")
    ui.open_painter(page)
    ui.expect_on_painter(page, photo)


@ui.on_phone
def test_what_a_dream_will_take_is_said_before_and_follows_the_controls(page: Page) -> None:
    line = page.locator("#expected span")
    expect(line).to_have_text(re.compile(r"^Dreamlet on a CPU, about \d+ seconds?$"))

    def seconds() -> int:
        found = re.search(r"about (\d+) (second|minute)", line.inner_text())
        assert found
        return int(found[1]) * {"second": 1, "minute": 60}[found[2]]

    before = seconds()
    ui.fill(page, "Intensity", 10)
    expect(line).not_to_have_text(re.compile(rf"about {before} "))
    assert (most := seconds()) > before
    ui.upload(page, EXAMPLES / "galaxies.jpg")
    ui.open_advanced(page, iterations=1)
    # The exact time depends on what the busy machine measured.
    expect(line).to_have_text(re.compile(r"about [1-9] seconds?$"))
    assert seconds() < most


@ui.on_phone
def test_a_photo_dropped_is_dreamed_shown_and_downloaded(page: Page, tmp_path: Path) -> None:
    cat = EXAMPLES / "cat.jpg"
    ui.upload(page, cat)
    ui.fill(page, "Intensity", 7)
    page.click("#go")
    expect(page.locator("#stop")).to_be_visible()
    seen = set()
    while "Dreamed" not in (text := ui.status(page).inner_text()):
        if match := re.match(r"Octave (\d) of (\d), step (\d+) of (\d+), ([\d.]+) s left", text):
            seen.add((match[1], ui.sources(page)[-1]))
        page.wait_for_timeout(50)
    # The preview changed in more than one octave.
    assert len({picture for _, picture in seen}) >= 3 and len({octave for octave, _ in seen}) >= 2
    expect(page.locator("#go")).to_be_visible()
    expect(page.locator("#stop")).to_be_hidden()
    path = ui.download(page, tmp_path)
    assert path.name == "dream-cat-inception4c-i7-seed0.png"
    recipe = read_recipe(path, DreamRecipe)
    assert (recipe.intensity, recipe.iterations, recipe.step) == (7, 16, 2.2)
    whole = change(load_image(path), load_image(cat))
    assert 15 < whole < 45
    # The second dream starts from the first, not from the photo.
    ui.fill(page, "Intensity", 1)
    ui.dream_and_wait(page, button="#again")
    again = ui.download(page, tmp_path / "again")
    assert again.name == "dream-cat-inception4c-i1-seed0.png"
    assert 0 < change(load_image(again), load_image(path)) < whole / 2


@ui.on_phone
def test_enter_starts_and_escape_stops_within_a_second(page: Page, tmp_path: Path) -> None:
    ui.upload(page, EXAMPLES / "rocket.jpg")
    ui.fill(page, "Intensity", 10)
    page.locator("#title").click()
    page.keyboard.press("Enter")
    ui.see_status(page, "Octave")
    # The Escape that closes a list stops nothing.
    page.get_by_label("Network", exact=True).click()
    page.keyboard.press("Escape")
    expect(page.get_by_role("listbox")).to_be_hidden()
    page.wait_for_timeout(0.5 * SECONDS)
    expect(page.locator("#stop")).to_be_visible()
    ui.see_status(page, "Octave")
    page.keyboard.press("Escape")
    page.wait_for_timeout(1 * SECONDS)
    after_a_second = ui.sources(page)
    # On a busy machine the status may follow the stop a little later.
    expect(ui.status(page)).to_contain_text("Stopped", timeout=3 * SECONDS)
    expect(page.locator("#go")).to_be_visible()
    page.wait_for_timeout(1.5 * SECONDS)
    assert ui.sources(page) == after_a_second  # Nothing continues after it.
    ui.upload(page, ui.small_photo("cat.jpg", tmp_path))
    ui.fill(page, "Intensity", 1)
    ui.dream_and_wait(page)


def test_examples_layers_and_controls_are_obeyed_and_reset(page: Page, tmp_path: Path) -> None:
    page.locator(".gallery-item img, .gallery img").nth(2).click()
    ui.expect_photo(page, "clouds.jpg")
    ui.choose_layer(page, "Rings")
    expect(ui.layer(page)).to_have_value("Rings, eyes · inception3b")
    ui.open_advanced(page, octaves=2, iterations=3, max_side=200)
    page.get_by_label("Random seed").check()
    ui.dream_and_wait(page)
    path = ui.download(page, tmp_path)
    assert re.fullmatch(r"dream-clouds-inception3b-i5-seed[1-9]\d*.png", path.name)
    recipe = read_recipe(path, DreamRecipe)
    assert (recipe.octaves, recipe.iterations, recipe.max_side) == (2, 3, 200)
    expect(ui.number(page, "Seed")).to_have_value(str(recipe.seed))
    page.get_by_role("button", name="Reset all").click()
    expect(ui.number(page, "Seed")).to_have_value("0")
    expect(ui.number(page, "Iterations")).to_have_value("10")
    expect(page.get_by_label("Random seed")).not_to_be_checked()


def test_below_the_dream_other_layers_are_a_click_away(page: Page, tmp_path: Path) -> None:
    lines = page.locator("#made-of p")
    expect(lines.first).to_have_text("Dreamlet: Faces, wheels (inception4c)")
    held: list[Any] = []  # The photo's other updates, on a busy server.
    page.route("**/run/predict*", lambda route: held.append(route))
    ui.upload(page, ui.small_photo("cat.jpg", tmp_path))
    ui.fill(page, "Intensity", 1)
    page.click("#try-layers")
    others = page.locator("#others button.thumbnail-item")
    expect(others.first).to_be_visible()
    assert others.count() == 4  # All places are there from the start.
    ui.expect_status(page, "Previews at 4 other layers. Click one to choose its layer.")
    for route in held:
        route.continue_()
    page.unroute("**/run/predict*")
    page.wait_for_timeout(1 * SECONDS)
    expect(others).to_have_count(4)
    others.nth(3).click()
    expect(ui.layer(page)).to_have_value("Whole animals · inception5a")
    ui.dream_and_wait(page, "Whole animals (inception5a), seed 0")
    expect(lines.first).to_have_text("Dreamlet: Whole animals (inception5a)")
    expect(lines.nth(1)).to_have_text("Intensity 1: 6 steps per octave, 5 octaves, step 0.35/255")
    page.evaluate("() => (navigator.clipboard.writeText = async (text) => (window.copied = text))")
    page.click("#share")
    expect(page.locator("#shared-link")).to_contain_text("Link copied to the clipboard")
    assert page.evaluate("window.copied").startswith(page.url.partition("?")[0])
    ui.upload(page, ui.small_photo("coffee.jpg", tmp_path))  # It was not dreamed at these.
    expect(others).to_have_count(0)


def test_the_blend_is_seen_downloaded_and_shared(page: Page, tmp_path: Path) -> None:
    expect(page.locator("#share-image")).to_have_count(0)
    ui.upload(page, ui.small_photo("coffee.jpg", tmp_path))
    ui.fill(page, "Intensity", 1)
    ui.dream_and_wait(page)
    dream = ui.download(page, tmp_path)
    ui.fill(page, "Blend", 40)
    expect(page.locator("#view img.fixed")).to_have_css("opacity", "0.4")
    expect(page.locator("#download")).to_be_hidden()
    blend = ui.download(page, tmp_path, "#download-blend")
    assert blend.name == f"{dream.stem}-blend40.png" and read_recipe(blend) == read_recipe(dream)
    expect(ui.status(page)).to_have_text("The image is 40 % dream, 60 % photo.")
    ui.fill(page, "Blend", 100)
    assert ui.download(page, tmp_path / "whole").read_bytes() == dream.read_bytes()


def test_photos_dropped_together_are_dreamed_one_after_another(page: Page, tmp_path: Path) -> None:
    names = ["a b.heic", "bad.jpg", "c.jpg"]  # Of the first a browser may not know the type.
    ui.fill(page, "Intensity", 1)
    small = Image.open(EXAMPLES / "cat.jpg").resize((96, 64))
    photo, bad = map(data_uri, (encode(small, "JPEG"), b"no"))
    page.evaluate(DROP_SCRIPT, [names, [photo, bad, photo]])
    expect(page.locator("#several-photos .file")).to_have_count(3)
    page.click("#dream-all")
    words = "2 of 3 photos dreamed. Left out: bad.jpg is not an image this program reads"
    ui.expect_status(page, words)
    expect(ui.strip(page)).to_have_count(2)
    expect(page.locator("#go")).to_be_visible()
    zipped = ui.download(page, tmp_path, "#download-all")
    dreams = [f"dream-{name}-inception4c-i1-seed0.png" for name in ("a-b", "c")]
    with ZipFile(zipped) as archive:
        assert archive.namelist() == [*dreams, "recipes.jsonl"]
        archive.extract(dreams[0], tmp_path)
    assert read_recipe(tmp_path / dreams[0], DreamRecipe).intensity == 1
    # Stop keeps what is finished, and nothing follows.
    ui.open_advanced(page, iterations=100)
    page.click("#dream-all")
    ui.see_status(page, "Photo 1 of 3. Octave")
    page.click("#stop")
    expect(page.locator("#go")).to_be_visible()
    page.wait_for_timeout(1.5 * SECONDS)
    expect(ui.status(page)).to_contain_text("Stopped.")
    expect(ui.strip(page)).to_have_count(2)


def test_a_browser_that_can_share_gets_the_image_or_the_link(page: Page) -> None:
    page.add_init_script(SHARE_SCRIPT)
    page.reload()
    page.wait_for_function("localStorage.getItem('deep-dream-settings')")
    page.click("#share-image")
    expect(ui.status(page)).to_have_text("The image was shared.")
    assert page.evaluate("shared.files[0].name") == "dream-coffee-inception4c-i5-seed0.png"
    size = (EXAMPLES / "dream-coffee-inception4c-i5-seed0.png").stat().st_size
    assert page.evaluate("shared.files[0].size") == size
    page.evaluate("navigator.canShare = () => false")
    page.click("#share-image")
    expect(ui.status(page)).to_have_text("The link was shared.")
    assert page.evaluate("shared.url").startswith(f"{page.url}?recipe=")
    for refusal, words in (("AbortError", "Nothing was"), ("NotAllowedError", "did not share it")):
        page.evaluate(f"window.refusal = '{refusal}'")
        page.click("#share-image")
        expect(ui.status(page)).to_contain_text(words)
