"""Masks, guides, links and presets in a real Chromium: set, dreamed and brought back."""

from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from playwright.sync_api import Page, expect

from dream import DreamRecipe, load_image, read_recipe, save_image
from dream.recipe.presets import presets
from tests.conftest import EXAMPLES
from tests.support import browser as ui
from tests.support.browser import SECONDS


def test_stop_holds_while_a_mask_is_on_its_way(page: Page, tmp_path: Path) -> None:
    ui.upload(page, ui.small_photo("cat.jpg", tmp_path))
    ui.fill(page, "Intensity", 1)
    ui.stroke(page, ui.open_painter(page))
    before = ui.sources(page)
    held: list[Any] = []
    page.route("**/upload*", lambda route: held.append(route))
    page.click("#go")
    for _ in range(100):
        if held:
            break
        page.wait_for_timeout(50)
    page.click("#stop")
    expect(ui.status(page)).to_contain_text("Stopped.")
    for route in held:
        route.continue_()
    page.unroute("**/upload*")
    page.wait_for_timeout(3 * SECONDS)
    expect(ui.status(page)).to_contain_text("Stopped.")
    expect(page.locator("#go")).to_be_visible()
    assert ui.sources(page) == before
    ui.dream_and_wait(page)


def test_a_guide_brings_its_layer_and_is_brought_back(page: Page, tmp_path: Path) -> None:
    ui.upload(page, ui.small_photo("coffee.jpg", tmp_path))
    ui.fill(page, "Intensity", 2)
    ui.open_section(page, "Guide image")
    page.set_input_files("#guide input[type=file]", EXAMPLES / "rocket.jpg")
    expect(ui.layer(page)).to_have_value("Scales · inception5a")
    objective = page.get_by_label("Objective", exact=True)
    objective.click()
    page.get_by_role("option", name="texture").click()
    ui.dream_and_wait(page, "Scales (inception5a), seed 0")
    guided = ui.download(page, tmp_path)
    recipe = read_recipe(guided, DreamRecipe)
    assert recipe.objective == "texture" and recipe.guide
    page.locator("#guide").get_by_label("Remove Image").or_(
        page.locator("#guide").get_by_label("Clear")
    ).first.click()
    expect(ui.layer(page)).to_have_value("Faces, fur · inception4c")
    expect(objective).to_have_value("automatic")  # Texture needs a guide.
    # The recipe alone gives the same image.
    ui.open_section(page, "Recipe: save, share, load")
    text = page.locator("#recipe textarea").input_value()
    assert DreamRecipe.from_json(text) == recipe
    said = ui.status(page, "recipe-said")
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
    expect(ui.layer(page)).to_have_value("Scales · inception5a")
    expect(page.locator("#guide img")).to_be_visible()
    ui.dream_and_wait(page)
    again = ui.download(page, tmp_path / "again")
    assert again.read_bytes() == guided.read_bytes()


@pytest.mark.parametrize("clipboard", ["undefined", "{ writeText: () => Promise.reject() }"])
def test_where_no_page_may_write_to_the_clipboard_the_link_is_selected(
    page: Page, clipboard: str
) -> None:
    absent = f"Object.defineProperty(navigator, 'clipboard', {{ value: {clipboard} }})"
    page.evaluate(absent)
    ui.open_section(page, "Recipe: save, share, load")
    page.click("#copy-link")
    expect(page.locator("#link")).to_contain_text("Copy this link to the page with the recipe")
    link = page.locator("#link textarea, #link input")
    expect(link).to_be_focused()
    selected = link.evaluate("each => each.value.slice(each.selectionStart, each.selectionEnd)")
    assert selected == link.input_value() and "?recipe=" in selected
    page.goto(selected)
    expect(ui.status(page)).to_contain_text("The controls are set to the recipe of the link.")


@ui.on_phone
def test_presets_and_mixed_layers_set_the_controls(page: Page, tmp_path: Path) -> None:
    page.get_by_role("button", name="Creatures").click()
    expect(ui.layer(page)).to_have_value("inception5a:2,inception4e")
    expect(ui.number(page, "Intensity")).to_have_value("7")
    expect(page.locator(".layers:visible button.selected")).to_have_count(0)
    ui.open_section(page, "Mix layers")
    page.get_by_label("Weight").first.fill("-1")
    page.get_by_label("Weight").first.press("Tab")
    expect(ui.layer(page)).to_have_value("inception5a:-1,inception4e")
    ui.choose_layer(page, "Rings")
    expect(page.get_by_label("Layer 1")).to_have_value("Rings, eyes · inception3b")
    expect(page.get_by_label("Layer 2")).to_have_value("none")
    page.get_by_role("button", name="Subtle").click()
    expect(ui.number(page, "Intensity")).to_have_value(str(presets()["Subtle"].intensity))
    ui.upload(page, ui.small_photo("cat.jpg", tmp_path))
    ui.dream_and_wait(page)
    recipe = read_recipe(ui.download(page, tmp_path), DreamRecipe)
    assert recipe == presets()["Subtle"].with_changes(max_side=640)


@ui.on_phone
def test_a_mask_is_painted_dreamed_and_brought_back(
    page: Page, address: str, tmp_path: Path
) -> None:
    ui.open_advanced(page, octaves=2, iterations=2)
    cat, galaxies = EXAMPLES / "cat.jpg", ui.small_photo("galaxies.jpg", tmp_path)
    canvas = ui.open_painter(page)
    ui.upload(page, cat)
    ui.expect_on_painter(page, cat)
    ui.stroke(page, canvas)
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url))
    ui.dream_and_wait(page)
    # The photo, the strokes and both combined, once: more would take minutes on a slow connection.
    assert sum(url.endswith("/upload") for url in sent) == 3
    path = ui.download(page, tmp_path)
    changed = (load_image(path) - load_image(cat)).abs().sum(1) > 0
    assert 0.005 < changed.float().mean() < 0.3
    # Another photo has no mask; the dream brings its own.
    ui.upload(page, galaxies)
    ui.expect_on_painter(page, galaxies)
    ui.dream_and_wait(page)
    assert not read_recipe(ui.download(page, tmp_path / "whole"), DreamRecipe).mask
    page.set_input_files("#photo input[type=file]", path)
    expect(ui.status(page)).to_contain_text("This photo is a dream. The controls are set to its")
    ui.expect_on_painter(page, path)
    ui.dream_and_wait(page)
    recipe = read_recipe(path, DreamRecipe)
    assert read_recipe(ui.download(page, tmp_path / "again"), DreamRecipe) == recipe
    # The same without opening the painter, and with a recipe in XMP.
    path, dreamed = tmp_path / "dream.webp", load_image(path)
    save_image(dreamed, path, recipe)
    page.goto(address)
    page.set_input_files("#photo input[type=file]", path)
    expect(ui.status(page)).to_contain_text("This photo is a dream. The controls are set to its")
    ui.dream_and_wait(page)
    assert read_recipe(ui.download(page, tmp_path / "unopened"), DreamRecipe) == recipe


def test_a_link_opens_the_page_with_its_recipe(page: Page, address: str) -> None:
    recipe = DreamRecipe(layer="inception5a>inception3b:0.5", intensity=8, keep_colours=True)
    page.goto(f"{address}/?recipe={quote(recipe.to_json())}")
    expect(ui.status(page)).to_contain_text("The controls are set to the recipe of the link.")
    expect(ui.number(page, "Intensity")).to_have_value("8")
    expect(ui.layer(page)).to_have_value(recipe.layer)
    ui.open_section(page, "Mix layers")
    expect(page.get_by_label("Layer 1")).to_have_value("Scales · inception5a")
    expect(page.get_by_label("Layer 2")).to_have_value("Rings, eyes · inception3b")
    ui.open_section(page, "Advanced")
    expect(page.get_by_label("Keep colours")).to_be_checked()
    wrong = quote('{"octaves": 99}')
    page.goto(f"{address}/?recipe={wrong}")
    expect(ui.status(page)).to_contain_text(
        "cannot be used: octaves must be a whole number from 1 to 10, not 99."
    )
    expect(ui.number(page, "Intensity")).to_have_value("5")
