"""Masks, guides, links and presets in a real Chromium: set, dreamed and brought back."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from dream import (
    ChannelRecipe,
    ClassRecipe,
    DreamRecipe,
    Engine,
    VideoRecipe,
    ZoomRecipe,
    load_image,
    read_recipe,
    save_image,
)
from dream.files.embedded_images import embed_mask
from dream.recipe import LiveRecipe
from dream.recipe.base import Recipe
from dream.recipe.presets import presets
from tests.conftest import EXAMPLES
from tests.support import browser as ui
from tests.support.browser import SECONDS


@pytest.mark.at_scale
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
    expect(ui.layer(page)).to_have_value("Whole animals · inception5a")
    objective = page.get_by_label("Objective", exact=True)
    objective.click()
    page.get_by_role("option", name="texture").click()
    ui.dream_and_wait(page, "Whole animals (inception5a), seed 0")
    guided = ui.download(page, tmp_path)
    recipe = read_recipe(guided, DreamRecipe)
    assert recipe.objective == "texture" and recipe.guide
    page.locator("#guide").get_by_label("Remove Image").or_(
        page.locator("#guide").get_by_label("Clear")
    ).first.click()
    expect(ui.layer(page)).to_have_value("Faces, wheels · inception4c")
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
    expect(ui.layer(page)).to_have_value("Whole animals · inception5a")
    expect(page.locator("#guide img")).to_be_visible()
    ui.dream_and_wait(page)
    again = ui.download(page, tmp_path / "again")
    assert again.read_bytes() == guided.read_bytes()


@pytest.mark.parametrize(
    "clipboard",
    [
        "{ writeText: () => Promise.reject() }",
        pytest.param("undefined", marks=pytest.mark.at_scale),
    ],
)
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
def test_a_preset_dreams_at_once_and_stays_marked_while_the_controls_equal_it(
    page: Page, tmp_path: Path
) -> None:
    ui.upload(page, ui.small_photo("cat.jpg", tmp_path))
    marked = page.locator("#presets button[aria-pressed=true]")
    expect(marked).to_have_count(0)
    page.get_by_role("button", name="Creatures").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#stop")).to_be_visible()
    expect(page.locator("#view")).to_be_in_viewport()
    ui.choose_preset(page, "Subtle")  # It takes the place of the dream under way.
    ui.expect_status(page, "Dreamed in")
    expect(page.locator("#go")).to_be_visible()
    expect(marked).to_have_text("Subtle")
    recipe = read_recipe(ui.download(page, tmp_path), DreamRecipe)
    assert recipe == presets()["Subtle"].with_changes(max_side=640)
    ui.fill(page, "Intensity", 4)
    expect(marked).to_have_count(0)
    ui.fill(page, "Intensity", presets()["Subtle"].intensity)
    expect(marked).to_have_text("Subtle")
    ui.open_advanced(page, seed=7)  # Of the photo's own, as its size.
    expect(marked).to_have_text("Subtle")
    page.reload()
    expect(ui.status(page)).to_have_text("Your last visit is restored.")
    expect(marked).to_have_text("Subtle")


def test_presets_and_mixed_layers_set_the_controls(page: Page) -> None:
    page.route("**/queue/join*", lambda route: None)  # Nothing is dreamed.
    ui.choose_preset(page, "Creatures")
    expect(page.locator("#stop")).to_be_visible()
    page.click("#stop")
    page.unroute("**/queue/join*")
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


@ui.on_phone
def test_a_mask_is_painted_dreamed_and_left_with_its_photo(page: Page, tmp_path: Path) -> None:
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
    assert read_recipe(path, DreamRecipe).mask
    ui.upload(page, galaxies)
    ui.expect_on_painter(page, galaxies)
    ui.dream_and_wait(page)
    assert not read_recipe(ui.download(page, tmp_path / "whole"), DreamRecipe).mask


@pytest.mark.at_scale
@ui.on_phone
@pytest.mark.parametrize(("name", "is_open"), [("dream.png", True), ("dream.webp", False)])
def test_a_dream_brings_its_mask(
    name: str, is_open: bool, page: Page, engine: Engine, tmp_path: Path
) -> None:
    mask, path = Image.new("L", (451, 300)), tmp_path / name
    mask.paste(255, (100, 50, 180, 90))
    mask.save(tmp_path / "mask.png")
    small = DreamRecipe(mask=embed_mask(tmp_path / "mask.png"), octaves=2, iterations=2)
    recipe = engine.settle(small.with_changes(max_side=640))
    *_, frame = engine.dream(load_image(EXAMPLES / "cat.jpg"), recipe)
    save_image(frame.tensor, path, recipe)
    if is_open:
        ui.open_painter(page)
    page.set_input_files("#photo input[type=file]", path)
    expect(ui.status(page)).to_contain_text("This photo is a dream. The controls are set to its")
    if is_open:
        ui.expect_on_painter(page, path)
    ui.dream_and_wait(page)
    assert read_recipe(ui.download(page, tmp_path / "again"), DreamRecipe) == recipe


def test_a_link_opens_the_page_with_its_recipe(page: Page, address: str) -> None:
    recipe = DreamRecipe(layer="inception5a>inception3b:0.5", intensity=8, keep_colours=True)
    page.goto(f"{address}/?recipe={quote(recipe.to_json())}")
    expect(ui.status(page)).to_contain_text("The controls are set to the recipe of the link.")
    expect(ui.number(page, "Intensity")).to_have_value("8")
    expect(ui.layer(page)).to_have_value(recipe.layer)
    ui.open_section(page, "Mix layers")
    expect(page.get_by_label("Layer 1")).to_have_value("Whole animals · inception5a")
    expect(page.get_by_label("Layer 2")).to_have_value("Rings, eyes · inception3b")
    ui.open_section(page, "Advanced")
    expect(ui.number(page, "Keep colours")).to_have_value("1")
    wrong = quote('{"octaves": 99}')
    page.goto(f"{address}/?recipe={wrong}")
    expect(ui.status(page)).to_contain_text(
        "cannot be used: octaves must be a whole number from 1 to 10, not 99."
    )
    expect(ui.number(page, "Intensity")).to_have_value("5")


OPENED_TAB = "[role=tab][aria-selected=true]"


@pytest.mark.at_scale
@pytest.mark.parametrize(
    ("recipe", "tab", "status", "field"),
    [
        (VideoRecipe(carry=0.5), "Zoom and video", "film-status", ""),
        (ClassRecipe(target="pizza"), "Class image", "make-status", "Class"),
        (ChannelRecipe(layer="inception5a", channel=3), "Channel visualization", "show-status", ""),
        (LiveRecipe(intensity=7), "Live", "live-status", "Intensity"),
    ],
)
def test_a_link_opens_the_tab_of_its_kind(
    recipe: Recipe, tab: str, status: str, field: str, page: Page, address: str
) -> None:
    page.goto(f"{address}/?recipe={quote(recipe.to_json())}")
    expect(page.locator(OPENED_TAB)).to_have_text(tab)
    expect(ui.status(page, status)).to_have_text("The controls are set to the recipe of the link.")
    if field:
        box = page.locator(f"input[aria-label*='{field}']:visible").first
        expect(box).to_have_value({"Class": "pizza", "Intensity": "7"}[field])


def test_tabs_have_addresses_and_a_link_opens_the_tab_of_its_kind(page: Page, address: str) -> None:
    opened = page.locator(OPENED_TAB)
    for query, tab in (("tab=live", "Live"), ("a=1&tab=none", "Deep Dream")):
        page.goto(f"{address}/?{query}")
        expect(opened).to_have_text(tab)
    ui.open_tab(page, "Class image")
    expect(page).to_have_url(f"{address}/?a=1&tab=class")
    ui.open_tab(page, "Deep Dream")
    expect(page).to_have_url(f"{address}/?a=1")
    page.goto(f"{address}/?recipe={quote(ZoomRecipe(zoom=1.5, max_side=96).to_json())}")
    expect(opened).to_have_text("Zoom and video")
    said = ui.status(page, "film-status")
    expect(said).to_have_text("The controls are set to the recipe of the link.")
    expect(page.locator("input[aria-label*='Zoom']:visible").first).to_have_value("1.5")
    # The tab that was opened last takes precedence over the link's after a reload.
    ui.open_tab(page, "Live")
    page.reload()
    expect(opened).to_have_text("Live")


@pytest.mark.at_scale
def test_a_link_whose_recipe_its_tab_cannot_use_says_why(page: Page, address: str) -> None:
    page.goto(f"{address}/?recipe={quote(json.dumps({'kind': 'zoom', 'zoom': 99}))}")
    expect(ui.status(page, "film-status")).to_have_text(
        "This recipe cannot be used: zoom must be a number from 1 to 6, not 99."
    )
    page.goto(f"{address}/?recipe={quote(LiveRecipe(model='vgg16').to_json())}")
    expect(ui.status(page, "live-status")).to_have_text(
        "This recipe cannot be used: this tab dreams with dreamlet, not with vgg16."
    )


def test_the_page_of_a_space_gets_the_address_without_its_own_parameters(
    browser: Browser, address: str
) -> None:
    page = browser.new_page()
    page.add_init_script(
        "Object.defineProperty(window, 'parent',"
        " { value: { postMessage: (...sent) => (window.sent = sent) } })"
    )
    page.goto(f"{address}/?a=1&__sign=secret&__theme=light")
    ui.open_tab(page, "Live")
    expect(page).to_have_url(f"{address}/?a=1&__sign=secret&__theme=light&tab=live")
    assert page.evaluate("sent") == [{"queryString": "a=1&tab=live"}, "https://huggingface.co"]
    page.close()
