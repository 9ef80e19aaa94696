"""The engine knows no UI, modules import downwards only, and what is public is sorted."""

import ast
from pathlib import Path

import dream

from .conftest import ROOT

FLOORS = [
    {"errors", "sums"},
    {
        *("architecture", "bounded", "convolution", "objective", "octave", "dreamlet", "knob"),
        *("classes", "sheet"),
    },
    {"model_card", "canvas", "transform"},
    {"zoo", "device"},
    {"recipe", "weights"},
    {"dream_recipe", "channel_recipe", "class_recipe", "network", "channels", "picture"},
    {"ascent", "embedded", "guide", "tile", "presets", "compare"},
    {"restraint"},
    {"render", "response", "cache"},
    {"class_image"},
    {"engine", "cost"},
    {"__init__", "__main__"},
]
WITHOUT_TORCH = {
    *("errors", "bounded", "model_card", "zoo", "knob", "channels", "sheet", "presets", "compare"),
    *("recipe", "dream_recipe", "channel_recipe", "class_recipe"),
}


def imports(path: Path) -> set[str]:
    """Every module a file imports, in full, wherever in the file."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def test_every_module_stands_on_one_floor() -> None:
    modules = {path.stem for path in (ROOT / "dream").glob("*.py")}
    assert modules == set().union(*FLOORS)


def test_modules_import_lower_floors_only() -> None:
    for height, floor in enumerate(FLOORS):
        allowed = set().union(*FLOORS[:height])
        for module in floor:
            ours = {
                name.split(".")[1]
                for name in imports(ROOT / "dream" / f"{module}.py")
                if name.startswith("dream.")
            }
            if module == "architecture":
                ours -= {"model_card"}  # For its types only, not when it runs.
            used = ours & set().union(*FLOORS)
            assert used <= allowed, f"{module} imports {sorted(used - allowed)}"


def test_the_engine_knows_no_ui() -> None:
    for path in (ROOT / "dream").glob("*.py"):
        assert not {name.split(".")[0] for name in imports(path)} & {"gradio", "spaces", "app"}
        assert not [name for name in imports(path) if name.startswith("dream.tabs")], path.name


def test_plain_data_loads_no_torch() -> None:
    for module in WITHOUT_TORCH:
        roots = {name.split(".")[0] for name in imports(ROOT / "dream" / f"{module}.py")}
        assert not roots & {"torch", "torchvision", "numpy"}, module


def test_what_is_public_is_sorted_and_there() -> None:
    assert dream.__all__ == sorted(dream.__all__)
    assert all(hasattr(dream, name) for name in dream.__all__)


def test_spaces_comes_before_all_that_may_know_cuda() -> None:
    own = ("__future__", "importlib.util", "os", "sys", "pathlib")
    lines = sorted(
        (node.lineno, node.module if isinstance(node, ast.ImportFrom) else node.names[0].name)
        for node in ast.walk(ast.parse((ROOT / "app.py").read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
    )
    assert next(name for _, name in lines if name not in own) == "spaces"
