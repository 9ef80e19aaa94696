"""Strangers' text is shown as text wherever the page repeats it; none of it runs."""

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

from PIL import Image
from playwright.sync_api import Page, expect

from tests.conftest import EXAMPLES
from tests.support import browser as ui
from tests.support.browser import SECONDS
from tests.support.corpus import png_with_recipe

MARK = "<img src=x onerror=window.ran=1><svg onload=window.ran=1>"
# A valid file name: no slash, at most 200 characters.
NAMED = "<img src=x onerror=window.ran=1>"


def assert_nothing_ran(page: Page) -> None:
    page.wait_for_timeout(0.3 * SECONDS)  # A broken image reports its error a moment later.
    assert page.evaluate("window.ran") is None
    assert page.locator("img[src='x'], svg[onload]").count() == 0


def photo(folder: Path, recipe: str) -> Path:
    """Write a small photo whose name is markup, with that recipe in it."""
    path = folder / f"{NAMED}.png"
    with Image.open(EXAMPLES / "cat.jpg") as image:
        image.thumbnail((96, 96))
        path.write_bytes(png_with_recipe(recipe, image))
    return path


RECIPES = [json.dumps({"layer": MARK}), json.dumps({MARK: MARK}), MARK]


def test_links_and_recipes_that_are_markup_are_refused_as_text(
    page: Page, address: str, tmp_path: Path
) -> None:
    for recipe in RECIPES:
        page.goto(f"{address}/?recipe={quote(recipe)}")
        expect(ui.status(page)).to_contain_text("This recipe cannot be used")
        assert_nothing_ran(page)
    ui.open_section(page, "Recipe: save, share, load")
    said = ui.status(page, "recipe-said")
    for recipe in (RECIPES[0], json.dumps({"channels": MARK, "objective": MARK})):
        page.locator("#recipe textarea").fill(recipe)
        page.click("#use")
        expect(said).to_contain_text("This recipe cannot be used")
        assert_nothing_ran(page)
    path = tmp_path / f"{NAMED}.json"
    path.write_text(json.dumps({"iterations": MARK}))
    with page.expect_file_chooser() as chooser:
        page.click("#recipe-file")
    chooser.value.set_files(path)
    expect(said).to_contain_text("iterations")
    assert_nothing_ran(page)


def test_a_photo_whose_name_and_recipe_are_markup_is_dreamed(page: Page, tmp_path: Path) -> None:
    hostile = photo(tmp_path, json.dumps({"layer": MARK, MARK: 1}))
    page.set_input_files("#photo input[type=file]", hostile)
    expect(page.locator("#photo img")).to_have_attribute("src", re.compile("onerror"))
    ui.fill(page, "Intensity", 1)
    page.click("#go")
    ui.expect_status(page, "Dreamed in")
    assert not any("<" in each for each in ui.sources(page))
    assert re.fullmatch(r"[\w.-]+\.png", ui.download(page, tmp_path).name)
    page.reload()
    expect(ui.status(page)).to_have_text("Your last visit is restored.")
    expect(ui.strip(page)).to_have_count(1)
    assert_nothing_ran(page)


def choose(page: Page, label: str, text: str) -> None:
    """Type a value that is no choice into a field that accepts any text."""
    field = page.locator(f"input[aria-label='{label}']:visible").first
    field.fill(text)
    field.press("Enter")


def test_names_of_layers_channels_and_classes_that_are_markup_are_refused_as_text(
    page: Page,
) -> None:
    choose(page, "Layer", MARK)
    page.click("#go")
    expect(ui.status(page)).to_contain_text("onerror")
    ui.open_section(page, "Mix layers and channels")
    page.locator("#only textarea, #only input").fill(MARK)
    page.click("#go")
    expect(ui.status(page)).to_contain_text("onerror")
    toast = page.locator(".toast-body").first
    expect(toast).to_contain_text("onerror")
    assert_nothing_ran(page)
    for tab, field, button, said in (
        ("Channel visualization", "#numbers textarea, #numbers input", "#show", "show-status"),
        ("Zoom and video", "#zoom-layer textarea, #zoom-layer input", "#film", "film-status"),
    ):
        ui.open_tab(page, tab)
        page.locator(field).fill(MARK)
        page.click(button)
        expect(ui.status(page, said)).to_contain_text("onerror")
        assert_nothing_ran(page)
    ui.open_tab(page, "Class image")
    choose(page, "Class", MARK)
    page.click("#make")
    expect(ui.status(page, "make-status")).to_contain_text("onerror")
    assert_nothing_ran(page)


def test_a_visit_of_markup_that_another_hand_kept_shows_none_of_it(page: Page) -> None:
    kept: dict[str, Any] = {"layer": MARK, "photo": MARK, "link": MARK, "model": MARK}
    kept |= {"shown": [MARK] * 3, "recipe": MARK, "dreams": [[MARK] * 3] * 3, "objective": MARK}
    page.evaluate(
        "kept => Object.keys(localStorage).forEach(key => localStorage[key] = kept)",
        json.dumps(kept),
    )
    page.reload()
    expect(page.locator("#view img")).to_have_count(2)
    ui.open_advanced(page)
    assert_nothing_ran(page)
