"""README and docs/ are correct: tables, commands, snippets, links, the Space's front matter."""

import io
import re
import shlex
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from huggingface_hub import SpaceCard, SpaceHardware
from PIL import Image

from dream import (
    ChannelRecipe,
    ClassRecipe,
    DreamRecipe,
    Engine,
    Frame,
    LiveRecipe,
    VideoRecipe,
    ZoomRecipe,
    load_image,
    read_recipe,
)
from dream import __main__ as command_line
from dream.commands.options import build_recipe
from dream.networks import catalogue
from dream.recipe.base import Recipe
from tests.conftest import CAN_REMAKE, EXAMPLES, ROOT
from tests.support.space import space_files, tracked_files
from tools import tables
from tools.measure import correlation

README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = sorted((ROOT / "docs").glob("*.md"))
# Pages whose commands run, README first.
DOCS = "\n".join([README, *(page.read_text(encoding="utf-8") for page in PAGES)])
# Pages that are only read.
TEXT = DOCS + "".join(
    (ROOT / name).read_text(encoding="utf-8") for name in ("CONTRIBUTING.md", "SECURITY.md")
)
COLOURS = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}


def test_readme_leads_to_every_page_once() -> None:
    linked = re.findall(r"\]\((docs/[\w-]+\.md)\)", README)
    assert sorted(linked) == [f"docs/{page.name}" for page in PAGES]


def test_the_tables_are_those_of_the_code() -> None:
    made = [path.read_text(encoding="utf-8") for path in tables.PAGES]
    titles = [table[2] for page in made for table in tables.TABLE.finditer(page)]
    assert sorted(titles) == sorted(tables.ROWS)
    assert {f"knob of `{kind.__name__}`" for kind in Recipe.types_by_kind().values()} < set(titles)
    for page in made:
        assert page.splitlines() == tables.regenerate(page).splitlines(), "`make tables`"


def test_a_table_is_made_anew_whatever_its_rows_were() -> None:
    knobs = tables.PAGES[0].read_text(encoding="utf-8")
    emptied = re.sub(r"^\| `.*\n", "", knobs, flags=re.MULTILINE)
    assert len(emptied) < len(knobs) / 2 and tables.regenerate(emptied) == knobs
    assert tables.regenerate("| other |\n|---|\n| `seed` |\n") == "| other |\n|---|\n| `seed` |\n"


def test_readme_names_every_network() -> None:
    section = README.split("\n## Networks\n")[1].split("\n## ")[0]
    assert re.findall(r"`(\w+)`", section) == list(catalogue.CARDS)


def test_what_the_space_preloads_is_what_the_catalogue_pins() -> None:
    data = SpaceCard(README).data.to_dict()
    sources = [card.source for card in catalogue.CARDS.values() if card.source.repo]
    pinned = {f"{source.repo} {source.file} {source.revision}" for source in sources}
    assert set(data["preload_from_hub"]) <= pinned
    # A Space's build fails with the repository it preloads; others fall back to torchvision.
    assert all(line.startswith("timm/") for line in data["preload_from_hub"])
    assert all(source.url.startswith(catalogue.TORCHVISION_URL) for source in sources)
    assert set(data["models"]) == {source.repo for source in sources}


def code_blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", DOCS, re.DOTALL)


class Notebook(ModuleType):
    """A stand-in for `IPython.display`, which records the images that it shows."""

    def __init__(self) -> None:
        super().__init__("IPython.display")
        self.shown: list[Image.Image] = []

    def display(self, frame: Frame, display_id: bool) -> "Notebook":
        self.update(frame)
        return self

    def update(self, frame: Frame) -> None:
        self.shown.append(Image.open(io.BytesIO(frame._repr_png_())))


# What makes snippets as quick as they can be.
SMALLER = {
    **{"intensity=4)": "octaves=1, max_side=96)", "max_side=240": "max_side=96, iterations=3"},
    **{"steps=64": "steps=8", "steps=80": "steps=8"},
}


def test_the_python_snippets_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    snippets = [block for block in code_blocks("python") if "gradio_client" not in block]
    assert len(snippets) == 5
    notebook = Notebook()
    monkeypatch.setitem(sys.modules, "IPython.display", notebook)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    for snippet in snippets:
        for value, smaller in SMALLER.items():
            snippet = snippet.replace(value, smaller)
        exec(compile(snippet, "docs", "exec"), {})
    assert {path.name for path in tmp_path.glob("channel-*")} == {
        f"channel-{channel}.png" for channel in (7, 80, 120)
    }
    assert re.findall(r"channel \d+ answers \d+\.\d\d\n", capsys.readouterr().out)
    assert {image.size for image in notebook.shown} == {(96, 64)} and len(notebook.shown) > 5
    assert read_recipe(tmp_path / "dream.png", DreamRecipe).layer == "inception3b"
    # A file argument is embedded as an image.
    assert read_recipe(tmp_path / "fish.png", DreamRecipe).guide.startswith("data:image/")


COMMANDS = [
    shlex.split(line.removeprefix("python -m "), comments=True)[1:]
    for block in code_blocks("sh")
    for line in block.splitlines()
    if line.removeprefix("python -m ").startswith("dream ")
]
OUTPUT_FILES = ("swirls.png", "like-it.png", "dogs.png", "goldfish.png")
# Options that shrink commands.
SMALL_OPTIONS = {
    "image": ["--max-side", "96", "--iterations", "3"],
    **{kind: ["--size", "64", "--steps", "8"] for kind in ("channel", "class")},
}


KINDS: dict[str, type[Recipe]] = {
    **{"image": DreamRecipe, "sheet": DreamRecipe, "making-of": DreamRecipe, "pipe": LiveRecipe},
    **{"channel": ChannelRecipe, "class": ClassRecipe, "zoom": ZoomRecipe, "video": VideoRecipe},
}


def test_every_command_is_one_that_the_program_takes(capsys: pytest.CaptureFixture[str]) -> None:
    assert KINDS.keys() < {name for name, *_ in COMMANDS}
    for arguments in COMMANDS:
        given = command_line._build_parser().parse_args(arguments)
        if getattr(given, "recipe", None) in OUTPUT_FILES:
            given.recipe = None  # Tested below.
        if kind := KINDS.get(arguments[0]):
            assert isinstance(build_recipe(given, kind), kind)
        for name in re.findall(r"examples/\S+", " ".join(arguments)):
            assert (ROOT / name).is_file()
        if arguments[0] in ("layers", "classes", "models"):
            assert command_line.main(arguments) == 0
            assert capsys.readouterr().out


def test_a_command_of_each_kind_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    for arguments in COMMANDS:
        if "-o" in arguments and arguments[arguments.index("-o") + 1] in OUTPUT_FILES:
            assert command_line.main([*arguments, *SMALL_OPTIONS[arguments[0]]]) == 0, arguments
    assert read_recipe(tmp_path / "dogs.png") == ChannelRecipe(channel=80, size=64, steps=8)
    goldfish = ClassRecipe(target="goldfish", size=64, steps=8)
    assert read_recipe(tmp_path / "goldfish.png") == Engine("cpu").settle(goldfish)
    assert read_recipe(tmp_path / "like-it.png") == read_recipe(
        tmp_path / "swirls.png"
    ).with_changes(octaves=6)


@pytest.mark.at_scale
def test_the_shipped_class_image_is_that_of_its_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DREAM_PRECISION", "float32")  # The precision in which it was made.
    assert command_line.main(["class", "goldfish", "-o", str(tmp_path / "goldfish.png")]) == 0
    settled = Engine("cpu").settle(ClassRecipe())
    ships, made = EXAMPLES / "class-goldfish-seed0.png", tmp_path / "goldfish.png"
    assert read_recipe(made) == settled == read_recipe(ships)
    # The page opens with its recipe's image.
    shown, again = (load_image(path) for path in (ships, made))
    assert torch.equal(shown, again) or not CAN_REMAKE
    # Elsewhere it is another goldfish in the same places.
    assert correlation(shown, again, torch.zeros_like(shown)) > 0.4


def test_the_make_targets_it_names_are_there() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"(?:`|^)make (\w+)", TEXT, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def anchors(page: str) -> set[str]:
    """Return the anchors of a page: its headings, as GitHub spells them."""
    titles = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", page, flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


TRACKED_FILES = tracked_files()


def links(name: str) -> list[tuple[str, Path, str]]:
    """Return the links of a page to this repository, with their files and anchors."""
    page = ROOT / name
    found = []
    for link in re.findall(r"(?:\]\(|(?:src|href)=\")([^)\"]+)", page.read_text(encoding="utf-8")):
        path, _, anchor = link.partition("#")
        if not path.startswith("https://"):
            found.append((link, (page.parent / path).resolve() if path else page, anchor))
    return found


def test_what_a_page_links_to_is_there_and_in_a_space() -> None:
    sent = space_files()
    pages = [name for name in TRACKED_FILES if name.endswith(".md")]
    assert {"README.md", *(f"docs/{page.name}" for page in PAGES)} < set(pages) & set(sent)
    for name in pages:
        for link, target, anchor in links(name):
            path = str(target.relative_to(ROOT))
            assert path in (sent if name in sent else TRACKED_FILES), f"{name} links to {link}"
            if anchor:
                assert anchor in anchors(target.read_text(encoding="utf-8")), link


def test_the_files_that_pages_name_are_there() -> None:
    folders = "dream|tests|docs|examples|[.]github"
    named = set(re.findall(rf"(?<![\w/])(?:{folders})/[\w./-]*\w", TEXT))
    assert "dream/networks/catalogue.py" in named and "tests/contract.json" in named
    for name in named:
        assert (ROOT / name).exists(), name


def test_the_environment_variables_are_those_of_the_code() -> None:
    code = "".join(path.read_text() for path in (ROOT / "dream").rglob("*.py"))
    assert set(re.findall(r"`(DREAM_\w+)`", DOCS)) == set(re.findall(r'"(DREAM_\w+)"', code))


def test_the_front_matter_is_valid_for_a_space() -> None:
    data = SpaceCard(README).data.to_dict()
    assert data["sdk"] == "gradio" and (ROOT / data["app_file"]).is_file()
    assert f"gradio=={data['sdk_version']}\n" in (ROOT / "constraints.txt").read_text()
    assert {data["colorFrom"], data["colorTo"]} <= COLOURS
    assert len(data["short_description"]) <= 60
    assert re.fullmatch(r"3\.1[0-9](\.\d+)?", data["python_version"])
    assert data["license"] == "mit" and "MIT License" in (ROOT / "LICENSE").read_text()
    assert data["title"].strip() and re.fullmatch(r"[\U0001F300-\U0001FAFF]", data["emoji"])
    assert data["suggested_hardware"] in {each.value for each in SpaceHardware}
    assert all(isinstance(tag, str) for tag in data["tags"])
    # The hub silently ignores others, such as `hardware`; the sync adds `thumbnail`.
    assert set(data) == {
        *("title", "emoji", "colorFrom", "colorTo", "sdk", "sdk_version", "python_version"),
        *("app_file", "short_description", "suggested_hardware", "license", "models"),
        *("preload_from_hub", "tags"),
    }
    for line in data["preload_from_hub"]:
        assert re.fullmatch(r"[\w.-]+/[\w.-]+ [\w.]+ [0-9a-f]{40}", line)


def test_the_space_installs_ranges_that_hold_the_tested_versions() -> None:
    from packaging.requirements import Requirement

    pins, ranges = (
        [Requirement(line) for line in (ROOT / name).read_text().splitlines() if "=" in line]
        for name in ("constraints.txt", "requirements.txt")
    )
    for python in ("3.11", "3.12"):
        where = {"python_version": python}
        pins_here, ranges_here = (
            [each for each in listed if not each.marker or each.marker.evaluate(where)]
            for listed in (pins, ranges)
        )
        tested = {each.name: str(each.specifier).removeprefix("==") for each in pins_here}
        assert len(tested) == len(pins_here) and len(ranges_here) == 10
        for each in ranges_here:
            assert {bound.operator for bound in each.specifier} == {">=", "<"}, each
            assert each.specifier.contains(tested[each.name]), each


def test_no_file_is_too_large_for_a_space() -> None:
    sizes = {name: (ROOT / name).stat().st_size for name in TRACKED_FILES}
    assert sizes and max(sizes.values()) < 10_000_000
    assert all(size < 1_000_000 for name, size in sizes.items() if name.startswith("examples/"))
