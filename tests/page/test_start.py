"""How the app starts by its environment, and the estimate before a dream."""

import importlib.util
import re
import runpy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from dream import DreamError, DreamRecipe, Engine, ZoomRecipe, load_image
from dream.page import app
from dream.page.server import temp_files
from dream.page.tabs import deep_dream
from dream.page.widgets import estimate
from dream.service.job_runner import JobRunner
from tests.conftest import EXAMPLES, ROOT
from tests.support.server import run_app
from tests.support.zero import Lender

CAT = str(EXAMPLES / "cat.jpg")
QUICK: dict[str, Any] = {"octaves": 1, "iterations": 1, "max_side": 128}


def slow(test: Callable[..., None]) -> Any:
    """Mark a test that runs a server."""
    return pytest.mark.filterwarnings("default")(test)


def said(engine: Engine, photo: str | None = CAT, **knobs: Any) -> str:
    recipe = DreamRecipe(**knobs)
    return estimate.estimate_text(JobRunner(engine), recipe, estimate.photo_size(photo))


def test_the_page_says_who_dreams_where_and_for_how_long(engine: Engine, tmp_path: Path) -> None:
    usual = said(engine)
    assert re.fullmatch(r"<span>Dreamlet on a CPU, about \d+ seconds?</span>", usual)
    slow = said(engine, iterations=100, octaves=6, layer="inception5a")
    assert int(re.sub(r"\D", "", slow)) > 3 * int(re.sub(r"\D", "", usual))
    assert "Vgg16 on a CPU, 553 MB to download first, about " in said(engine, model="vgg16")
    (tmp_path / "bad.jpg").write_bytes(b"no picture")
    for photo in (None, str(tmp_path / "bad.jpg"), str(tmp_path / "none.jpg")):
        assert said(engine, photo) == "<span>Dreamlet on a CPU</span>"


def test_only_a_film_is_priced_in_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    lender, engine = Lender(), Engine("cpu")
    runner, size = JobRunner(engine, lender), estimate.photo_size(CAT)
    monkeypatch.setattr(runner, "estimate_seconds", lambda recipes, size, frames: 40.0)
    assert "leases" not in estimate.estimate_text(runner, DreamRecipe(), size)
    assert "in 2 GPU leases from your quota" in estimate.estimate_text(runner, ZoomRecipe(), size)
    # As the runner itself asks for it.
    monkeypatch.setattr(runner, "_estimate_jobs", lambda jobs: 40.0)
    *_, frame = runner.render([DreamRecipe(**QUICK)], load_image(CAT))
    assert frame.finished and lender.durations == [60]


def test_the_page_opens_on_the_first_network_and_its_own_layer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = Engine("cpu")
    assert deep_dream.opening_recipe(engine).layer == "inception4c"
    monkeypatch.setenv("DREAM_DEFAULT_MODEL", "vgg16")
    recipe = deep_dream.opening_recipe(engine)
    assert (recipe.model, recipe.layer) == ("vgg16", "features.22")


@pytest.fixture(scope="module")
def configured(log: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """Yield a client of an app with every environment variable set."""
    folder = tmp_path_factory.mktemp("home")
    homes = dict.fromkeys(("HOME", "HF_HOME", "TORCH_HOME", "DREAM_WEIGHTS_DIR"), str(folder))
    with run_app(
        log,
        DREAM_DEFAULT_MODEL="vgg16",
        DREAM_TIME_LIMIT="2",
        GRADIO_ROOT_PATH="/dream",
        **homes,
    ) as address:
        yield Client(address, verbose=False, download_files=str(folder))


def dream(client: Client, **knobs: Any) -> Any:
    return client.predict(handle_file(CAT), **knobs, api_name="/deep_dream")


@slow
def test_a_first_network_that_cannot_be_had_does_not_keep_the_page_from_opening(
    configured: Client, log: Path
) -> None:
    _, recipe = dream(configured, **QUICK)
    assert recipe["model"] == "dreamlet"  # The API's defaults stay.
    assert configured.config["root"].endswith("/dream")  # It is served under a proxy's path.
    assert "the weights of vgg16 could not be downloaded" in log.read_text()


@slow
def test_the_page_opens_without_dreamlet_and_says_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "dreamlet.safetensors").write_bytes(b"damaged")
    beside = f"weights.__file__ = {str(tmp_path / 'weights.py')!r}"
    log = tmp_path / "log"
    with run_app(
        log, "-c", f"from dream.networks import weights; {beside}; import app; app.main()"
    ) as address:
        assert "Class image" in httpx.get(address).text
        for photo, folder in ((CAT, "dream"), (None, "class")):
            client = Client(address, verbose=False, download_files=str(tmp_path / folder))
            with pytest.raises(AppError, match=r"^dreamlet is damaged .*Choose another network\.$"):  # noqa: PT012
                if photo:
                    dream(client, **QUICK)
                else:
                    client.predict(target="goldfish", api_name="/class_image")
    said = log.read_text()
    assert said.startswith("The page starts without the default network: the weights of dreamlet")
    assert "Traceback" not in said


@slow
def test_a_dream_beyond_the_time_limit_is_ended_with_advice(configured: Client) -> None:
    with pytest.raises(AppError, match="seconds here, and the limit is 2; fewer steps"):
        dream(configured, iterations=100, octaves=10)
    assert dream(configured, **QUICK)[1]["octaves"] == 1


@slow
def test_without_the_extra_there_is_no_mcp_and_no_complaint(configured: Client, log: Path) -> None:
    if importlib.util.find_spec("mcp"):
        pytest.skip("the extra is installed in this environment")
    assert httpx.get(f"{configured.src}gradio_api/mcp/").status_code == 404
    assert httpx.get(configured.src).status_code == 200
    assert "mcp" not in log.read_text().lower()


@pytest.mark.parametrize(
    ("variable", "whole", "start"),
    [
        ("CPU_CORES", "", app.main),
        ("DREAM_CONCURRENCY", "whole ", app.main),
        ("DREAM_TIME_LIMIT", "", lambda: JobRunner(Engine("cpu"))),
        ("DREAM_CACHE_MB", "", lambda: Engine("cpu")),
        ("DREAM_MODEL_CACHE_GB", "", lambda: Engine("cpu")),
    ],
)
def test_a_variable_that_is_no_such_number_is_refused(
    variable: str, whole: str, start: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "abc")
    said = f"^{variable} must be a {whole}number from .* to .*, not 'abc'"
    with pytest.raises(DreamError, match=said):
        start()


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("DREAM_DEFAULT_MODEL", "vgg61", ".*vgg16"),
        ("DREAM_DEVICE", "cuda:97", "device 'cuda:97' is not available"),
    ],
)
def test_a_variable_that_names_what_is_not_there_is_refused(
    variable: str, value: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(DreamError, match=message):
        app.main()


@pytest.mark.parametrize("place", ["", "below"])
def test_a_place_for_temporary_files_that_is_none_is_refused(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "file" / place))
    with pytest.raises(DreamError, match=r"file.*; set GRADIO_TEMP_DIR to a writable folder"):
        temp_files.create_temp_folder()


def test_a_wrong_variable_ends_the_app_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DREAM_TIME_LIMIT", "abc")
    said = "^Error: DREAM_TIME_LIMIT must be a number from 1 to 86400, not 'abc'[^\\n]*$"
    with pytest.raises(SystemExit, match=said):
        runpy.run_path(str(ROOT / "app.py"), run_name="__main__")
