"""The engine imports no UI, layers import lower layers alone, and functions are short."""

import ast
from functools import cache
from pathlib import Path

import pytest

import dream
from tests.conftest import ROOT
from tests.support.processes import run_python

PACKAGE = ROOT / "dream"
# Folders and files of the package from the lowest up; each imports lower ones alone.
LAYERS = [
    *("version", "errors", "deterministic", "tensors"),
    *("networks", "recipe", "files", "render"),
    *("engine", "__init__", "service"),
    *("page", "page/widgets", "page/tabs", "page/server", "page/app"),
    *("batch", "commands", "__main__"),
]
# These load without torch, whose import takes seconds, and without NumPy.
WITHOUT_TORCH = [
    "dream.__main__",
    "dream.recipe.presets",
    "dream.files.limited_reader",
    "dream.files.video_info",
    "dream.files.contact_sheet",
]


@cache
def imports(path: Path) -> set[str]:
    """Return the full names of all modules that a file imports anywhere."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def files_of(room: str) -> list[Path]:
    """Return the Python files of a layer, which is a folder or a file."""
    files = sorted((PACKAGE / room).glob("*.py")) or [PACKAGE / f"{room}.py"]
    return [path for path in files if layer_of(name_of(path)) == room]


def name_of(path: Path) -> str:
    """Return the name of a file's module, such as dream.render.canvas."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def imported_modules(path: Path) -> list[str]:
    """Return the package's modules that a file imports, such as dream.render.canvas."""
    found = []
    for name in imports(path):
        where = ROOT / name.replace(".", "/")
        if name.startswith("dream.") and where.with_suffix(".py").exists():
            found.append(name)
        elif name.startswith("dream.") and name.count(".") == 1 and not where.is_dir():
            found.append("dream.__init__")
    return found


def layer_of(module: str) -> str:
    """Return the layer of a module: render, page/tabs, engine."""
    path = module.removeprefix("dream.").replace(".", "/")
    return path if path in LAYERS else path.rpartition("/")[0] or path


def test_every_file_is_in_a_room_or_on_a_floor_of_its_own() -> None:
    assert {layer_of(name_of(path)) for path in PACKAGE.glob("**/*.py")} == set(LAYERS)


def test_rooms_import_lower_ones_only() -> None:
    for height, room in enumerate(LAYERS):
        for path in files_of(room):
            rooms = {layer_of(name) for name in imported_modules(path)}
            assert rooms <= set(LAYERS[: height + 1]), f"{path} imports {rooms}"


def test_tabs_and_server_do_not_import_each_other() -> None:
    for room, other in (("page/tabs", "page/server"), ("page/server", "page/tabs")):
        for path in files_of(room):
            assert other not in {layer_of(name) for name in imported_modules(path)}, path


def test_no_two_files_of_a_room_import_one_another() -> None:
    """There is no circle, imports within functions included."""
    below = {name_of(path): set(imported_modules(path)) for path in PACKAGE.glob("**/*.py")}
    while free := [name for name, needs in below.items() if not needs & below.keys()]:
        for name in free:
            del below[name]
    assert not below


def test_the_engine_knows_no_ui() -> None:
    for room in LAYERS:
        if room.startswith("page"):
            continue
        for path in files_of(room):
            assert not {name.split(".")[0] for name in imports(path)} & {"gradio", "spaces", "app"}


def run_script(script: str, *arguments: str) -> None:
    done = run_python("-c", script, *arguments)
    assert not done.returncode, done.stderr


def test_commands_and_recipes_load_no_torch() -> None:
    """`import dream`, help and an error in an option take less than half a second."""
    script = (
        f"import sys, dream, {', '.join(WITHOUT_TORCH)};"
        "assert 'Engine' in dir(dream) and dream.DreamRecipe(layer='conv3').layer == 'conv3';"
        "run = dream.__main__.main;"
        "assert run(['image', 'x.png', '-o', 'y.png', '--intensity', '99']) == 2;"
        "heavy = {'torch', 'torchvision', 'gradio', 'av', 'cv2', 'ray', 'mlflow'};"
        "assert not heavy & sys.modules.keys(), heavy & sys.modules.keys()"
    )
    run_script(script)


@pytest.mark.parametrize("words", ["--help", "batch --help", "image x.png --intensiti 3", "imaeg"])
def test_help_and_a_wrong_option_load_no_numpy(words: str) -> None:
    script = (
        "import sys, dream.__main__\ntry: dream.__main__.main(sys.argv[1:])\n"
        "except SystemExit: sys.exit(bool({'torch', 'numpy', 'gradio'} & sys.modules.keys()))"
    )
    run_script(script, *words.split())


def test_there_is_no_other_public_name() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Engin'"):
        vars(dream)["__getattr__"]("Engin")


def test_the_page_loads_and_writes_nothing_that_takes_long() -> None:
    """Gradio's stubs are half of its import; torchvision, video code and compiler take seconds."""
    script = (
        "import sys; sys.addaudithook(lambda event, given: event == 'open'"
        " and 'components' in str(given[0]) and '.pyi' in str(given[0])"
        " and sys.exit(f'{given[0]} was opened'));"
        "import inspect, torch; from dream.page import app;"
        "assert inspect.getfile(app.main) == app.__file__;"
        "from dream import DreamRecipe, Engine;"
        "list(Engine('cpu').dream(torch.rand(1, 3, 64, 64), DreamRecipe(octaves=1, iterations=1)));"
        "slow = {'torchvision', 'av', 'cv2', 'sympy', 'torch._dynamo'};"
        "assert not slow & sys.modules.keys(), slow & sys.modules.keys()"
    )
    run_script(script)


def test_what_is_public_is_sorted_and_there() -> None:
    assert dream.__all__ == sorted(dream.__all__)
    assert all(hasattr(dream, name) for name in dream.__all__)


def test_spaces_comes_before_all_that_may_know_cuda() -> None:
    script = (
        "import sys, types; sys.modules['spaces'] = types.ModuleType('spaces');"
        "finder = types.SimpleNamespace(find_spec=lambda name, *_: (name == 'torch' or None)"
        " and sys.exit('dream.page.app' not in sys.modules"
        " or sys.modules['dream.page.app'].spaces is None));"
        "sys.meta_path.insert(0, finder); import app"
    )
    run_script(script)


def test_no_test_file_imports_another() -> None:
    for path in (ROOT / "tests").rglob("test_*.py"):
        others = [name for name in imports(path) if ".test_" in name]
        assert not others, f"{path} imports {others}"


def test_no_function_is_longer_than_a_screen() -> None:
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or 0) - node.lineno + 1
                assert length <= 40, f"{path}: {node.name} has {length} lines"
