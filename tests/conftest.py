"""What the tests share: real Dreamlet weights, the example photos, and small pictures."""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import struct
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from dream import DreamRecipe, Engine, Frame, load_image
from dream.networks import catalogue, weights
from dream.networks.convolution import HAS_DETERMINISTIC_ONEDNN
from dream.networks.network import Network
from dream.recipe import Recipe
from dream.render import kinds
from dream.render.loop import run_jobs
from dream.tensors import size_of
from tests.support.server import run_app

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ["HF_HUB_OFFLINE"] = "1"
# Nothing is kept from one run to the next, nor found in the home of whoever runs them.
os.environ["DREAM_CACHE_DIR"] = tempfile.mkdtemp(prefix="dream-tests-")
atexit.register(shutil.rmtree, os.environ["DREAM_CACHE_DIR"], ignore_errors=True)
# What a shell runs in the background is deaf to Ctrl-C, and so would be the commands tried.
signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"

# Where what ships is made anew bit by bit: on any x86-64, with the torch that made it.
SHIPPED_TORCH_VERSION = "2.14."
CAN_REMAKE = HAS_DETERMINISTIC_ONEDNN and torch.__version__.startswith(SHIPPED_TORCH_VERSION)


# `make test` gives file after file to three processes. The longest begin first, and those with a
# browser stand far enough apart that there is one at a time.
FILES_TO_RUN_FIRST = [
    f"test_{name}"
    for name in (
        *("browser", "api", "closed_doors", "app", "models", "zero", "render", "tile"),
        *("tracking", "docs", "cluster"),
        *("same", "gpu", "channels", "door", "class_image", "weights", "space", "mcp", "zoom"),
        *("saved_visit", "command_line", "many", "work", "start", "guide", "picture", "motion"),
        *("mask", "films", "live", "markup", "decoder"),
    )
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {name: place for place, name in enumerate(FILES_TO_RUN_FIRST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(FILES_TO_RUN_FIRST)))


# Values of knobs that each change the picture of a small dream.
KNOB_VALUES: dict[str, Any] = {
    "layer": "inception5a>inception3b:0.5",
    "channels": "7,12:0.5",
    "objective": "mean",
    "border": 2,
    "intensity": 9,
    "octaves": 3,
    "scale": 1.8,
    "iterations": 3,
    "step": 4.5,
    "rule": "adam",
    "jitter": 3,
    "smoothing": 2.0,
    "laplacian": 3,
    "total_variation": 0.5,
    "pull": 0.1,
    "keep_colours": True,
    "seed": 7,
    "max_side": 180,
    "tile": 128,
    "seamless": "all",
}


def png_header(width: int, height: int) -> bytes:
    """A PNG of a few bytes that says it is that large."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    return b"\x89PNG\r\n\x1a\n" + chunk + b"\0\0\0\0IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))


def whole_network_activation(network: Network, picture: Tensor, layer: str) -> Tensor:
    """By a hook on the whole network, which the package itself never uses."""
    seen: list[Tensor] = []
    module = network.network.get_submodule(layer)
    handle = module.register_forward_hook(lambda _module, _input, output: seen.append(output))
    network.network(((picture - network.mean) / network.std).to(network.dtype))
    handle.remove()
    return seen[0]


def render_recipes(
    network: Network, recipes: Sequence[Recipe], picture: Tensor | None = None
) -> Iterator[Frame]:
    """The frames of recipes on that very network, without an engine."""
    settled = [recipe.with_defaults("cpu", picture is not None) for recipe in recipes]
    jobs = kinds.plan(settled, None if picture is None else size_of(picture))
    return run_jobs(jobs, [kinds.ascents(network, job, picture) for job in jobs], lambda _: 1.0)


def difference(one: Tensor, other: Tensor) -> float:
    """Mean absolute difference in grey levels of 255."""
    return (one - other).abs().mean().item() * 255


@contextmanager
def use_threads(count: int) -> Iterator[None]:
    """Torch on so many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def load_dreamlet(dtype: torch.dtype = torch.float32) -> Network:
    """Dreamlet on the CPU, with the weights that ship."""
    card = catalogue.get_card("dreamlet")
    path = weights.find_weights(card)
    assert path
    return Network(card, torch.device("cpu"), dtype, path)


@pytest.fixture(scope="session")
def engine() -> Engine:
    """An engine on the CPU, in the precision that Dreamlet has there or `DREAM_PRECISION` says."""
    return Engine("cpu")


@pytest.fixture(scope="session")
def app_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the app at `address` says."""
    return tmp_path_factory.mktemp("app") / "log"


@pytest.fixture(scope="session")
def address(app_log: Path) -> Iterator[str]:
    """Where the app is served, as it is at home; to be left as it was found."""
    at_home = {"SYSTEM": "", "SPACE_ID": "", "SPACE_HOST": ""}
    at_home["DREAM_TIME_LIMIT"] = "600"  # What is slow is the machine, with three tests at a time.
    with run_app(app_log, **at_home) as address:
        yield address


@pytest.fixture(scope="session")
def network() -> Network:
    """Dreamlet in float32, to compare with references."""
    return load_dreamlet()


@pytest.fixture(scope="session")
def exact_network() -> Network:
    """Dreamlet in float64, to be compared with: the same on every processor."""
    return load_dreamlet(torch.float64)


@pytest.fixture(scope="session")
def cat() -> Tensor:
    """A photo of 451 x 300."""
    return load_image(EXAMPLES / "cat.jpg")


@pytest.fixture
def noise() -> Tensor:
    """A small odd-sized picture of noise, 67 x 45."""
    return torch.rand(1, 3, 45, 67, generator=torch.Generator().manual_seed(7))


@pytest.fixture
def small_dream() -> DreamRecipe:
    """A dream of a second or less: two octaves of two steps."""
    return DreamRecipe(octaves=2, iterations=2, max_side=128)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Torch on one thread, for what is compared bit by bit across threads."""
    with use_threads(1):
        yield


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The log of a server that the tests of a file have for themselves."""
    return tmp_path_factory.mktemp("server") / "log"
