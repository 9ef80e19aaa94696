"""The app on ZeroGPU, emulated: the real `spaces` package, a device API of our own, no GPU."""

import math
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

from dream import (
    ChannelRecipe,
    ClassRecipe,
    DreamRecipe,
    Engine,
    ZoomRecipe,
    load_image,
    read_recipe,
)
from dream.files.video import load_video
from dream.service.work import LENT_SECONDS
from tests.conftest import EXAMPLES
from tests.support.api import served_by
from tests.support.server import served
from tests.support.stream import streaming
from tests.support.videos import panned
from tests.support.zero import Call, device_api

pytest.importorskip("spaces", reason="the spaces package is not installed")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]

CAT = EXAMPLES / "cat.jpg"
QUICK: dict[str, Any] = {"octaves": 2, "iterations": 2, "max_side": 128}
# By how much ZeroGPU multiplies what is asked for on its present machines.
FACTOR = 1.5


@dataclass(frozen=True)
class Space:
    """A client of the app, and what the app asked of ZeroGPU so far."""

    client: Client
    calls: list[Call]

    def asked(self, name: str) -> list[dict[str, str]]:
        return [given for path, given in self.calls if path == name]

    def dream(self, **knobs: Any) -> tuple[str, dict[str, Any]]:
        answer: tuple[str, dict[str, Any]] = self.client.predict(
            handle_file(str(CAT)), api_name="/deep_dream", **knobs
        )
        return answer


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Space]:
    folder = tmp_path_factory.mktemp("zero")
    (folder / "weights").mkdir()
    (folder / "weights" / "squeezenet1_1.safetensors").write_bytes(b"no weights")
    with device_api() as (api, calls):
        environment = {
            "SPACES_ZERO_GPU": "true",
            "SPACES_ZERO_DEVICE_API_URL": api,
            "DREAM_WEIGHTS_DIR": str(folder / "weights"),
            "HOME": str(folder),
        }
        with served(folder / "log", "-m", "tests.support.zero", **environment) as address:
            files = str(folder / "files")
            yield Space(Client(address, verbose=False, download_files=files), calls)


@pytest.fixture
def space(running: Space) -> Space:
    """The Space, with what it asked before forgotten."""
    running.calls.clear()
    return running


def test_it_reports_that_it_started_and_settles_for_a_gpu(running: Space) -> None:
    assert running.calls[0] == ("/startup-report", {})
    _, recipe = running.dream(octaves=1, iterations=0)
    assert recipe["max_side"] == 1024


def test_a_dream_is_the_one_of_python_and_the_gpu_is_given_back(
    space: Space, engine: Engine
) -> None:
    path, recipe = space.dream(**QUICK, layer="inception3b", guide=handle_file(str(CAT)))
    *_, frame = engine.dream(load_image(CAT), DreamRecipe.from_dict(recipe))
    with Image.open(path) as image:
        assert image.tobytes() == frame.picture().tobytes()
    assert read_recipe(path) == DreamRecipe.from_dict(recipe)
    (asked,), (given_back,) = space.asked("/schedule"), space.asked("/release")
    assert given_back["fail"] == "false"
    assert int(asked["durationSeconds"]) < 10 * FACTOR


def test_a_default_dream_asks_for_little_of_what_a_visitor_has_and_more_for_more(
    space: Space,
) -> None:
    space.dream(max_side=240)
    space.dream(max_side=320, octaves=4, iterations=12)
    little, more = (int(asked["durationSeconds"]) for asked in space.asked("/schedule"))
    assert little < more <= LENT_SECONDS * FACTOR
    assert little <= 20  # of 120 that a visitor without an account has in a day


def test_the_process_of_before_is_asked_again(space: Space) -> None:
    for seed in (1, 2):
        space.dream(**QUICK, seed=seed)
    assert len(space.asked("/schedule")) == 2
    assert len(space.asked("/allow")) <= 1  # Said by each new process.


@pytest.mark.parametrize(
    ("knobs", "said"),
    [
        ({"intensity": 11}, "intensity must be"),
        ({"layer": "nowhere"}, "nowhere"),
        ({"max_side": 40}, "the network needs"),
        ({"max_side": 8192, "octaves": 10, "iterations": 100, "model": "vgg19"}, "are lent"),
    ],
)
def test_what_can_be_refused_costs_no_second_of_a_gpu(
    space: Space, knobs: dict[str, Any], said: str, tmp_path: Path
) -> None:
    photo = tmp_path / "large.jpg"
    Image.new("RGB", (4000, 3000), "teal").save(photo)
    with pytest.raises(AppError, match=said):
        space.client.predict(handle_file(str(photo)), api_name="/deep_dream", **knobs)
    assert not space.asked("/schedule")


def test_what_goes_wrong_on_the_gpu_is_said_in_a_sentence(space: Space) -> None:
    with pytest.raises(AppError, match="squeezenet1_1.safetensors is no weights file"):
        space.dream(**QUICK, model="squeezenet1_1")
    (given_back,) = space.asked("/release")
    assert given_back["fail"] == "false"
    space.dream(**QUICK)  # The process lives on.


def test_a_cancelled_dream_gives_the_gpu_back_at_once(space: Space) -> None:
    job = space.client.submit(
        handle_file(str(CAT)), api_name="/deep_dream", max_side=448, iterations=100
    )
    while not job.outputs():
        time.sleep(0.05)
    start = time.monotonic()
    job.cancel()
    while not space.asked("/release"):
        assert time.monotonic() - start < 10
        time.sleep(0.05)
    space.dream(**QUICK)


def test_a_worker_that_is_killed_is_told_in_a_line_and_the_next_one_works(space: Space) -> None:
    server = served_by(urlsplit(space.client.src).port or 0)
    before = children(server)
    job = space.client.submit(
        handle_file(str(CAT)), api_name="/deep_dream", max_side=448, iterations=100
    )
    while not job.outputs():
        time.sleep(0.05)
    started = children(server) - before or before  # That of a dream before may be asked again.
    for process in started:
        os.kill(process, signal.SIGKILL)
    with pytest.raises(AppError, match="^GPU task aborted$"):
        job.result(timeout=20)
    assert space.asked("/release")[-1]["fail"] == "true"
    space.dream(**QUICK)


def children(process: int | None) -> set[int]:
    """The processes that one has started."""
    path = Path(f"/proc/{process}/task")
    if not path.is_dir():
        pytest.skip("no /proc to find processes in")
    return {
        int(each) for task in path.iterdir() for each in (task / "children").read_text().split()
    }


def test_channels_that_were_made_before_need_no_gpu(space: Space) -> None:
    pictures, made = space.client.predict(
        channels="0", layer="inception4c", api_name="/visualize_channel"
    )
    assert len(pictures) == len(made["recipes"]) == 1
    assert not space.asked("/schedule")  # It comes with the app.


def test_every_kind_of_work_crosses_to_the_other_process(space: Space, engine: Engine) -> None:
    photo = handle_file(str(CAT))
    pictures, made = space.client.predict(
        channels="3,9", size=64, steps=4, api_name="/visualize_channel"
    )
    recipe = ChannelRecipe.from_dict(made["recipes"][1])
    frames = list(engine.channels([recipe.but(channel=3), recipe]))
    with Image.open(pictures[1]["image"]) as image:
        assert image.tobytes() == frames[-1].pictures()[1].tobytes()
    raised, _ = space.client.predict(
        channels="3,9", size=128, steps=4, image=photo, api_name="/visualize_channel"
    )
    assert len(raised) == 2
    _, where, answers = space.client.predict(
        photo, count=3, size=64, steps=4, api_name="/top_channels"
    )
    top = engine.response(load_image(CAT), layer="inception4c").top(3)
    assert [each["channel"] for each in answers] == [each.channel for each in top]
    assert np.allclose([each["strength"] for each in answers], [each.strength for each in top])
    assert Path(where).is_file()
    path, given, verdict = space.client.predict(
        "flamingo", size=96, steps=24, api_name="/class_image"
    )
    class_recipe = ClassRecipe.from_dict(given)
    *_, last = engine.class_image(class_recipe)
    expected = engine.verdict(last.tensor, class_recipe)
    assert math.isclose(verdict["after"]["logit"], expected.logit, rel_tol=1e-4)
    with Image.open(path) as image:
        assert image.tobytes() == last.picture().tobytes()
    _, recipes = space.client.predict(
        photo, layers="inception3b,inception4c", **QUICK, api_name="/compare"
    )
    assert [each["layer"] for each in recipes] == ["inception3b", "inception4c"]
    # A GPU is lent once a call, also where what answers is then shown.
    assert len(space.asked("/release")) == len(space.asked("/schedule")) == 5


def test_a_zoom_and_a_making_of_cross_to_the_other_process_too(space: Space) -> None:
    photo = handle_file(str(CAT))
    given = {"seconds": 1.0, "fps": 6.0, "max_side": 48, "iterations": 1}
    film, recipe, _ = space.client.predict(photo, **given, api_name="/zoom")
    assert read_recipe(film) == ZoomRecipe.from_dict(recipe) and load_video(film).frames == 6
    making, _, _ = space.client.predict(photo, seconds=1, **QUICK, api_name="/making_of")
    assert read_recipe(making, DreamRecipe).iterations == 2 and load_video(making).frames == 47
    assert len(space.asked("/release")) == len(space.asked("/schedule")) == 2


def test_visitors_at_the_same_time_have_a_process_each(space: Space) -> None:
    jobs = [
        space.client.submit(handle_file(str(CAT)), api_name="/deep_dream", **QUICK, seed=seed)
        for seed in range(3)
    ]
    dreamed = [Path(job.result()[0]).read_bytes() for job in jobs]
    assert len(set(dreamed)) == 3
    assert len(space.asked("/release")) == 3


def test_a_live_dream_runs_aside_and_asks_for_no_gpu(space: Space) -> None:
    with streaming(space.client.src.rstrip("/")) as send:
        dreams = [send(frame) for frame in panned(3, (240, 320))]
    assert all(dream and dream.size == (240, 180) for dream in dreams)
    assert not space.calls
