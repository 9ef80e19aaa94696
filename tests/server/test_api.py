"""The API as clients see it: its contract, and the docs' snippets in three languages."""

import itertools
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from gradio_client import Client
from PIL import Image

from dream import (
    ChannelRecipe,
    ClassRecipe,
    DreamRecipe,
    Engine,
    VideoRecipe,
    ZoomRecipe,
    load_image,
    read_recipe,
)
from dream.files.video_reader import read_video_info
from dream.recipe.presets import presets
from tests.conftest import EXAMPLES, ROOT
from tools import contract

PROMISED = json.loads(contract.FILE.read_text())
# How each language runs a snippet.
LANGUAGES = {
    "python": [sys.executable, "-c"],
    "js": ["node", "--input-type=module", "-e"],
    "bash": ["bash", "-c"],
}
NODE_MODULES = ROOT / "tests" / "node_modules"

pytestmark = pytest.mark.filterwarnings("default")


# How a snippet names its endpoint, in each language.
CALL = re.compile(r'api_name="(/\w+)"|client\.predict\("(/\w+)"|\$API/call/v2(/\w+)')


def doc_pages() -> list[str]:
    """Return the pages with snippets, README first."""
    return [(ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "docs/api.md")]


def called_endpoint(snippet: str) -> str:
    """Return the one endpoint that a snippet calls."""
    (endpoint,) = ("".join(found) for found in CALL.findall(snippet))
    return endpoint


def snippets() -> list[tuple[str, str, str]]:
    """Return the snippets that call the API as (endpoint, language, code)."""
    blocks = re.findall(r"^```(\w+)\n(.*?)^```$", "\n".join(doc_pages()), re.DOTALL | re.MULTILINE)
    return [
        (called_endpoint(code), language, code)
        for language, code in blocks
        if language in LANGUAGES and "http://127.0.0.1:7860" in code
    ]


def test_the_api_is_what_was_promised(address: str) -> None:
    now = contract.contract_json(Client(address, verbose=False))
    assert now.splitlines() == contract.FILE.read_text().splitlines(), (
        "the API is not what tests/contract.json promises to its clients. "
        "If you meant to change it, run `make contract` and say so in CHANGELOG.md."
    )


def test_every_endpoint_is_shown_once_in_every_language() -> None:
    shown = sorted((endpoint, language) for endpoint, language, _ in snippets())
    assert shown == sorted(itertools.product(PROMISED, LANGUAGES))


def test_a_snippet_stands_below_the_endpoint_that_it_calls() -> None:
    readme, api = doc_pages()
    section = api.split("\n## The API\n")[1].split("\n## ")[0]
    _, *parts = re.split(r"^### `(/\w+)`$", section, flags=re.MULTILINE)
    assert set(parts[::2]) == set(PROMISED)
    for endpoint, text in zip(parts[::2], parts[1::2], strict=True):
        assert {"".join(found) for found in CALL.findall(text)} == {endpoint}
    assert len(CALL.findall(readme)) == 1


def test_the_snippets_of_an_endpoint_give_the_same_parameters() -> None:
    code = {(endpoint, language): text for endpoint, language, text in snippets()}
    for endpoint in PROMISED:
        given = dict(re.findall(r'(\w+)=(\d+|"[^"]*")[,)\n]', code[endpoint, "python"]))
        given.pop("api_name", None)
        for name, value in given.items():
            assert re.search(rf"\b{name}: {re.escape(value)}", code[endpoint, "js"]), endpoint
            assert f'"{name}": {value}' in code[endpoint, "bash"], endpoint


# In JavaScript and bash the endpoints differ by name and parameters alone, but for what they take
# and return: a photo and a file, nothing and JSON, numbers and a gallery.
SHAPES = ("/deep_dream", "/presets", "/visualize_channel")


@pytest.mark.parametrize(
    ("endpoint", "language"),
    [("/deep_dream", language) for language in LANGUAGES]
    + [
        pytest.param(endpoint, language, marks=pytest.mark.at_scale)
        for endpoint, language in itertools.product(PROMISED, LANGUAGES)
        if endpoint != "/deep_dream" and (language == "python" or endpoint in SHAPES)
    ],
)
def test_the_snippets_do_what_they_say(
    endpoint: str,
    language: str,
    address: str,
    engine: Engine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    command = LANGUAGES[language]
    needed = [command[0], "curl"] if language == "bash" else [command[0]]
    for program in needed:
        if not shutil.which(program):
            pytest.skip(f"no {program} here")
    if language == "js" and not NODE_MODULES.exists():
        pytest.skip("no @gradio/client for Node here; `make test` installs it")
    (tmp_path / "examples").symlink_to(EXAMPLES)
    (tmp_path / "node_modules").symlink_to(NODE_MODULES)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    (snippet,) = (code for *which, code in snippets() if which == [endpoint, language])
    snippet = snippet.replace("http://127.0.0.1:7860", address)
    if language == "python" and endpoint != "/deep_dream":
        # One snippet starts Python itself, as its user does.
        exec(compile(snippet, endpoint, "exec"), {})
    else:
        subprocess.run([*command, snippet], timeout=180, check=True)
    said, wrong = capfd.readouterr()
    print(said)  # The server's answer, shown where a check fails.
    assert not wrong, wrong
    CHECKS[endpoint](said, printed_files(said, tmp_path), engine)


@pytest.mark.skipif(not shutil.which("curl"), reason="no curl here")
def test_curl_prints_why_a_call_is_refused_and_the_log_stays_short(
    address: str, app_log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "examples").symlink_to(EXAMPLES)
    monkeypatch.chdir(tmp_path)
    before = len(app_log.read_text())
    (snippet,) = (code for *which, code in snippets() if which == ["/deep_dream", "bash"])
    snippet = snippet.replace("http://127.0.0.1:7860", address)
    refused = snippet.replace('{"path": "\'"$IMAGE"\'"}', '{"url": "http://127.0.0.1:9/cat.jpg"}')
    assert refused != snippet
    done = subprocess.run(["bash", "-c", refused], capture_output=True, text=True, timeout=60)
    assert "cannot be downloaded" in done.stdout and done.stdout.count("\n") <= 2, done.stdout
    answer = httpx.get(f"{address}/gradio_api/call/deep_dream/__type__")
    assert answer.status_code == 404 and "there is no such call" in answer.text
    assert "Traceback" not in app_log.read_text()[before:]


def printed_files(said: str, folder: Path) -> list[Path]:
    """Return the files that a snippet printed, downloaded where it printed links."""
    kind = r"[^\s'\"]+\.(?:png|jpg|mp4|webm|gif)"
    links = dict.fromkeys(re.findall(rf"https?://{kind}", said))
    for link in links:
        (folder / Path(link).name).write_bytes(httpx.get(link).raise_for_status().content)
    if links:
        return [folder / Path(link).name for link in links]
    return [Path(path) for path in dict.fromkeys(re.findall(rf"/{kind}", said))]


def values_of(name: str, said: str) -> list[str]:
    """Return a name's values in the output of Python or JavaScript, or in JSON."""
    found = re.findall(rf"\b{name}['\"]?: (?:['\"](.*?)['\"]|([\w.-]+))", said)
    return [text or number for text, number in found]


def check_dream(said: str, made: list[Path], engine: Engine) -> None:
    (dream,) = made
    assert read_recipe(dream) == engine.settle(DreamRecipe(layer="inception3b", intensity=4))
    assert (values_of("layer", said), values_of("intensity", said)) == (["inception3b"], ["4"])
    with Image.open(dream) as picture, Image.open(EXAMPLES / "cat.jpg") as photo:
        assert picture.size == photo.size


def check_sheet(said: str, made: list[Path], engine: Engine) -> None:
    (sheet,) = made
    assert values_of("layer", said) == ["inception3b"] * 2 + ["inception4c"] * 2
    assert values_of("intensity", said) == ["3", "6"] * 2
    with Image.open(sheet) as picture:
        assert picture.size == (2 * (160 + 6) + 6, 2 * (106 + 18 + 6) + 6)


def check_presets(said: str, made: list[Path], engine: Engine) -> None:
    creatures = presets()["Creatures"]
    said = said.split("Creatures")[-1]  # curl prints all presets.
    for name in ("layer", "intensity", "octaves", "scale"):
        assert values_of(name, said)[0] == str(getattr(creatures, name)), name


def check_channels(said: str, made: list[Path], engine: Engine) -> None:
    assert [read_recipe(each, ChannelRecipe) for each in made] == [
        engine.settle(ChannelRecipe(channel=channel, steps=64)) for channel in (7, 80)
    ]


def check_top(said: str, made: list[Path], engine: Engine) -> None:
    *shown, where = made
    photo = load_image(EXAMPLES / "cat.jpg")
    response = engine.response(photo, layer="inception4c")
    top = response.top(3, (180 / photo.shape[3], 110 / photo.shape[2]))
    channels = [each.channel for each in top]
    assert [read_recipe(each, ChannelRecipe).channel for each in shown] == channels
    assert [int(each) for each in values_of("channel", said)] == channels
    strengths = [each.strength for each in top]
    assert [float(each) for each in values_of("strength", said)] == pytest.approx(
        strengths, rel=0.02
    )
    with Image.open(where) as picture:
        assert picture.size == (448, 298)


def check_class(said: str, made: list[Path], engine: Engine) -> None:
    (picture,) = made
    assert read_recipe(picture, ClassRecipe) == engine.settle(
        ClassRecipe(target="flamingo", size=128, steps=80)
    )
    assert values_of("target", said)[-1] == "flamingo" and int(values_of("rank", said)[-1]) <= 3


def check_zoom(said: str, made: list[Path], engine: Engine) -> None:
    (film,) = made
    assert read_recipe(film) == ZoomRecipe(seconds=1, fps=8, max_side=96)
    assert (read_video_info(film).frame_count, read_video_info(film).size) == (8, (64, 96))


def check_video(said: str, made: list[Path], engine: Engine) -> None:
    (film,) = made
    assert read_recipe(film) == VideoRecipe(max_side=48, iterations=1)
    assert (film.suffix, read_video_info(film).frame_count) == (".webm", 72)


def check_making(said: str, made: list[Path], engine: Engine) -> None:
    (film,) = made
    assert read_recipe(film) == DreamRecipe(iterations=1, max_side=96)
    assert film.suffix == ".gif" and read_video_info(film).frame_count == 68


CHECKS = {
    "/deep_dream": check_dream,
    "/compare": check_sheet,
    "/presets": check_presets,
    "/visualize_channel": check_channels,
    "/top_channels": check_top,
    "/class_image": check_class,
    "/zoom": check_zoom,
    "/dream_video": check_video,
    "/making_of": check_making,
}
