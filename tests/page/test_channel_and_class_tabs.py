"""The tabs for channels and class images in a real Chromium."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from dream import ClassRecipe, DreamRecipe, read_recipe
from tests.support import browser as ui
from tests.support.browser import SECONDS


def said(page: Page) -> Locator:
    return ui.status(page, "show-status")


def verdict(page: Page) -> Locator:
    return ui.status(page, "make-status")


def thumbnails(page: Page) -> Locator:
    return page.locator("#channels .thumbnail-lg")


def show_channels(page: Page, numbers: str) -> None:
    page.locator("#numbers textarea, #numbers input").fill(numbers)
    page.click("#show")


def test_the_second_tab_opens_on_a_full_grid(page: Page) -> None:
    ui.open_tab(page, "Channel visualization")
    expect(thumbnails(page)).to_have_count(16)
    expect(said(page)).to_contain_text("Faces, wheels (inception4c): 16 channels. Click one")
    ui.choose_layer(page, "Whole animals")
    expect(said(page)).to_contain_text("Whole animals (inception5a): 16 channels.")
    expect(thumbnails(page)).to_have_count(16)
    ui.choose_layer(page, "Eye fields")
    expect(said(page)).to_contain_text('Eye fields (inception4a): press "Show channels" to')


def test_channels_form_enlarge_and_carry_over_into_a_dream(page: Page, tmp_path: Path) -> None:
    ui.upload(page, ui.small_photo("coffee.jpg", tmp_path))
    ui.open_tab(page, "Channel visualization")
    ui.choose_layer(page, "Rings")
    expect(said(page)).to_contain_text("Rings, eyes (inception3b): 16 channels.")
    channel = 200
    ui.open_advanced(page, steps=48)
    show_channels(page, f"5,{channel}")
    ui.see_status(page, "s left", "show-status")
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
    ui.expect_status(page, done)
    expect(ui.layer(page)).to_have_value("Rings, eyes · inception3b")
    path = ui.download(page, tmp_path)
    assert path.name == f"dream-coffee-inception3b+{channel}-i5-seed0.png"
    assert read_recipe(path, DreamRecipe).channels == str(channel)
    # Another layer has other channels.
    ui.open_section(page, "Mix layers and channels")
    expect(page.locator("#only textarea, #only input")).to_have_value(str(channel))
    ui.choose_layer(page, "Faces")
    expect(page.locator("#only textarea, #only input")).to_have_value("")


@ui.on_phone
def test_a_click_on_a_photo_shows_what_sees_something_there(page: Page, tmp_path: Path) -> None:
    ui.fill(page, "Intensity", 1)
    ui.open_tab(page, "Channel visualization")
    ui.open_advanced(page, size=112, steps=32)
    page.set_input_files("#seen input[type=file]", ui.small_photo("coffee.jpg", tmp_path))
    photo = page.locator("#seen img")
    expect(photo).to_have_attribute("src", re.compile("coffee"))
    box = photo.bounding_box()
    assert box
    photo.click(position={"x": 0.5 * box["width"], "y": 0.3 * box["height"]})
    expect(page.locator("#where img")).to_be_visible()
    expect(said(page)).to_have_text(
        "Faces, wheels (inception4c): most active channels at this spot, strongest first.",
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
    ui.expect_status(page, f"(inception4c), channel {channel}")
    ui.expect_photo(page, "coffee.jpg")


def test_channels_stop_and_bad_ones_are_told(page: Page) -> None:
    ui.open_tab(page, "Channel visualization")
    show_channels(page, "7,320")
    expect(said(page)).to_have_text("inception4c has channels 0 to 319, not '320'.")
    expect(thumbnails(page)).to_have_count(16)
    show_channels(page, "0-15")
    expect(page.locator("#stop-show")).to_be_visible()
    ui.see_status(page, "s left", "show-status")
    page.keyboard.press("Escape")
    expect(said(page)).to_have_text("Stopped.")
    expect(page.locator("#show")).to_be_visible()
    # What forms gives way to the channels of another layer.
    show_channels(page, "1-16")
    ui.see_status(page, "s left", "show-status")
    ui.choose_layer(page, "Rings")
    kept = "Rings, eyes (inception3b): 16 channels. Click one to enlarge it."
    expect(said(page)).to_have_text(kept)
    expect(page.locator("#show")).to_be_visible()
    page.wait_for_timeout(2 * SECONDS)
    expect(said(page)).to_have_text(kept)
    thumbnails(page).nth(1).click()
    caption = page.locator("#channels .caption-label").nth(1).inner_text()
    assert caption == "19 · blue dots"
    expect(page.locator("#carry")).to_have_text("Dream my photo with channel 19")


@pytest.mark.at_scale
def test_a_channel_carried_over_takes_the_place_of_the_dream_under_way(page: Page) -> None:
    ui.fill(page, "Intensity", 10)
    page.click("#go")
    ui.see_status(page, "Octave")
    ui.fill(page, "Intensity", 1)
    ui.open_tab(page, "Channel visualization")
    page.click("#carry")
    ui.expect_status(page, "(inception4c), channel 0, seed 0")
    expect(page.locator("#go")).to_be_visible()


@ui.on_phone
def test_a_class_is_typed_made_and_dreamed_on(page: Page, tmp_path: Path) -> None:
    ui.fill(page, "Intensity", 1)
    ui.open_tab(page, "Class image")
    expect(verdict(page)).to_have_text("The network is 100 % sure this is a goldfish; before, 0 %.")
    expect(page.locator("#make-status")).not_to_contain_text("Probability", use_inner_text=True)
    page.locator("#make-status summary").click()
    expect(page.locator("#make-status details")).to_contain_text("→ 1 of 1000.")
    expect(page.locator("#class-image img")).to_be_visible()
    expect(page.locator("#bars")).to_contain_text("goldfish")
    ui.open_section(page, "Advanced")
    page.get_by_label("Steps").fill("64")
    box = page.get_by_label("Class", exact=True)
    box.fill("")
    box.press_sequentially("flamin")
    page.get_by_role("option", name="flamingo").click()
    page.click("#make")
    expect(page.locator("#stop-make")).to_be_visible()
    ui.see_status(page, "s left", "make-status")
    expect(verdict(page)).to_contain_text("% sure this is a flamingo;", timeout=60 * SECONDS)
    expect(page.locator("#bars")).to_contain_text("flamingo")
    path = ui.download(page, tmp_path, "#class-download")
    assert path.name == "class-flamingo-seed0.png"
    assert read_recipe(path) == ClassRecipe(target="flamingo", size=224, steps=64)
    page.click("#dream-on")
    expect(page.locator("#go")).to_be_visible()
    ui.expect_status(page, "Dreamed in")


def test_an_unclear_class_is_answered_with_what_is_near_and_stop_works(
    page: Page, tmp_path: Path
) -> None:
    ui.open_tab(page, "Class image")
    page.get_by_label("Class", exact=True).fill("unicorn")
    page.keyboard.press("Tab")
    page.click("#make")
    expect(verdict(page)).to_contain_text("There is no class 'unicorn'; did you mean")
    page.get_by_label("Class", exact=True).fill("pizza")
    page.keyboard.press("Tab")
    # A browser as slow as a phone's still has frames to show when the stop comes.
    with ui.slow_cpu(page):
        page.click("#make")
        expect(page.locator("#stop-make")).to_be_visible()
        ui.see_status(page, "s left", "make-status")
        page.keyboard.press("Escape")
        expect(page.locator("#make")).to_be_visible()
        expect(verdict(page)).to_have_text("Stopped.")
        page.wait_for_timeout(2 * SECONDS)
        expect(verdict(page)).to_have_text("Stopped.")
    ui.download_after_a_stop(page, tmp_path, r"class-pizza-seed0-\d+\.png", "#class-download")
