"""A Space's files, installed and started as a Space does.

The app runs on README's Python and Gradio, in an environment with requirements.txt alone, without
constraints and so with today's newest versions. Started by root, it runs as a user who may write to
a home and a folder for temporary files only.
"""

import ast
import atexit
import os
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from gradio_client import Client, handle_file
from huggingface_hub import SpaceCard

from dream import ClassRecipe, DreamRecipe, Engine, VideoRecipe, ZoomRecipe, load_image, read_recipe
from dream.files.video_reader import read_video_info
from dream.tensors import to_tensor
from tests.conftest import EXAMPLES, ROOT, change, use_threads
from tests.support.server import free_port, run_server
from tests.support.space import install, space_files

CAT = EXAMPLES / "cat.jpg"
QUICK: dict[str, Any] = {"octaves": 2, "iterations": 2, "max_side": 128}
CARD: dict[str, Any] = SpaceCard((ROOT / "README.md").read_text(encoding="utf-8")).data.to_dict()
IS_ROOT = os.geteuid() == 0
# An unused user id: its files were written by the app.
USER = 61184
AS_USER: dict[str, Any] = {"user": USER, "group": USER, "extra_groups": []} if IS_ROOT else {}
needs_root = pytest.mark.skipif(not IS_ROOT, reason="only root can start it as another user")
SECONDS_TO_START = 60
PATH = "/usr/local/bin:/usr/bin:/bin"

# Its own environment takes a minute to install and start.
pytestmark = [pytest.mark.filterwarnings("default"), pytest.mark.at_scale]


def run_as_user(*command: str | Path, **about: Any) -> "subprocess.CompletedProcess[str]":
    """Run a command as `USER`."""
    return subprocess.run(
        [str(each) for each in command], cwd="/", capture_output=True, text=True, **AS_USER, **about
    )


@pytest.fixture(scope="module")
def space_folder() -> Iterator[Path]:
    """Make a folder with the app, its environment, and its user's home and temporary folder."""
    folder = Path(tempfile.mkdtemp(prefix="space-"))
    umask = os.umask(0o022)
    try:
        folder.chmod(0o755)
        for name in space_files():
            (folder / "app" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / "app" / name)
        for own in ("home", "temp"):
            (folder / own).mkdir()
            if IS_ROOT:
                os.chown(folder / own, USER, USER)
        base = [str(find_shared_python(folder)), str(folder / "venv")]
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("LD_LIBRARY_PATH", str(folder / "python" / "lib"))
            uv = [sys.executable, "-m", "uv", "venv", "-q", "--python"]
            subprocess.run([*uv, *base], check=True)
            required = ["-r", str(folder / "app" / "requirements.txt")]
            python = folder / "venv" / "bin" / "python"
            install(*required, f"gradio=={CARD['sdk_version']}", python=python)
            yield folder
    finally:
        os.umask(umask)
        # Several gigabytes: removed while the next tests run, but before they end.
        atexit.register(subprocess.Popen(["rm", "-rf", folder]).wait)


def find_shared_python(folder: Path) -> Path:
    """Return README's Python, else the tests' own; copy it to `folder` if its home is closed."""
    name = f"python{CARD['python_version']}"
    installed = sorted(Path.home().glob(f".pyenv/versions/*/bin/{name}"))
    told = (
        "import sys; print(sys.base_prefix, f'python{sys.version_info[0]}.{sys.version_info[1]}')"
    )
    for python in (shutil.which(name), *installed, sys.executable):
        if python:
            asked = subprocess.run([python, "-c", told], capture_output=True, text=True)
            if not asked.returncode:  # A pyenv shim may lead nowhere.
                break
    base, name = Path(asked.stdout.split()[0]), asked.stdout.split()[1]
    with suppress(PermissionError):
        if not run_as_user(base / "bin" / name, "-c", told).returncode:
            return base / "bin" / name
    (folder / "python" / "bin").mkdir(parents=True)
    copy = Path(shutil.copy2(base / "bin" / name, folder / "python" / "bin"))
    leave_out = shutil.ignore_patterns("site-packages", "test")
    shutil.copytree(base / "lib" / name, folder / "python" / "lib" / name, ignore=leave_out)
    for library in (base / "lib").glob("libpython3.*"):
        shutil.copy2(library, folder / "python" / "lib")
    return copy


@dataclass(frozen=True)
class Space:
    """A running Space: its address, the CPU seconds it took to start, and its log."""

    address: str
    seconds: float
    log: Path


@pytest.fixture(scope="module")
def space(space_folder: Path, log: Path) -> Iterator[Space]:
    """Run the app as a Space of two cores without a GPU does."""
    port = free_port()
    environment = {
        "PATH": f"{space_folder}/venv/bin:{PATH}",
        "LD_LIBRARY_PATH": os.environ["LD_LIBRARY_PATH"],
        "HOME": str(space_folder / "home"),
        "TMPDIR": str(space_folder / "temp"),
        "PYTHONPATH": str(space_folder / "app"),
        "PYTHONUNBUFFERED": "1",
        "SYSTEM": "spaces",
        "SPACE_ID": "someone/deep-dream",
        "SPACE_HOST": "someone-deep-dream.hf.space",
        "SPACE_TITLE": "Deep Dream",
        "SPACE_AUTHOR_NAME": "someone",
        "SPACE_REPO_NAME": "deep-dream",
        "ACCELERATOR": "none",
        "CPU_CORES": "2",
        "MEMORY": "16Gi",
        "CUDA_VISIBLE_DEVICES": "",
        "GRADIO_SERVER_NAME": "0.0.0.0",
        "GRADIO_SERVER_PORT": str(port),
        "GRADIO_ALLOW_FLAGGING": "never",
        "GRADIO_THEME": "huggingface",
        "GRADIO_SSR_MODE": "True",
        "GRADIO_ANALYTICS_ENABLED": "False",
        "HF_HUB_OFFLINE": "1",
    }
    with run_server(
        [str(space_folder / "venv" / "bin" / "python"), "app.py"],
        log,
        port,
        cwd=space_folder / "app",
        env=environment,
        **AS_USER,
    ) as address:
        yield Space(address, cpu_seconds(space_folder / "app"), log)


def cpu_seconds(folder: Path) -> float:
    """Return the CPU seconds of processes in that folder, 0 where there is no /proc."""
    ticks = 0
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # The process has ended.
            if (process / "cwd").resolve() == folder:
                told = (process / "stat").read_text().rpartition(")")[2].split()
                ticks += int(told[11]) + int(told[12])
    return ticks / os.sysconf("SC_CLK_TCK")


@pytest.fixture(scope="module")
def client(space: Space, tmp_path_factory: pytest.TempPathFactory) -> Client:
    files = str(tmp_path_factory.mktemp("files"))
    return Client(space.address, verbose=False, download_files=files)


def test_its_gradio_is_the_one_that_readme_names(space_folder: Path) -> None:
    told = (
        "from importlib.metadata import distributions as d; import sys; "
        "print({e.name: e.version for e in d()} | {'python': sys.version})"
    )
    said = run_as_user(space_folder / "venv/bin/python", "-c", told).stdout
    versions: dict[str, str] = ast.literal_eval(said)
    assert versions["gradio"] == CARD["sdk_version"]
    if shutil.which(f"python{CARD['python_version']}"):
        assert versions["python"].startswith(CARD["python_version"])
    names = set(versions)
    assert {"torch", "torchvision"} <= names and not {"pytest", "playwright", "mypy"} & names


def test_it_answers_in_time(space: Space) -> None:
    assert space.seconds < SECONDS_TO_START
    assert space.seconds or not Path("/proc").is_dir()
    with urllib.request.urlopen(space.address) as page:
        assert page.status == 200 and "Deep Dream" in page.read().decode()


def test_it_dreams_what_python_dreams(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DREAM_PRECISION", raising=False)  # A Space has none.
    path, recipe = client.predict(handle_file(str(CAT)), **QUICK, api_name="/deep_dream")
    with use_threads(2):  # As many as the Space's cores.
        *_, frame = Engine("cpu").dream(load_image(CAT), DreamRecipe(**QUICK))
    # Its torch may be newer than the tests'.
    assert change(load_image(path), to_tensor(frame.picture())) < 1
    assert read_recipe(path) == DreamRecipe.from_dict(recipe)


def test_it_shows_what_a_class_is_taken_for(client: Client) -> None:
    quick = {"target": "goldfish", "steps": 8, "size": 64}
    path, recipe, verdict = client.predict(**quick, api_name="/class_image")
    assert read_recipe(path) == ClassRecipe.from_dict(recipe) and verdict["after"]["target"]


def test_it_zooms_and_dreams_a_video(client: Client) -> None:
    quick = {"iterations": 1, "max_side": 96}
    photo, zoom = handle_file(str(CAT)), {"seconds": 1, "fps": 12}
    path, recipe, _ = client.predict(photo, **zoom, **quick, api_name="/zoom")
    assert read_recipe(path) == ZoomRecipe.from_dict(recipe)
    again, recipe, _ = client.predict(handle_file(path), **quick, api_name="/dream_video")
    assert read_recipe(again) == VideoRecipe.from_dict(recipe)
    assert read_video_info(path).frame_count == read_video_info(again).frame_count == 12


def test_it_keeps_pictures_of_channels_in_its_home(client: Client, space_folder: Path) -> None:
    client.predict(channels="7", size=64, steps=2, api_name="/visualize_channel")
    (kept,) = (space_folder / "home" / ".cache" / "dream").glob("*.png")
    assert kept.name.startswith("dreamlet-inception4c-7-")
    assert not IS_ROOT or kept.stat().st_uid == USER


@needs_root
def test_it_writes_to_its_home_and_temporary_files_alone(
    client: Client, space_folder: Path
) -> None:
    client.predict(api_name="/presets")  # The app still runs.
    assert any((space_folder / "temp").rglob("*.png"))
    # It could write where everyone may; such a file would be found.
    stray = Path(tempfile.gettempdir(), f"stray-{USER}")
    assert run_as_user("touch", stray).returncode == 0
    apart = ["-path", "/proc", "-o", "-path", "/sys"]
    for own in ("home", "temp"):
        apart += ["-o", "-path", str(space_folder / own)]
    found = subprocess.run(
        ["find", "/", "(", *apart, ")", "-prune", "-o", "-uid", str(USER), "-print"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # Files that disappeared meanwhile.
        text=True,
    ).stdout.splitlines()
    stray.unlink()
    assert found == [str(stray)]


def test_its_log_has_no_errors(client: Client, space: Space) -> None:
    log = space.log.read_text()
    wrong = {line for line in log.splitlines() if re.search(r"(Error|Warning): ", line)}
    # A real Space has that package, for development on the Space.
    assert wrong <= {"RuntimeError: `spaces` package is required to run hot-reloading in Spaces"}
    assert "with SSR" not in log  # The app serves its page itself, with its card.
