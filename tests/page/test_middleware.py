"""Accessibility, the queue's messages, and the page as other sites and Spaces show it."""

import json
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from dream import __version__
from tests.conftest import EXAMPLES, ROOT
from tests.support import browser as ui
from tests.support.api import begin, call, upload
from tests.support.browser import SECONDS
from tests.support.server import run_app

AXE = ROOT / "tests" / "node_modules" / "axe-core" / "axe.min.js"
TABS = ("Deep Dream", "Channel visualization", "Class image", "Zoom and video", "Live")
HOST = "someone-dreams.hf.space"

pytestmark = pytest.mark.filterwarnings("default")
needs_axe = pytest.mark.skipif(not AXE.exists(), reason="no axe-core here: make test needs npm")


@pytest.fixture(scope="module")
def space(log: Path) -> Iterator[str]:
    """Run the app as on a Space; yield its address."""
    known = {"SYSTEM": "spaces", "SPACE_ID": "someone/dreams", "SPACE_HOST": HOST}
    with run_app(log, **known) as address:
        yield address


def bottom_edge(page: Page, selector: str) -> float:
    box = page.locator(selector).bounding_box()
    assert box
    return box["y"] + box["height"]


@needs_axe
@pytest.mark.parametrize(
    ("shape", "theme"),
    [("phone", "light"), pytest.param("desk", "dark", marks=pytest.mark.at_scale)],
)
def test_axe_finds_nothing_serious(window: Page, address: str, shape: str, theme: str) -> None:
    with ui.open_page(window, f"{address}/?__theme={theme}", shape) as page:
        assert page.locator("body.dark").count() == (theme == "dark")
        page.evaluate(AXE.read_text(encoding="utf-8"))
        for tab in TABS[:-1]:  # The camera of Gradio's in "Live" has a button without a name.
            page.get_by_role("tab", name=tab).click()
            folded = page.locator("button.label-wrap:not(.open):visible")
            while folded.count():
                folded.first.click()
            page.wait_for_timeout(0.5 * SECONDS)  # Transitions have ended.
            found = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
            assert len(found["passes"]) > 15
            serious = [
                (violation["id"], node["html"][:200])
                for violation in found["violations"]
                if violation["impact"] in ("serious", "critical")
                for node in violation["nodes"]
            ]
            assert not serious, tab


CONTROLS = """() => [...document.querySelectorAll("button, input, textarea, a, [tabindex='0']")]
  .filter((each) => each.offsetParent && !each.disabled && each.tabIndex >= 0
    && getComputedStyle(each).visibility === "visible")"""
NAME = """(each) => each.ariaLabel || each.textContent.trim() ||
  each.querySelector("img")?.alt || each.id"""


# The box of an element's text, since the element may be wider.
WORDS = """(each) => {
  const range = document.createRange();
  range.selectNodeContents(each);
  return range.getBoundingClientRect().toJSON();
}"""


@ui.on_both
def test_tab_reaches_every_control_in_reading_order(page: Page) -> None:
    there = page.evaluate(f"({CONTROLS})().map({NAME})")
    reached: list[str] = []
    while "Settings" not in reached and len(reached) < 2 * len(there):
        page.keyboard.press("Tab")
        reached.append(page.evaluate(f"({NAME})(document.activeElement)"))
    assert set(there) <= set(reached)
    order = (
        *("Deep Dream", "Class image", "Upload file", "Dream this photo", "cat", "Creatures"),
        *("number input for Intensity", "Eye fields", "Network", "Layer", "Advanced ▼"),
        *("Divider between before and after", "Dream deeper", "Download", "Settings"),
    )
    assert all(reached.index(one) < reached.index(next) for one, next in pairwise(order))


@ui.on_both
def test_arrow_keys_move_the_line_between_before_and_after(page: Page) -> None:
    line = page.get_by_role("slider", name="Divider between before and after")
    box = page.locator("#view img").first.bounding_box()
    assert box
    where = [line.bounding_box()]
    for key in ("ArrowLeft", "ArrowRight", "ArrowRight"):
        line.press(key)
        page.wait_for_timeout(0.2 * SECONDS)
        where.append(line.bounding_box())
    start, left, back, right = (each["x"] if each else 0 for each in where)
    assert left == pytest.approx(start - box["width"] / 20, abs=2)
    assert back == pytest.approx(start, abs=2)
    assert right == pytest.approx(start + box["width"] / 20, abs=2)
    expect(line).to_have_attribute("aria-valuenow", re.compile("5[45]"))


@ui.on_phone
def test_pictures_and_their_buttons_are_called_by_what_they_show(page: Page) -> None:
    before, after = page.locator("#view img").all()
    expect(before).to_have_attribute("alt", "coffee")
    expect(after).to_have_attribute("alt", "dream coffee inception4c i5 seed0")
    ui.fill(page, "Intensity", 1)
    page.get_by_role("button", name="rocket", exact=True).click()
    page.get_by_role("button", name="Rings, eyes", exact=True).click()
    expect(page.get_by_label("Layer", exact=True)).to_have_value("Rings, eyes · inception3b")
    expect(page.locator("#photo img")).to_have_attribute("alt", "rocket")
    page.click("#go")
    named = "dream rocket inception3b i1 seed0"
    expect(after).to_have_attribute("alt", named, timeout=60 * SECONDS)
    page.get_by_role("tab", name="Class image").click()
    page.get_by_role("button", name="goldfish and volcano", exact=True).click()
    expect(page.get_by_label("Class", exact=True)).to_have_value("goldfish:1,volcano:1")


@ui.on_both
def test_the_first_screen_has_the_dream_and_its_button_and_nothing_is_cut_off(page: Page) -> None:
    assert page.viewport_size
    for selector in ("#view", "#status", "#go", "#expected span"):
        assert bottom_edge(page, selector) <= page.viewport_size["height"]
    for tab in TABS:
        page.get_by_role("tab", name=tab).click()
        page.wait_for_timeout(1 * SECONDS)
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= page.viewport_size["width"], tab


@pytest.mark.at_scale
def test_those_who_wait_are_told_their_place(browser: Browser, window: Page, address: str) -> None:
    second, third = browser.new_page(), window
    for page in (second, third):
        ui.go_to(page, address)
        ui.fill(page, "Intensity", 1)
    with httpx.Client(base_url=f"{address}/gradio_api", timeout=60) as api:
        photo = {"path": upload(api, EXAMPLES / "cat.jpg")}
        # After a dream by page or API the time of one is known.
        second.click("#go")
        expect(ui.status(second)).to_contain_text("Dreamed in", timeout=60 * SECONDS)
        assert call(api, "deep_dream", {"image": photo, "octaves": 1, "max_side": 128})[0]
        first = begin(api, "deep_dream", {"image": photo, "octaves": 8, "iterations": 100})
        with api.stream("GET", f"/call/deep_dream/{first}") as dream:
            lines = dream.iter_lines()
            assert any("generating" in line for line in lines)
            third.evaluate(
                """() => {
                  window.told = [];
                  const place = document.querySelector("#status");
                  new MutationObserver(() => window.told.push(place.innerText)).observe(
                    place, { childList: true, characterData: true, subtree: true });
                }"""
            )
            second.click("#go")
            expect(ui.status(second)).to_contain_text("1 dream before yours")
            expect(ui.status(second)).to_contain_text(
                re.compile(r"1 dream before yours, about \d+ s\.")
            )
            # The error appears at once, and the buttons are as before.
            third.get_by_role("button", name="Mix layers").click()
            third.locator("#only textarea, #only input").fill("4096")
            third.click("#go")
            said = "inception4c has channels 0 to 319"
            expect(third.locator(".toast-body")).to_contain_text(said)
            expect(third.locator("#go")).to_be_visible()
            third.locator("#only textarea, #only input").fill("")
            third.click("#go")
            expect(ui.status(third)).to_contain_text("2 dreams before yours")
            assert ui.status(third).evaluate("each => getComputedStyle(each).opacity") == "1"
            told = third.evaluate("window.told")
            assert any(re.search(r"2 dreams before yours, about \d+ s\.", each) for each in told)
            # The one who stops is told so; when the first leaves, it is the last one's turn.
            second.keyboard.press("Escape")
            expect(ui.status(second)).to_contain_text("Stopped.")
    expect(ui.status(third)).to_contain_text("Dreamed in", timeout=60 * SECONDS)
    ui.leave_page(window)
    second.close()


@pytest.mark.parametrize("shape", ui.BOTH_SIZES)
def test_a_space_can_be_duplicated(window: Page, space: str, shape: str) -> None:
    width, height = ui.WINDOW_SIZES[shape]
    with ui.open_page(window, space, shape) as page:
        page.evaluate("window.open = (address) => { window.asked = address }")
        page.get_by_role("button", name="Duplicate this Space").click()
        page.wait_for_function("window.asked")
        address = "https://huggingface.co/spaces/someone/dreams?duplicate=true"
        assert page.evaluate("window.asked") == address
        # It takes no space and covers no text.
        assert bottom_edge(page, "#go") <= height
        button = page.locator("#duplicate").bounding_box()
        assert button and button["x"] + button["width"] <= width
        left, top, bottom = button["x"], button["y"], button["y"] + button["height"]
        for words in ("h1", "p"):
            box = page.locator(f"#title {words}").evaluate(WORDS)
            assert left >= box["right"] or top >= box["bottom"] or bottom <= box["top"]


def card_tags(address: str) -> dict[str, str]:
    """Return the page's tags that sites with link previews read."""
    tags = re.findall(
        r'<meta\s+(?:property|name)="((?:og|twitter):[^"]+)"\s+content="([^"]*)"',
        httpx.get(address).text,
    )
    assert len(dict(tags)) == len(tags)  # No duplicates: sites would take Gradio's.
    return dict(tags)


def test_a_link_to_the_page_shows_its_name_and_a_dream(space: str) -> None:
    about = card_tags(space)
    assert about["og:title"] == "Deep Dream" and "neural network" in about["og:description"]
    assert about["twitter:card"] == "summary_large_image"
    where = urlsplit(about["og:image"])
    assert (where.scheme, where.netloc) == ("https", HOST)
    answer = httpx.get(space + where.path)
    assert answer.status_code == 200 and answer.headers["content-type"] == "image/jpeg"
    assert answer.content == (EXAMPLES / "site" / "card.jpg").read_bytes()
    # Everyone can read the image, but not its path or any other file.
    start, _, path = where.path.partition("=")
    assert path == "card.jpg"
    for name in (
        "README.md",
        "app.py",
        "examples/CREDITS.md",
        "examples",
        "dream/networks/dreamlet.py",
    ):
        assert httpx.get(f"{space}{start}={ROOT / name}").status_code == 404, name


def test_at_home_there_is_nothing_to_duplicate_and_the_card_has_no_picture(address: str) -> None:
    components = httpx.get(f"{address}/config").json()["components"]
    assert "go" in (ids := {each["props"].get("elem_id") for each in components})
    assert "duplicate" not in ids
    (foot,) = (each for each in components if each["props"].get("elem_id") == "version")
    assert foot["props"]["value"] == f"Deep Dream {__version__}"
    about = card_tags(address)
    assert about["og:title"] == "Deep Dream"
    assert not [key for key in about if "image" in key or "url" in key]


def test_the_favicon_is_an_eye_of_ours(address: str) -> None:
    answer = httpx.get(f"{address}/favicon.ico")
    assert answer.headers["content-type"] == "image/png"
    assert answer.content == (EXAMPLES / "site" / "favicon.png").read_bytes()
    assert len(answer.content) < 20_000


@pytest.mark.parametrize("path", ["/", "/config", "/gradio_api/info"])
def test_what_describes_the_page_is_sent_compressed(path: str, address: str) -> None:
    with httpx.stream("GET", address + path, headers={"accept-encoding": "gzip"}) as answer:
        sent = len(b"".join(answer.iter_raw()))
    assert answer.headers["content-encoding"] == "gzip" and sent < 150_000
    plain = httpx.get(address + path, headers={"accept-encoding": "identity"})
    assert "content-encoding" not in plain.headers and len(plain.content) > 4 * sent


def test_pictures_and_streams_are_sent_as_they_are(space: str) -> None:
    picture = space + urlsplit(card_tags(space)["og:image"]).path
    part = httpx.get(picture, headers={"range": "bytes=10-109", "accept-encoding": "gzip"})
    assert part.status_code == 206 and "content-encoding" not in part.headers
    assert part.content == (EXAMPLES / "site" / "card.jpg").read_bytes()[10:110]
    with httpx.Client(base_url=f"{space}/gradio_api", timeout=60) as api:
        event = begin(api, "presets", {})
        headers = {"accept-encoding": "gzip"}
        with api.stream("GET", f"/call/presets/{event}", headers=headers) as line:
            assert "content-encoding" not in line.headers
            assert b"event: " in next(line.iter_raw())


def test_endpoints_share_the_fields_that_are_alike(address: str) -> None:
    config = httpx.get(f"{address}/config").json()
    events = [event for event in config["dependencies"] if event["api_visibility"] == "public"]
    used = {each for event in events for each in (*event["inputs"], *event["outputs"])}
    fields = [
        json.dumps([each["type"], each["props"]], sort_keys=True)
        for each in config["components"]
        if each["id"] in used
    ]
    assert len(events) == 9 and len(fields) == len(set(fields)) < 80
