"""The wheel holds all that the program reads, and dreams in another environment and folder."""

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest
from gradio_client import Client, handle_file
from PIL import Image

from dream import DreamRecipe, __version__, read_recipe
from tests.conftest import EXAMPLES, ROOT
from tests.support.server import free_port, run_server
from tests.support.space import tracked_files

CAT = EXAMPLES / "cat.jpg"
QUICK = {"octaves": 1, "iterations": 1, "max_side": 64}
# What another program may write; the last line is an error.
USERS_PROGRAM = """
from typing import assert_type
from dream import ChannelRecipe, DreamRecipe, Engine, load_image

recipe = DreamRecipe(layer=None, intensity=4, max_side=None)
assert_type(recipe.layer, str)
assert_type(recipe.step, float)
assert_type(recipe.max_side, int | None)
for frame in Engine().dream(load_image("cat.jpg"), recipe):
    assert_type(frame.total, int)
DreamRecipe(layer=3)
"""


# GitHub also runs them on each system, as a user without make does.
pytestmark = pytest.mark.at_scale


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel in a copy of the tracked files: a build leaves files behind."""
    source = tmp_path_factory.mktemp("source")
    for name in tracked_files("dream", "examples", "README.md", "LICENSE", "*.toml", "*.txt"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, source / name)
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--wheel-dir", "wheels", "."], cwd=source, check=True)
    (built,) = (source / "wheels").iterdir()
    return built


@pytest.fixture(scope="module")
def programs(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel into an environment that borrows the packages of this one."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=os.name != "nt")
    programs = folder / ("Scripts" if os.name == "nt" else "bin")
    python = str(programs / "python")
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps"]
    subprocess.run([*pip, str(wheel)], check=True)
    own = sysconfig.get_path("purelib", "venv", {"base": str(folder)})
    Path(own, "borrowed.pth").write_text(sysconfig.get_path("purelib"))
    return programs


def run(program: Path, *arguments: str, folder: Path) -> str:
    """Run a program in a folder and return what it prints."""
    outside = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(program), *arguments], cwd=folder, env=outside, capture_output=True, text=True
    )
    assert not done.returncode, done.stderr
    return done.stdout


def test_a_wheel_has_every_file_of_the_package_and_no_other(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        metadata = archive.read(f"dream-{__version__}.dist-info/METADATA").decode()
    package, examples = tracked_files("dream"), tracked_files("examples")
    assert names == {*package, *(f"dream/{name}" for name in examples)}
    assert {"dream/py.typed", "dream/recipe/presets.json", "dream/page/page.css"} < names
    required = (ROOT / "requirements.txt").read_text().splitlines()[1:]
    named = [line.split(": ")[1] for line in metadata.splitlines() if "Requires-Dist" in line]
    assert len([line for line in named if "extra ==" not in line]) == len(required)


def test_an_installed_program_dreams_in_another_folder(programs: Path, tmp_path: Path) -> None:
    shutil.copy(CAT, tmp_path)
    dream = programs / "dream"
    where = run(programs / "python", "-c", "import dream; print(dream.__file__)", folder=tmp_path)
    assert Path(where.strip()).is_relative_to(programs.parent)
    assert run(dream, "--version", folder=tmp_path) == f"dream {__version__}\n"
    assert "1  goldfish" in run(dream, "classes", "goldfish", folder=tmp_path)
    options = shlex.split("--preset subtle --octaves 1 --iterations 1 --max-side 64")
    said = run(dream, "image", "cat.jpg", "-o", "out.png", *options, folder=tmp_path)
    assert said.startswith("out.png: 64 x 43, ")
    assert read_recipe(tmp_path / "out.png", DreamRecipe).max_side == 64


@pytest.mark.filterwarnings("default")
def test_an_installed_app_dreams(programs: Path, tmp_path: Path) -> None:
    port = free_port()
    command = [str(programs / "dream"), "serve", "--port", str(port)]
    folder = tmp_path / "folder"
    folder.mkdir()
    with run_server(command, tmp_path / "log", port, cwd=folder) as address:
        client = Client(address, verbose=False, download_files=str(tmp_path))
        path, recipe = client.predict(handle_file(CAT), **QUICK, api_name="/deep_dream")
        with Image.open(path) as image:
            assert image.size == (64, 43)
        assert recipe["max_side"] == 64
    assert not list(folder.iterdir())


def test_a_users_program_is_checked_against_the_packages_types(
    programs: Path, tmp_path: Path
) -> None:
    (tmp_path / "users.py").write_text(USERS_PROGRAM)
    mypy = [sys.executable, "-m", "mypy", "--strict", "--python-executable"]
    done = subprocess.run(
        [*mypy, str(programs / "python"), "users.py"], cwd=tmp_path, capture_output=True, text=True
    )
    (error, summary) = done.stdout.splitlines()
    assert error.startswith(f"users.py:{len(USERS_PROGRAM.splitlines())}: error: Argument"), error
    assert '"layer"' in error and "str | None" in error and summary.startswith("Found 1 error")
