"""The workflows have few permissions, and sync only a Space's files; `make lint` checks them."""

import re
import shutil
import subprocess
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from huggingface_hub import SpaceCard
from ruamel.yaml import YAML

from dream import DreamRecipe
from tests.conftest import EXAMPLES, ROOT
from tests.support.space import load_sync_script, space_files, tracked_files

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def read_workflow(name: str) -> dict[str, Any]:
    # YAML 1.2, as GitHub reads it: `on` is no boolean.
    workflow: dict[str, Any] = YAML(typ="safe").load(ROOT / ".github" / "workflows" / name)
    return workflow


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_may_do_little_and_pins_what_it_uses(path: Path) -> None:
    workflow = read_workflow(path.name)
    assert workflow["permissions"] == {"contents": "read"}
    for job in workflow["jobs"].values():
        assert set(job.get("permissions", {})) <= {"contents", "id-token"}
        assert job["timeout-minutes"] <= 45
        for step in job["steps"]:
            if "uses" in step:
                assert re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", step["uses"])
            if step.get("uses", "").startswith("actions/checkout"):
                assert step["with"]["persist-credentials"] is False
            # Text by strangers never becomes part of a command.
            assert "${{" not in step.get("run", "")


def test_the_oldest_torch_is_put_into_the_constraints(tmp_path: Path) -> None:
    job = read_workflow("ci.yml")["jobs"]["smoke"]
    (step,) = (each for each in job["steps"] if "oldest" in each.get("if", ""))
    shutil.copy(ROOT / "constraints.txt", tmp_path)
    subprocess.run(["bash", "-e", "-c", step["run"]], cwd=tmp_path, check=True)
    lines = (tmp_path / "constraints.txt").read_text().splitlines()
    assert {"torch==2.10.0", "torchvision==0.25.0"} <= set(lines)
    assert len(lines) == len((ROOT / "constraints.txt").read_text().splitlines())


def test_a_fresh_space_is_tried_and_all_tests_run_on_every_push_and_each_night() -> None:
    workflow = read_workflow("ci.yml")
    assert {"push", "pull_request", "schedule"} <= set(workflow["on"])
    jobs = workflow["jobs"]
    assert jobs["smoke"]["if"] == "github.event_name != 'schedule'" and "if" not in jobs["space"]
    *_, python, _, run = jobs["space"]["steps"]
    card = SpaceCard((ROOT / "README.md").read_text(encoding="utf-8")).data.to_dict()
    assert python["with"]["python-version"] == card["python_version"]
    assert "tests/server/test_space.py" in run["run"]
    assert jobs["all"]["if"] == "github.event_name != 'pull_request'"
    assert "test-all" in jobs["all"]["steps"][-1]["run"]


def test_only_what_passed_on_main_is_synced() -> None:
    workflow = read_workflow("sync.yml")
    (job,) = workflow["jobs"].values()
    after = workflow["on"]["workflow_run"]
    assert after["workflows"] == [read_workflow("ci.yml")["name"]] and after["branches"] == ["main"]
    for needed in ("vars.HF_SPACE != ''", "conclusion == 'success'", "event == 'push'"):
        assert needed in job["if"]
    assert "head_sha" in job["steps"][0]["with"]["ref"]


@pytest.fixture
def script() -> ModuleType:
    return load_sync_script()


def test_a_space_gets_the_app_and_nothing_else() -> None:
    sent = space_files()
    assert {
        "README.md",
        "app.py",
        "requirements.txt",
        "dream/networks/dreamlet.safetensors",
        "docs/api.md",
    } <= set(sent)
    assert {Path(name).parts[0] for name in sent} == {
        *("LICENSE", "requirements.txt", "app.py", "dream", "examples"),
        *("README.md", "SECURITY.md", "CONTRIBUTING.md", "docs"),
    }


class Hub:
    """A hub whose Space passes through (stage, commit) pairs."""

    def __init__(self, *stages: tuple[str, str]) -> None:
        self.stages = list(stages)
        self.uploads: list[dict[str, Any]] = []

    def upload_folder(self, **given: Any) -> SimpleNamespace:
        readme = Path(given["folder_path"]) / "README.md"
        self.uploads.append(given | {"readme": readme.read_text(encoding="utf-8")})
        return SimpleNamespace(oid="new")

    def wait_for_space(self, space: str, **given: Any) -> SimpleNamespace:
        stage, sha = self.stages.pop(0)
        return SimpleNamespace(stage=stage, raw={"sha": sha})


class Dreams:
    def __init__(self, space: str) -> None:
        assert space == "someone/dreams"

    def predict(self, *given: Any, **knobs: Any) -> tuple[str, dict[str, Any]]:
        recipe = DreamRecipe(intensity=knobs["intensity"]).to_dict()
        return str(EXAMPLES / "class-goldfish-seed0.png"), recipe


def test_syncing_waits_for_the_new_commit_and_dreams_once(script: ModuleType) -> None:
    hub = Hub(("RUNNING", "old"), ("RUNNING", "new"))
    path = script.sync("someone/dreams", hub, Dreams, "Sync abc", pause=0)
    assert path.endswith(".png") and not hub.stages
    (upload,) = hub.uploads
    assert upload["repo_type"] == "space" and upload["delete_patterns"] == ["*"]


def test_the_readme_of_a_space_names_its_picture(script: ModuleType) -> None:
    hub = Hub(("RUNNING", "new"))
    script.sync("someone/dreams", hub, Dreams, "Sync abc", pause=0)
    (upload,) = hub.uploads
    here = (ROOT / "README.md").read_text(encoding="utf-8")
    data = SpaceCard(upload["readme"]).data.to_dict()
    address = "https://huggingface.co/spaces/someone/dreams/resolve/main/"
    assert data.pop("thumbnail").startswith(address)
    assert data == SpaceCard(here).data.to_dict()  # Everything else is unchanged.
    assert SpaceCard(upload["readme"]).text == SpaceCard(here).text
    # The files it names are uploaded, and this checkout stays unchanged.
    picture = SpaceCard(upload["readme"]).data.to_dict()["thumbnail"].removeprefix(address)
    assert picture in space_files()
    assert "thumbnail" not in SpaceCard(here).data.to_dict()


def test_what_is_staged_is_the_app_as_it_is_here(script: ModuleType, tmp_path: Path) -> None:
    script.stage("someone/dreams", str(tmp_path))
    listed = tracked_files(*script.FILES)
    for name in listed:
        if name != "README.md":
            assert (tmp_path / name).read_bytes() == (ROOT / name).read_bytes(), name
    assert len(listed) > 50 and not (tmp_path / ".git").exists()


@pytest.mark.parametrize("stage", ["BUILD_ERROR", "RUNTIME_ERROR", "PAUSED"])
def test_a_space_that_does_not_run_fails_the_sync(stage: str, script: ModuleType) -> None:
    with pytest.raises(RuntimeError, match=f"someone/dreams is not running but at {stage}"):
        script.sync("someone/dreams", Hub((stage, "new")), Dreams, "Sync abc", pause=0)
