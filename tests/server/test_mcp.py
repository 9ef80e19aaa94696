"""The app as tools for LLMs: what an MCP client finds, and what the tools answer.

Gradio's extra "mcp" needs an older pydantic than the other tests use, so it is installed into its
own folder, which comes first on the path of the app and the client.
"""

import base64
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from gradio_client import Client
from PIL import Image

from dream import DreamRecipe, Engine, load_image, read_recipe
from dream.page.blocks import NOT_UPLOADED_MESSAGE
from dream.page.server.request_bodies import MAX_MCP_BYTES
from dream.recipe.presets import presets
from tests.conftest import EXAMPLES, ROOT
from tests.support.api import data_uri
from tests.support.attacks import send_strings, send_value_bombs
from tests.support.server import run_app
from tests.support.space import install

CAT = EXAMPLES / "cat.jpg"
CAT_URI = data_uri(CAT.read_bytes())
PINS = ROOT / "tests" / "support" / "mcp-requirements.txt"
QUICK: dict[str, Any] = {"octaves": 1, "iterations": 1, "max_side": 128}

# The extra takes long to install, and the app to start with it.
pytestmark = [pytest.mark.filterwarnings("default"), pytest.mark.at_scale]


@pytest.fixture(scope="module")
def mcp_folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Install gradio's extra "mcp" into a folder."""
    folder = tmp_path_factory.mktemp("extra")
    install("--no-deps", "--target", str(folder), "-r", str(PINS))
    return str(folder)


@pytest.fixture(scope="module")
def address(mcp_folder: str, log: Path) -> Iterator[str]:
    with run_app(log, PYTHONPATH=mcp_folder) as address:
        yield address


@dataclass(frozen=True)
class Session:
    """A client of the server, in a subprocess."""

    process: subprocess.Popen[str]

    def ask(self, *calls: tuple[str, dict[str, Any]], progress: bool = True) -> dict[str, Any]:
        """Make calls in one session; return the client's answer."""
        assert self.process.stdin and self.process.stdout
        print(
            json.dumps([(*call, progress) for call in calls]), file=self.process.stdin, flush=True
        )
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer

    def call(self, tool: str, progress: bool = True, **arguments: Any) -> Any:
        """Call a tool; return whether it failed, and its contents."""
        (result,) = self.ask((tool, arguments), progress=progress)["results"]
        return result["isError"], result["content"]


@pytest.fixture(scope="module")
def mcp(address: str, mcp_folder: str) -> Iterator[Session]:
    with subprocess.Popen(
        [sys.executable, "-m", "tests.support.mcp_client", address],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": mcp_folder},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield Session(process)
        process.kill()


@pytest.fixture(scope="module")
def tools(mcp: Session) -> dict[str, dict[str, Any]]:
    """Return the tools by name."""
    answer = mcp.ask()
    assert answer["server"] == "Deep Dream"
    return {tool["name"]: tool for tool in answer["tools"]}


def test_the_tools_are_the_endpoints_with_their_parameters_and_defaults(
    address: str, tools: dict[str, dict[str, Any]]
) -> None:
    api = Client(address, verbose=False).view_api(return_format="dict", print_info=False)
    endpoints = {name.strip("/"): each for name, each in api["named_endpoints"].items()}
    assert set(tools) == set(endpoints) and len(tools) == 9
    for name, endpoint in endpoints.items():
        schema = tools[name]["inputSchema"]
        parameters = {each["parameter_name"]: each for each in endpoint["parameters"]}
        assert list(schema["properties"]) == list(parameters), name
        needed = [key for key, each in parameters.items() if not each["parameter_has_default"]]
        assert schema.get("required", []) == needed, name
        for key, parameter in parameters.items():
            # Gradio omits falsy defaults from a schema.
            default = parameter["parameter_default"] if key not in needed else None
            assert schema["properties"][key].get("default") == (default or None), (name, key)


def test_every_tool_and_parameter_is_explained_in_whole_sentences(
    tools: dict[str, dict[str, Any]],
) -> None:
    for name, tool in tools.items():
        assert len(tool["description"]) > 40, name
        for parameter, schema in tool["inputSchema"]["properties"].items():
            # Gradio reads one line of each and drops the next.
            assert re.fullmatch(r"\S.{14,}\.", schema.get("description", "")), (name, parameter)


def linked_recipe(link: str, folder: Path) -> DreamRecipe:
    """Download a file; return its recipe."""
    (folder / "dream.png").write_bytes(httpx.get(link).raise_for_status().content)
    return read_recipe(folder / "dream.png", DreamRecipe)


def test_an_llm_dreams_and_sees_the_dream(mcp: Session, engine: Engine, tmp_path: Path) -> None:
    error, (picture, link, said) = mcp.call("deep_dream", image=CAT_URI, **QUICK)
    assert not error and picture["type"] == "image" and picture["mimeType"] == "image/png"
    recipe = DreamRecipe(**QUICK)
    *_, frame = engine.dream(load_image(CAT), recipe)
    seen = Image.open(io.BytesIO(base64.b64decode(picture["data"])))
    assert seen.tobytes() == frame.picture().tobytes()
    assert str(engine.settle(recipe).to_dict()) == said["text"]
    found = linked_recipe(link["text"].removeprefix("Image URL: "), tmp_path)
    assert found == engine.settle(recipe)


def test_a_client_that_asks_for_no_progress_gets_the_address_of_the_dream(
    address: str, mcp: Session, engine: Engine, tmp_path: Path
) -> None:
    error, (said,) = mcp.call("deep_dream", False, image=CAT_URI, **QUICK)
    (link,) = re.findall(rf"'url': '({address}/gradio_api/file=[^']+\.png)'", said["text"])
    assert not error and linked_recipe(link, tmp_path) == engine.settle(DreamRecipe(**QUICK))


def test_the_presets_are_told(mcp: Session) -> None:
    error, (said,) = mcp.call("presets")
    assert not error
    assert said["text"] == str({name: recipe.to_dict() for name, recipe in presets().items()})


def test_channels_and_class_images_are_made(mcp: Session) -> None:
    shown = ("visualize_channel", {"channels": "7,80", "size": 64, "steps": 2})
    made = ("class_image", {"target": "flamingo", "size": 64, "steps": 2})
    channels, flamingo = mcp.ask(shown, made)["results"]
    assert not channels["isError"] and not flamingo["isError"], flamingo
    assert "channel-inception4c-80-seed0.png" in channels["content"][0]["text"]
    assert flamingo["content"][0]["type"] == "image"
    assert "'target': 'flamingo'" in flamingo["content"][-1]["text"]


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"octaves": 99}, "octaves must be a whole number from 1 to 10, not 99"),
    ({"layer": "foo"}, "layer 'foo' is not in dreamlet; try "),
    ({"octaves": "many"}, "'many' is not of type 'integer'"),
    ({"image": "data:image/png;base64,aGVsbG8="}, "file.png is not an image this program reads"),
    ({"image": "examples/cat.jpg"}, "provide a url .* Received: examples/cat.jpg"),
]


@pytest.mark.parametrize("progress", [True, False])
def test_what_is_wrong_is_said(progress: bool, mcp: Session) -> None:
    base = {"image": CAT_URI, **QUICK}
    calls = [("deep_dream", base | wrong) for wrong, _ in WRONG]
    results = mcp.ask(*calls, progress=progress)["results"]
    for result, (_, message) in zip(results, WRONG, strict=True):
        (said,) = result["content"]
        assert result["isError"] and re.search(message, said["text"])


def test_an_address_within_the_servers_own_network_is_not_fetched(
    address: str, mcp: Session
) -> None:
    with CAT.open("rb") as file:
        (path,) = httpx.post(f"{address}/gradio_api/upload", files={"files": file}).json()
    link = f"{address}/gradio_api/file={path}"
    assert httpx.get(link).content == CAT.read_bytes()
    error, _ = mcp.call("deep_dream", image=link, **QUICK)
    assert error


def test_no_tool_has_the_server_upload_a_file_of_its_own(address: str) -> None:
    # Gradio's client, which the server uses internally, uploads files that a dict names.
    image = {"path": str(CAT), "meta": {"_type": "gradio.FileData"}}
    given = {"name": "deep_dream", "arguments": {"image": image}}
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": given}
    answer = httpx.post(f"{address}/gradio_api/mcp/", json=call)
    assert answer.status_code == 422 and NOT_UPLOADED_MESSAGE in answer.text


def test_large_bodies_stop_nobody_and_larger_ones_are_refused(address: str) -> None:
    path = "/gradio_api/mcp/"
    for size in (MAX_MCP_BYTES, 15_990_000):
        assert send_strings(address, 8, size, path).statuses == {413: 8}
    assert send_value_bombs(address, 1, values=1_000_000, path=path).statuses == {413: 1}
    seen = send_strings(address, 8, MAX_MCP_BYTES - 4, path)
    assert seen.statuses.keys() <= {200, 400, 406}, seen  # This is no MCP message.
    assert seen.peak - seen.before < 250 and seen.longest_wait < 3


def test_readme_configures_a_client_for_the_address_of_make_run() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (configuration,) = re.findall(r"```json\n(.*?)```", readme, re.DOTALL)
    (server,) = json.loads(configuration)["mcpServers"].values()
    assert server == {"url": "http://127.0.0.1:7860/gradio_api/mcp/"}
    assert 'pip install -e ".[mcp]" -c constraints.txt' in readme


def test_every_route_of_the_installed_mcp_server_is_open(address: str) -> None:
    route = f"{address}/gradio_api/mcp"
    assert httpx.get(f"{route}/schema").status_code == 200
    with httpx.stream("GET", f"{route}/sse") as stream:
        lines = stream.iter_lines()
        assert next(lines) == "event: endpoint"
        messages = next(lines).removeprefix("data: ")
    assert messages.startswith("/gradio_api/mcp/messages/?session_id=")
    for method, end in (("GET", ""), ("POST", ""), ("POST", "/"), ("DELETE", "/")):
        said = httpx.request(method, route + end).text
        assert "there is nothing at this address" not in said
