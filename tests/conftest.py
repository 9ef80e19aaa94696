"""Shared fixtures and helpers: Dreamlet's weights, example photos and small images."""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httpx
import pytest
import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from dream import DreamRecipe, Engine, Frame, load_image
from dream.networks import catalogue, weights
from dream.networks.convolution import HAS_DETERMINISTIC_ONEDNN
from dream.networks.network import Network
from dream.recipe import Recipe
from dream.render import kinds
from dream.render.job_loop import run_jobs
from dream.tensors import size_of, to_tensor
from tests.support.server import run_app

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ["HF_HUB_OFFLINE"] = "1"
# Each run has its own cache and ignores the one in the user's home.
os.environ["DREAM_CACHE_DIR"] = tempfile.mkdtemp(prefix="dream-tests-")
atexit.register(shutil.rmtree, os.environ["DREAM_CACHE_DIR"], ignore_errors=True)
# A shell's background jobs ignore Ctrl-C, and the tested commands would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
# Weights of real networks beside this checkout, if any, and ten classes that they judge.
REAL_WEIGHTS_FOLDER = ROOT.parent / "shared" / "weights"
TEN_CLASSES = (
    *("goldfish", "green snake", "flamingo", "tabby", "ladybug"),
    *("volcano", "pizza", "daisy", "school bus", "jellyfish"),
)

# Shipped images are remade bit by bit on any x86-64 with the torch that made them.
SHIPPED_TORCH_VERSION = "2.14."
CAN_REMAKE = HAS_DETERMINISTIC_ONEDNN and torch.__version__.startswith(SHIPPED_TORCH_VERSION)


# Values of knobs that each change a small dream.
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
    "keep_colours": 0.25,
    "seed": 7,
    "max_side": 180,
    "tile": 128,
    "seamless": "all",
    "quiet": 0.5,
}


def hook_activations(
    network: Network, picture: Tensor, *layers: str, whole: nn.Module | None = None
) -> list[Tensor]:
    """Read layers by hooks on the whole network, which the package never uses."""
    whole, seen = whole or network.network, dict[str, Tensor]()

    def keep(layer: str) -> RemovableHandle:
        # A copy, since the next layer may work in place.
        return whole.get_submodule(layer).register_forward_hook(
            lambda _module, _input, output: seen.update({layer: output.clone()})
        )

    handles = [keep(layer) for layer in layers]
    whole(((picture - network.mean) / network.std).to(network.dtype))
    for handle in handles:
        handle.remove()
    return [seen[layer] for layer in layers]


def render_recipes(
    network: Network, recipes: Sequence[Recipe], picture: Tensor | None = None
) -> Iterator[Frame]:
    """Yield the frames of recipes on this network, without an engine."""
    settled = [recipe.with_defaults("cpu", picture is not None) for recipe in recipes]
    jobs = kinds.plan(settled, None if picture is None else size_of(picture))
    return run_jobs(jobs, [kinds.ascents(network, job, picture) for job in jobs], lambda _: 1.0)


def change(one: Tensor, other: Tensor) -> float:
    """Return the mean absolute difference in grey levels of 255."""
    return (one - other).abs().mean().item() * 255


def dream_tensor(engine: Engine, picture: Tensor, recipe: DreamRecipe) -> Tensor:
    """Return the finished dream (1, 3, H, W) of an image."""
    *_, frame = engine.dream(picture, recipe)
    return frame.tensor


def spy(owner: type, name: str) -> Any:
    """Return a patch that records the calls of a method, and makes them."""
    return patch.object(owner, name, autospec=True, side_effect=getattr(owner, name))


def is_frame(path: Path | str, frame: Frame) -> bool:
    """Return whether an image file shows exactly this frame."""
    return torch.equal(load_image(path), to_tensor(frame.picture()))


@contextmanager
def scarce_memory(is_too_much: Callable[[Tensor], bool]) -> Iterator[None]:
    """Let networks run out of memory at images (N, 3, H, W) that are too much."""
    evaluate = Network.value_and_grad

    def value_and_grad(self: Network, *given: Any, **about: Any) -> Any:
        inner = evaluate(self, *given, **about)

        def within(pictures: Tensor) -> Any:
            if is_too_much(pictures):
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB.")
            return inner(pictures)

        return within

    with patch.object(Network, "value_and_grad", value_and_grad):
        yield


@contextmanager
def use_threads(count: int) -> Iterator[None]:
    """Let torch use `count` threads until the block ends."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def load_dreamlet(dtype: torch.dtype = torch.float32) -> Network:
    """Load Dreamlet on the CPU, with the shipped weights."""
    card = catalogue.get_card("dreamlet")
    path = weights.find_weights(card)
    assert path
    return Network(card, torch.device("cpu"), dtype, path)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Let tests that are coroutines (`pytest.mark.anyio`) run in asyncio."""
    return "asyncio"


@pytest.fixture(scope="session")
def engine() -> Engine:
    """Return an engine on the CPU, in Dreamlet's default precision or `DREAM_PRECISION`."""
    return Engine("cpu")


@pytest.fixture(scope="session")
def app_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the path of the log of the app at `address`."""
    return tmp_path_factory.mktemp("app") / "log"


@pytest.fixture(scope="session")
def address(app_log: Path) -> Iterator[str]:
    """Run the app with no Space's settings; yield its address. Tests must not change its state."""
    at_home = {"SYSTEM": "", "SPACE_ID": "", "SPACE_HOST": ""}
    at_home["DREAM_TIME_LIMIT"] = "600"  # Three tests at a time slow the machine down.
    with run_app(app_log, **at_home) as address:
        yield address


@pytest.fixture(scope="module")
def api(address: str) -> Iterator[httpx.Client]:
    """Yield a client of the app's API."""
    with httpx.Client(base_url=f"{address}/gradio_api", timeout=60) as client:
        yield client


@pytest.fixture(scope="session")
def network() -> Network:
    """Return Dreamlet in float32, to compare with references."""
    return load_dreamlet()


@pytest.fixture(scope="session")
def network64() -> Network:
    """Return Dreamlet in float64, a reference that is the same on every processor."""
    return load_dreamlet(torch.float64)


@pytest.fixture(scope="session")
def cat() -> Tensor:
    """Return a photo of 451 x 300."""
    return load_image(EXAMPLES / "cat.jpg")


@pytest.fixture
def noise() -> Tensor:
    """Return a small noise image with odd sides, 67 x 45."""
    return torch.rand(1, 3, 45, 67, generator=torch.Generator().manual_seed(7))


@pytest.fixture
def quick() -> DreamRecipe:
    """Return a dream of a second or less: two octaves of two steps."""
    return DreamRecipe(octaves=2, iterations=2, max_side=128)


@pytest.fixture
def uploads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let uploads and outputs of the page be files of this test; return their folder."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    return tmp_path


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Let torch use one thread, for comparisons bit by bit across threads."""
    with use_threads(1):
        yield


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the path of the log of a file's own server."""
    return tmp_path_factory.mktemp("server") / "log"
