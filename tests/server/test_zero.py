"""The app on an emulated ZeroGPU: the real `spaces` package, our device API, no GPU."""

import base64
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from gradio_client import Client, handle_file
from gradio_client.client import Job
from gradio_client.exceptions import AppError

from dream import (
    DreamRecipe,
    Engine,
    ZoomRecipe,
    load_image,
    read_recipe,
)
from dream.files.video_reader import read_video_info
from dream.page.server import api
from dream.page.server.zero_gpu import ABORT_ERROR, WORKER_ERROR, with_lease_errors
from dream.page.widgets.run import show_errors
from dream.service.job_runner import JobRunner
from tests.conftest import EXAMPLES, is_frame
from tests.support.api import open_stream
from tests.support.page import build_dream_tab
from tests.support.server import run_app
from tests.support.videos import pan
from tests.support.waiting import wait_until
from tests.support.zero import VIDEO_LEASES, DeviceApi, device_api, lend

pytest.importorskip("spaces", reason="the spaces package is not installed")
pytestmark = pytest.mark.filterwarnings("default")

CAT = EXAMPLES / "cat.jpg"
PHOTO = handle_file(str(CAT))
QUICK: dict[str, Any] = {"octaves": 2, "iterations": 2, "max_side": 128}
FILM: dict[str, Any] = {"seconds": 1.0, "fps": 6.0, "max_side": 48, "iterations": 1}
LONGER_FILM = FILM | {"seconds": 3.0, "iterations": 10}
# The token that the hub's proxy adds for a visitor with an account.
VISITOR = f"{{}}.{base64.urlsafe_b64encode(b'{}').decode()}.{{}}"
# ZeroGPU's multiplier of requested seconds on its present machines.
FACTOR = 1.5


@dataclass(frozen=True)
class Space:
    """A client of the app, its device API, and its log."""

    client: Client
    api: DeviceApi
    log: Path

    def calls(self, name: str) -> list[dict[str, str]]:
        return [given for path, given in self.api.calls if path == name]

    def begin(self, name: str, **knobs: Any) -> Job:
        """Submit a job with the photo and wait until its dream has begun."""
        job = self.client.submit(PHOTO, api_name=f"/{name}", **knobs)
        path = -1 if name == "zoom" else 0  # The position of the image in an answer.

        # The first image is the photo itself.
        def pictures() -> list[Any]:
            return [each for each in job.outputs() if each and each[path]]

        wait_until(lambda: job.done() or len(pictures()) > 1)
        assert not job.done(), job.result()
        return job

    def dream(self, **knobs: Any) -> tuple[str, dict[str, Any]]:
        answer: tuple[str, dict[str, Any]] = self.client.predict(
            PHOTO, api_name="/deep_dream", **knobs
        )
        return answer


@pytest.fixture(scope="module")
def running_space(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Space]:
    folder = tmp_path_factory.mktemp("zero")
    (folder / "weights").mkdir()
    (folder / "weights" / "squeezenet1_1.safetensors").write_bytes(b"no weights")
    with device_api() as api:
        environment = {
            "SPACES_ZERO_GPU": "true",
            "SPACES_ZERO_DEVICE_API_URL": api.address,
            "DREAM_WEIGHTS_DIR": str(folder / "weights"),
            "HOME": str(folder),
        }
        log = folder / "log"
        with run_app(log, "-m", "tests.support.zero", **environment) as address:
            client = Client(
                address,
                verbose=False,
                download_files=str(folder / "files"),
                headers={"X-IP-Token": VISITOR},
            )
            yield Space(client, api, log)


@pytest.fixture
def space(running_space: Space) -> Iterator[Space]:
    """Yield the Space with its calls cleared; check that its log has no traceback."""
    running_space.api.calls.clear()
    before = running_space.log.stat().st_size
    yield running_space
    running_space.api.seconds_left = None
    assert b"Traceback" not in running_space.log.read_bytes()[before:]


@pytest.mark.at_scale
def test_it_reports_that_it_started_and_settles_for_a_gpu(running_space: Space) -> None:
    assert running_space.api.calls[0] == ("/startup-report", {})
    _, recipe = running_space.dream(octaves=1, iterations=0)
    assert recipe["max_side"] == 1024


@pytest.mark.at_scale
def test_a_dream_is_the_one_of_python_and_the_gpu_is_given_back(
    space: Space, engine: Engine
) -> None:
    path, recipe = space.dream(**QUICK, layer="inception3b", guide=PHOTO)
    *_, frame = engine.dream(load_image(CAT), DreamRecipe.from_dict(recipe))
    assert is_frame(path, frame)
    assert read_recipe(path) == DreamRecipe.from_dict(recipe)
    (asked,), (given_back,) = space.calls("/schedule"), space.calls("/release")
    assert given_back["fail"] == "false"
    assert int(asked["durationSeconds"]) < 10 * FACTOR


@pytest.mark.at_scale
def test_a_default_dream_asks_for_little_of_what_a_visitor_has(space: Space) -> None:
    space.dream(max_side=240)
    (asked,) = space.calls("/schedule")
    assert int(asked["durationSeconds"]) <= 20  # Of a visitor's 120 a day without an account.


@pytest.mark.at_scale
def test_the_process_of_before_is_asked_again(space: Space) -> None:
    for seed in (1, 2):
        space.dream(**QUICK, seed=seed)
    assert len(space.calls("/schedule")) == 2
    assert len(space.calls("/allow")) <= 1  # Logged by each new process.


@pytest.mark.at_scale
def test_what_goes_wrong_on_the_gpu_is_said_in_a_sentence(space: Space) -> None:
    with pytest.raises(AppError, match=r"squeezenet1_1.safetensors is not a weights file"):
        space.dream(**QUICK, model="squeezenet1_1")
    (given_back,) = space.calls("/release")
    assert given_back["fail"] == "false"
    space.dream(**QUICK)  # The process keeps running.


@pytest.mark.at_scale
def test_a_lease_that_ends_in_mid_dream_leaves_the_picture_so_far(space: Space) -> None:
    job = space.begin("deep_dream", max_side=448, iterations=100)
    space.api.end_lease()
    path, recipe = job.result(timeout=60)
    assert re.fullmatch(
        r"after \d+ of 500 steps: the GPU was taken back before the end; fewer steps or a smaller"
        " image take less time",
        recipe["ended"],
    )
    assert load_image(path).shape[3] <= 448
    assert space.calls("/release")[-1]["fail"] == "true"
    space.dream(**QUICK)


@pytest.mark.at_scale
def test_a_zoom_whose_lease_ends_is_there_as_far_as_it_came(space: Space) -> None:
    job = space.begin("zoom", **LONGER_FILM)
    wait_until(lambda: len(space.calls("/schedule")) == 2)
    space.api.end_lease()
    film, recipe, _ = job.result(timeout=60)
    assert re.match(r"after \d+ of 18 frames: the GPU was taken back", recipe["ended"])
    assert 6 <= read_video_info(film).frame_count < 12
    assert len(space.calls("/schedule")) == 2


@pytest.mark.at_scale
def test_a_zoom_that_is_cancelled_gives_its_gpu_back_and_asks_for_no_more(space: Space) -> None:
    job = space.begin("zoom", **LONGER_FILM)
    job.cancel()
    wait_until(lambda: space.calls("/release"))
    time.sleep(0.5)
    assert len(space.calls("/schedule")) == 1
    space.dream(**QUICK)


@pytest.mark.at_scale
def test_a_quota_that_is_used_up_is_told_in_its_own_words(space: Space) -> None:
    space.api.seconds_left = 3
    words = r"exceeded your free ZeroGPU quota \(\d+s requested vs. 3s left\). Try again in 0:30:00"
    with pytest.raises(AppError, match=words):
        space.dream(**QUICK)
    with pytest.raises(AppError, match=words):
        space.client.predict(PHOTO, **FILM, api_name="/zoom")
    channel = {"channels": "5", "size": 64, "steps": 1}
    with pytest.raises(AppError, match=words):
        space.client.predict(**channel, api_name="/visualize_channel")
    # The minutes of a whole Space, for unknown visitors.
    stranger = Client(space.client.src, verbose=False)
    with pytest.raises(AppError, match="Space app has reached its GPU limit"):
        stranger.predict(**channel, api_name="/visualize_channel")
    assert not space.calls("/release")


@pytest.mark.at_scale
def test_a_quota_that_is_used_up_in_mid_zoom_leaves_what_was_made(space: Space) -> None:
    space.api.seconds_left = 13  # Each lease asks for some 6.
    film, recipe, _ = space.client.predict(PHOTO, **FILM, api_name="/zoom")
    words = r"after 4 of 6 frames: You have exceeded your free ZeroGPU quota .* in 0:30:00"
    assert re.match(words, recipe["ended"])
    assert read_video_info(film).frame_count == 4 and read_recipe(film, ZoomRecipe).frame_count == 4


@pytest.mark.parametrize(
    ("raised", "words"),
    [
        (gr.Error("No quota. Try again in 0:30:00. "), ">No quota. Try again in 0:30:00.<"),
        (gr.Error(ABORT_ERROR, title=WORKER_ERROR), "The GPU was taken back before the end; few"),
        (RuntimeError("/schedule error: 502"), "ZeroGPU lends no GPU right now; try again in a"),
    ],
)
def test_why_no_gpu_is_lent_is_said_in_the_status_of_the_page(
    raised: Exception, words: str, engine: Engine
) -> None:
    def refuse(*given: Any) -> Iterator[Any]:
        raise raised
        yield

    knobs = asdict(DreamRecipe(**QUICK)) | {"mask": None}
    runner = JobRunner(engine, with_lease_errors(lend(refuse)))
    tab = build_dream_tab(runner)
    stream = tab.dream(str(CAT), (), random_seed=False, **knobs)
    *_, updates = show_errors(stream, tab.outputs.status)
    assert words in updates[tab.outputs.status]


@pytest.mark.usefixtures("uploads")
def test_a_lease_that_ends_between_two_pictures_leaves_the_first_one_once(engine: Engine) -> None:
    def end_after_one(run: Callable[..., Iterator[Any]], *given: Any) -> Iterator[Any]:
        for frame in run(*given):
            yield frame
            if frame.finished:
                raise gr.Error(ABORT_ERROR, title=WORKER_ERROR)

    runner = JobRunner(engine, with_lease_errors(lend(end_after_one)))
    small = {"max_side": 64, "octaves": 1, "iterations": 2}
    *_, (sheet, recipes) = api.compare(runner, str(CAT), "conv2", "5,6", "png", small)
    assert recipes and len(recipes) == 2 and recipes[0]["intensity"] == 5
    assert re.match(r"after \d+ of \d+ steps: the GPU was taken back", recipes[1]["ended"])
    assert sheet and load_image(sheet).shape[3] == 64 + 6 + 6
    *_, (path, recipe) = api.deep_dream(runner, str(CAT), "png", small)
    assert path and recipe and recipe["iterations"] == 2  # It was complete.


@pytest.mark.at_scale
def test_every_kind_of_work_crosses_in_one_lease_a_call(space: Space) -> None:
    """`test_job_runner` compares what crosses with what is made here."""
    predict, few = space.client.predict, {"size": 64, "steps": 4}
    for image in ({}, {"image": PHOTO}):
        shown, _ = predict(channels="3,9", **few, **image, api_name="/visualize_channel")
        assert len(shown) == 2
    _, where, answers = predict(PHOTO, count=3, **few, api_name="/top_channels")
    assert Path(where).is_file() and len(answers) == 3
    *_, verdict = predict("flamingo", **few, api_name="/class_image")
    assert verdict["after"]["target"] == "flamingo"
    _, recipes = predict(PHOTO, layers="inception3b,inception4c", **QUICK, api_name="/compare")
    assert [each["layer"] for each in recipes] == ["inception3b", "inception4c"]
    assert len(space.calls("/release")) == len(space.calls("/schedule")) == 5


@pytest.mark.at_scale
def test_a_zoom_in_several_leases_and_a_making_of_cross_too(space: Space) -> None:
    film, recipe, _ = space.client.predict(PHOTO, **FILM, api_name="/zoom")
    assert read_recipe(film) == ZoomRecipe.from_dict(recipe)
    assert read_video_info(film).frame_count == 6
    making, _, _ = space.client.predict(PHOTO, seconds=1, **QUICK, api_name="/making_of")
    assert read_recipe(making, DreamRecipe).iterations == 2
    assert read_video_info(making).frame_count == 47
    assert len(space.calls("/release")) == len(space.calls("/schedule")) == VIDEO_LEASES + 1


@pytest.mark.at_scale
def test_visitors_at_the_same_time_have_a_process_each(space: Space) -> None:
    jobs = [
        space.client.submit(PHOTO, api_name="/deep_dream", **QUICK, seed=seed) for seed in range(3)
    ]
    dreamed = [Path(job.result()[0]).read_bytes() for job in jobs]
    assert len(set(dreamed)) == 3
    assert len(space.calls("/release")) == 3


@pytest.mark.at_scale
def test_a_live_dream_runs_aside_and_asks_for_no_gpu(space: Space) -> None:
    with open_stream(space.client.src.rstrip("/")) as send:
        dreams = [send(frame) for frame in pan(3, (240, 320))]
    assert all(dream and dream.size == (240, 180) for dream in dreams)
    assert not space.api.calls
