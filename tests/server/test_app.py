"""The app through its API on a real server: what its endpoints answer."""

import concurrent.futures
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

from dream import ChannelRecipe, ClassRecipe, DreamRecipe, Engine, load_image, read_recipe
from dream.files.embedded_images import embed_guide
from dream.page.server import api
from dream.page.server.endpoint import make_handler
from dream.page.tabs import deep_dream
from dream.page.widgets.visit import EXAMPLE_DREAM, EXAMPLE_PHOTO
from dream.recipe.knob import knobs
from dream.recipe.presets import presets
from dream.service.job_runner import JobRunner
from tests.conftest import CAN_REMAKE, EXAMPLES, KNOB_VALUES, is_frame
from tools.measure import correlation

CAT = EXAMPLES / "cat.jpg"
PHOTO = handle_file(str(CAT))
QUICK: dict[str, Any] = {"octaves": 2, "iterations": 2, "max_side": 128}

pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture(scope="module")
def client(address: str, tmp_path_factory: pytest.TempPathFactory) -> Client:
    return Client(address, verbose=False, download_files=str(tmp_path_factory.mktemp("files")))


def dream(client: Client, image: Any = PHOTO, **knobs: Any) -> tuple[str, dict[str, Any]]:
    answer: tuple[str, dict[str, Any]] = client.predict(image, api_name="/deep_dream", **knobs)
    return answer


def test_deep_dream_returns_the_png_and_its_recipe(client: Client, engine: Engine) -> None:
    path, recipe = dream(client, **QUICK, layer="inception3b", seed=7)
    assert Path(path).name == "dream-cat-inception3b-i5-seed7.png"
    expected = DreamRecipe(octaves=2, iterations=2, max_side=128, layer="inception3b", seed=7)
    assert recipe == expected.to_dict()
    assert read_recipe(path) == DreamRecipe.from_dict(recipe) == expected
    *_, frame = engine.dream(load_image(CAT), expected)
    assert is_frame(path, frame)  # The same as in Python.


def test_every_image_comes_in_the_format_that_is_sent(client: Client) -> None:
    small: dict[str, Any] = {"octaves": 1, "iterations": 1, "max_side": 64}
    path, recipe = dream(client, **small, format="avif")
    assert Path(path).name == "dream-cat-inception4c-i5-seed0.avif"
    assert read_recipe(path).to_dict() == recipe
    few = {"size": 64, "steps": 1}
    shown, about = client.predict(
        channels="3,7", format="webp", **few, api_name="/visualize_channel"
    )
    paths = [each["image"] for each in shown]
    assert [read_recipe(path).to_dict() for path in paths] == about["recipes"]
    shown, *_ = client.predict(image=PHOTO, count=1, format="webp", **few, api_name="/top_channels")
    path, *_ = client.predict(target="goldfish", format="jpg", **few, api_name="/class_image")
    assert read_recipe(path, ClassRecipe).target == "goldfish"
    sheet, _ = client.predict(
        image=PHOTO, intensities="1,2", **small, format="jpeg", api_name="/compare"
    )
    files = [*paths, shown[0]["image"], path, sheet]
    kinds = []
    for name in files:
        with Image.open(name) as image:
            kinds.append(image.format)
    assert kinds == ["WEBP", "WEBP", "WEBP", "JPEG", "JPEG"]
    for endpoint in ("/deep_dream", "/top_channels"):
        with pytest.raises(AppError, match=r"[Ff]ormat must be png or jpg or jpeg or webp or avif"):
            client.predict(image=PHOTO, format="tiff", api_name=endpoint)


def test_an_endpoint_explains_every_knob_with_its_bounds(client: Client, engine: Engine) -> None:
    information = client.view_api(return_format="dict", print_info=False)
    assert "then previews" in information["named_endpoints"]["/deep_dream"]["description"]

    def run(runner: JobRunner, image: str, knob_values: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Work."""
        yield knob_values

    names = ["image", *knobs(DreamRecipe)]
    handler = make_handler(
        JobRunner(engine), run, DreamRecipe, names, {"image": api.PARAMETERS["image"]}
    )
    said = dict(re.findall(r"^    (\w+): (.*)$", handler.__doc__ or "", re.M))
    assert list(said) == names
    assert list(inspect.signature(handler).parameters) == list(said)
    for name, knob in knobs(DreamRecipe).items():
        if knob.value_type in (int, float):
            bounds = {f"{knob.low:.10g}", f"{knob.high:.10g}"}
            assert bounds <= set(re.findall(r"[\d.]*\d", said[name])), name
        assert knob.help in said[name] and all(choice in said[name] for choice in knob.choices)
    # Omitted parameters arrive as None, for which the recipe has defaults.
    values = {"image": "photo.jpg", "step": 2}
    assert next(handler(*(values.get(name) for name in names))) == {"step": 2}


def test_the_page_opens_on_what_its_recipe_makes(client: Client, engine: Engine) -> None:
    opening = deep_dream.opening_recipe(engine)
    path, recipe = dream(client, handle_file(str(EXAMPLE_PHOTO)), octaves=opening.octaves)
    assert DreamRecipe.from_dict(recipe) == opening
    made, shown = load_image(path), load_image(EXAMPLE_DREAM)
    photo = load_image(EXAMPLE_PHOTO)
    if CAN_REMAKE and engine.precision("dreamlet") == torch.float32:
        assert torch.equal(made, shown)
    else:
        assert correlation(made, shown, photo) > 0.4


def test_weights_that_cannot_be_had_are_answered_with_what_to_do(
    client: Client, app_log: Path
) -> None:
    said = r"^vgg16 cannot be downloaded right now\. Choose another network\.$"
    with pytest.raises(AppError, match=said):
        dream(client, **QUICK, model="vgg16")
    assert "vgg16 could not be downloaded (the hub: HF_HUB_OFFLINE is set" in app_log.read_text()


def visualize(client: Client, **knobs: Any) -> tuple[dict[int, Path], dict[str, Any]]:
    """Return the images by channel, and the other outputs."""
    gallery, made = client.predict(api_name="/visualize_channel", **knobs)
    return {int(each["caption"]): Path(each["image"]) for each in gallery}, made


def test_channels_are_shown_and_carry_their_recipes(client: Client, engine: Engine) -> None:
    pictures, made = visualize(client, layer="inception3b", channels="7, 3", size=64, steps=3)
    assert list(pictures) == [7, 3] and made["silent"] == []
    for channel, recipe in zip(pictures, made["recipes"], strict=True):
        expected = ChannelRecipe(layer="inception3b", channel=channel, size=64, steps=3)
        assert read_recipe(pictures[channel]) == ChannelRecipe.from_dict(recipe) == expected
        assert pictures[channel].name == f"channel-inception3b-{channel}-seed0.png"
        *_, frame = engine.channel(expected)
        with Image.open(pictures[channel]) as image:
            difference = np.abs(np.asarray(image, float) - np.asarray(frame.picture(), float))
        assert difference.mean() < 1  # There in a batch, here alone.


def test_channels_are_raised_in_a_photo(client: Client) -> None:
    pictures, made = visualize(client, image=PHOTO, channels="80", size=128, steps=8)
    with Image.open(pictures[80]) as image:
        assert image.size == (128, 85)
    assert pictures[80].name == "channel-cat-inception4c-80-seed0.png"
    assert made["recipes"] == [ChannelRecipe(channel=80, size=128, steps=8).to_dict()]


def test_the_top_channels_of_a_photo_are_raised_in_it(client: Client, engine: Engine) -> None:
    pictures, _ = visualize(client, image=PHOTO, channels="top", size=64, steps=4)
    top = engine.response(load_image(CAT), layer="inception4c").top(8)
    assert list(pictures) == [answer.channel for answer in top]


def test_top_channels_are_ranked_shown_and_marked(client: Client, engine: Engine) -> None:
    given = {"x": 225, "y": 75, "count": 3, "size": 64, "steps": 2}
    gallery, where, answers = client.predict(PHOTO, **given, api_name="/top_channels")
    top = engine.response(load_image(CAT), layer="inception4c").top(3, (0.5, 0.25))
    assert [answer["channel"] for answer in answers] == [answer.channel for answer in top]
    assert answers[0]["strength"] == pytest.approx(top[0].strength, rel=0.02)
    assert [each["caption"] for each in gallery] == [str(answer.channel) for answer in top]
    with Image.open(where) as image:
        assert image.size == (448, 298)


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("visualize_channel", {"channels": "top"}, "top needs an image; send one"),
        (
            "top_channels",
            {"image": PHOTO, "x": 451, "y": 5},
            "the spot 451, 5 lies outside .* 451 x",
        ),
    ],
)
def test_channels_of_a_photo_need_one_and_a_spot_within_it(
    name: str, given: dict[str, Any], message: str, client: Client
) -> None:
    with pytest.raises(AppError, match=message):
        client.predict(**given, api_name=f"/{name}")


def test_a_class_image_comes_with_its_recipe_and_verdict(client: Client, engine: Engine) -> None:
    path, recipe, verdict = client.predict(
        target="flamingo", size=96, steps=30, api_name="/class_image"
    )
    expected = ClassRecipe(target="flamingo", size=96, steps=30)
    assert Path(path).name == "class-flamingo-seed0.png"
    assert read_recipe(path) == ClassRecipe.from_dict(recipe) == expected
    *_, frame = engine.class_image(expected)
    assert is_frame(path, frame)
    after = engine.verdict(frame.tensor, expected)
    assert verdict["after"]["logit"] == pytest.approx(after.logit, rel=1e-3)
    assert verdict["after"]["logit"] > verdict["before"]["logit"]
    assert verdict["after"]["rank"] < verdict["before"]["rank"]
    assert [name for name, _ in verdict["after"]["seen"]] == [name for name, _ in after.seen]


def test_a_class_is_raised_in_a_photo(client: Client) -> None:
    path, recipe, _ = client.predict(
        target="tiger", image=PHOTO, size=96, steps=4, api_name="/class_image"
    )
    with Image.open(path) as image:
        assert image.size == (96, 64)
    assert Path(path).name == "class-tiger-cat-seed0.png" and recipe["size"] == 96


def test_previews_come_while_it_dreams(client: Client) -> None:
    job = client.submit(image=PHOTO, octaves=3, iterations=40, max_side=256, api_name="/deep_dream")
    job.result(timeout=120)
    *previews, (path, recipe) = job.outputs()
    assert len(previews) >= 2 and all(answer is None for _, answer in previews)
    assert {Path(preview).suffix for preview, _ in previews} == {".jpg"}
    assert recipe == read_recipe(path).to_dict()


def test_callers_at_once_get_what_callers_alone_get(client: Client) -> None:
    seeds = range(4)
    alone = [Path(dream(client, **QUICK, seed=seed)[0]).read_bytes() for seed in seeds]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        answers = pool.map(lambda seed: dream(client, **QUICK, seed=seed), seeds)
        together = [Path(path).read_bytes() for path, _ in answers]
    assert together == alone


def test_a_mask_sent_keeps_the_rest_as_it_is(client: Client, tmp_path: Path) -> None:
    mask = Image.new("L", (451, 300))
    mask.paste(255, (0, 0, 225, 300))
    mask.save(tmp_path / "mask.png")
    path, recipe = dream(
        client, mask=handle_file(str(tmp_path / "mask.png")), iterations=2, keep_colours=True
    )
    photo, dreamed = load_image(CAT), load_image(path)
    assert torch.equal(dreamed[..., 225:], photo[..., 225:])
    assert (dreamed - photo)[..., :225].abs().mean() * 255 > 1
    assert recipe["mask"].startswith("data:image/png;base64,") and recipe["keep_colours"]
    assert read_recipe(path) == DreamRecipe.from_dict(recipe)


def test_a_guide_sent_is_followed_as_in_python(client: Client, engine: Engine) -> None:
    guide = str(EXAMPLES / "rocket.jpg")
    path, recipe = dream(client, **QUICK, guide=handle_file(guide))
    assert (recipe["objective"], recipe["layer"]) == ("likeness", "inception5a")
    expected = DreamRecipe(**QUICK, guide=embed_guide(guide))
    assert DreamRecipe.from_dict(recipe) == engine.settle(expected)
    *_, frame = engine.dream(load_image(CAT), expected)
    assert is_frame(path, frame)


def test_a_sheet_comes_with_the_recipe_of_each_picture(client: Client) -> None:
    lists = {"layers": "inception3b, inception4c", "intensities": "1,3"}
    path, recipes = client.predict(PHOTO, **lists, max_side=96, octaves=1, api_name="/compare")
    assert Path(path).name == "sheet-cat.png"
    with Image.open(path) as image:
        assert image.size == (2 * (96 + 6) + 6, 2 * (64 + 18 + 6) + 6)
    assert [(each["layer"], each["intensity"]) for each in recipes] == [
        (layer, intensity) for layer in ("inception3b", "inception4c") for intensity in (1, 3)
    ]


def test_the_presets_can_be_sent_as_they_come(client: Client) -> None:
    named = client.predict(api_name="/presets")
    assert {name: DreamRecipe.from_dict(each) for name, each in named.items()} == presets()
    knobs = {key: each for key, each in named["Subtle"].items() if key not in ("deepdream", "kind")}
    given = {key: each for key, each in knobs.items() if each not in (None, "")} | {"max_side": 64}
    _, recipe = dream(client, **given)
    assert DreamRecipe.from_dict(recipe) == presets()["Subtle"].with_changes(max_side=64)


@pytest.mark.parametrize("name", KNOB_VALUES)
def test_every_knob_arrives_in_the_recipe(name: str, client: Client, engine: Engine) -> None:
    # `test_render` tests what the recipe does.
    given = {"max_side": 128, "iterations": 0} | {name: KNOB_VALUES[name]}
    path, recipe = dream(client, **given)
    expected = engine.settle(DreamRecipe(**given))
    assert DreamRecipe.from_dict(recipe) == read_recipe(path) == expected
