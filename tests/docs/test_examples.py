"""Page, API and command line accept each example of help texts, fields and docs/."""

import argparse
import asyncio
import io
import math
import re
import shutil
import sys
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import httpx
import pytest

from dream import Engine
from dream import __main__ as command_line
from dream.page import app
from dream.page.blocks import ValidatedBlocks
from dream.service.job_runner import JobRunner
from tests.conftest import EXAMPLES, ROOT
from tests.support.api import call, send_to_page, upload
from tests.support.videos import pan, write_video

# Such as "0 s: inception4c; 5 s: inception3b seed 7", "inception5a>inception3b:0.5", "0-15".
EXAMPLE = re.compile(
    r"(?:\d+ s: \w+(?: seed \d+)?(?:; )?)+"
    r"|\b[A-Za-z]\w*(?:[:,>]\w+(?:\.\d+)?)+|\b\d+(?:[:,-]\d+(?:\.\d+)?)+|(?<=\b[Aa]s )\w*\d\w*"
)
ZOOM_ONLY = "Only a zoom takes keyframes; give a layer such as inception4c"
CAT = EXAMPLES / "cat.jpg"
# Everything else is small; a sheet of the API or the command line has two dreams.
SMALL: dict[str, Any] = {"octaves": 1, "iterations": 1, "steps": 1, "tries": 1, "count": 1}
SMALL |= {"max_side": 64, "size": 64, "seconds": 0.5, "fps": 4}
SHEET = {"intensities": "3,6"}

pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture(scope="module")
def files(api: httpx.Client, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Upload a photo and a video; return them by the names of their fields."""
    film = write_video(tmp_path_factory.mktemp("film") / "film.mp4", pan(2))
    photo, video = ({"path": upload(api, each)} for each in (CAT, film))
    return {
        **{"image": photo, "Your photo": photo, "Your photos": [photo]},
        **{"video": video, "Your video": video},
    }


@lru_cache
def endpoint_docs() -> dict[str, str]:
    """Return the endpoints' docstrings."""

    async def build_page() -> ValidatedBlocks:  # Outside of a loop, Gradio would leave one open.
        return app.build_page(JobRunner(Engine("cpu")))

    fns = asyncio.run(build_page()).fns.values()
    public = [each for each in fns if each.api_visibility == "public"]
    return {str(each.api_name): each.fn.__doc__ or "" for each in public}


def api_examples() -> Iterator[tuple[str, str, dict[str, Any], str]]:
    """Yield endpoint, parameter, all parameters' texts and example, each at one endpoint."""
    seen = set()
    for endpoint, doc in endpoint_docs().items():
        about = dict(re.findall(r"^ +(\w+): (.*)$", doc, re.MULTILINE))
        for name, said in about.items():
            for example in EXAMPLE.findall(said):
                if (name, example) not in seen:
                    seen.add((name, example))
                    yield endpoint, name, about, example


def command_examples() -> Iterator[tuple[str, argparse.ArgumentParser, str, str]]:
    """Yield command, parser, option and example, each example of an option at one command."""
    seen = set()
    actions = command_line._build_parser()._actions
    (below,) = (each for each in actions if isinstance(each, argparse._SubParsersAction))
    for name, parser in below.choices.items():
        for option, action in parser._option_string_actions.items():
            for example in EXAMPLE.findall(action.help or ""):
                if (option, example) not in seen:
                    seen.add((option, example))
                    yield name, parser, option, example


def test_the_api_takes_its_examples(api: httpx.Client, files: dict[str, Any]) -> None:
    tried = list(api_examples())
    for endpoint, name, about, example in tried:
        small = {each: value for each, value in (files | SMALL | SHEET).items() if each in about}
        good, said = call(api, endpoint, small | {name: example})
        assert good, (endpoint, name, example, said)
    assert len(tried) >= 9


def test_the_page_takes_its_examples(
    address: str, api: httpx.Client, files: dict[str, Any]
) -> None:
    config = httpx.get(f"{address}/config").json()
    fields = {each["id"]: each["props"] for each in config["components"]}
    tried = 0
    for field, about in fields.items():
        hints = f"{about.get('info')} {about.get('placeholder')}"
        runs = [each for each in config["dependencies"] if each["backend_fn"] and each["queue"]]
        for run in (each for each in runs if field in each["inputs"]):
            values = {each: field_value(fields[each], files) for each in run["inputs"]}
            films = "Your video" in [fields[each].get("label") for each in values]
            for example in EXAMPLE.findall(hints):
                data = list((values | {field: example}).values())
                refused = f"{ZOOM_ONLY}." if films and " s: " in example else ""
                assert warning_of(api, run["id"], data) == refused, (about["label"], run, example)
                tried += 1
    assert tried >= 9


def field_value(about: dict[str, Any], files: dict[str, Any]) -> Any:
    """Return a field's initial value or a small one; a button press has no label."""
    name = about.get("label") or ""
    knob = name.partition(",")[0].lower().replace(" ", "_")
    return files.get(name) or SMALL.get(knob, about.get("value") if name else "pressed")


def warning_of(api: httpx.Client, run: int, data: list[Any]) -> str:
    """Send an event of the page this data; return the warnings it logs."""
    told = send_to_page(api, run, data)
    (last,) = (each for each in told if each["msg"] == "process_completed")
    assert last["success"], last["output"]
    return " ".join(each["log"] for each in told if each["msg"] == "log")


def test_the_command_line_takes_its_examples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    (tmp_path / "photos").mkdir()
    shutil.copy(CAT, tmp_path / "photos")
    film = write_video(tmp_path / "film.mp4", pan(2))
    out = {name: ["-o", str(tmp_path / "out.png")] for name in ("image", "sheet", "channel")}
    out |= {name: ["-o", str(tmp_path / "out.mp4")] for name in ("zoom", "video", "making-of")}
    out |= {"pipe": ["--size", "320x240"], "batch": [str(tmp_path / "out"), "--yes"]}
    taken = {"channel": [], "pipe": [], "video": [str(film)], "batch": [str(tmp_path / "photos")]}
    for command, parser, option, example in command_examples():
        given = [*taken.get(command, [str(CAT)]), *out[command]]
        for name, value in (SMALL | SHEET).items():
            own = f"--{name.replace('_', '-')}"
            takes = own in parser._option_string_actions and own not in given
            given += [own, str(value)] if takes else []
        if command == "pipe":
            size = example if option == "--size" else "320x240"
            frame = bytes(3 * math.prod(map(int, size.split("x"))))
            monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(frame)))
        code = command_line.main([command, *given, option, example])
        assert code == 0, (command, option, example, capfdbinary.readouterr().err)


def test_docs_give_no_other_examples() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    docs = "\n".join(page.read_text(encoding="utf-8") for page in pages)
    texts = re.sub(r"^```.*?^```$", "", docs, flags=re.DOTALL | re.MULTILINE)
    spans = re.findall(r"`([^`\n]+)`", texts)
    shown = {example for each in spans for example in EXAMPLE.findall(each)} - {"cuda:1"}
    tried = {example for *_, example in (*api_examples(), *command_examples())}
    # A sweep's example, tested with the commands of docs/.
    assert shown - {"inception3b:0.5,inception4c"} <= tried and len(shown) >= 4
