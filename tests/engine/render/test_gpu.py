"""On a device with its own memory no tensors mix, nothing waits, and the GPU kit runs."""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor

from dream import Engine, Frame
from dream.render import objective
from tests.support.processes import run_python
from tests.support.software_device import SoftwareDevice, software_device
from tools.gpu import comparison
from tools.gpu.__main__ import PARTS, main
from tools.gpu.cases import Case, cases
from tools.measure import correlation

CASES = cases(side=64, steps=2)
# One of each kind, and what takes other paths; the other cases run at scale.
FEW_CASES = {*comparison.SMALL_CASES, "dream, guide", "dream, bands and restraints", "dream, tiles"}


@pytest.fixture(scope="module")
def device() -> Iterator[SoftwareDevice]:
    with software_device() as device:
        yield device


@pytest.fixture(scope="module")
def meta_engine(device: SoftwareDevice) -> Engine:
    """Return an engine on the software device."""
    return Engine("meta")


def first_step(case: Case, engine: Engine) -> tuple[Tensor, Tensor]:
    """Return the images before and after the first step, on the CPU."""
    before, after, *_ = (frame.tensor.cpu() for frame in case.render(engine))
    return before, after


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[] if name in FEW_CASES else pytest.mark.at_scale) for name in CASES],
)
def test_every_picture_is_painted_on_a_device_that_no_step_waits_for(
    name: str, engine: Engine, meta_engine: Engine, device: SoftwareDevice
) -> None:
    device.doubles.clear()
    frames = CASES[name].render(meta_engine)
    start, first = next(frames).tensor, next(frames).tensor
    device.waits.clear()
    for frame in frames:
        # The first step of a stage may load data; a finished image is handed over.
        if frame.octave_step > 1 and not frame.finished:
            assert not device.waits
        device.waits.clear()
    assert not device.doubles
    before, after = first_step(CASES[name], engine)
    precision = str(engine.precision("dreamlet")).removeprefix("torch.")
    least = comparison.min_correlation(CASES[name], precision)
    assert correlation(first.cpu(), after, before) > least
    assert (start.cpu() - before).abs().max() < 0.5 / 255


def test_a_tensor_of_the_cpu_in_a_step_is_refused(
    meta_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        objective, "_device_constant", lambda numbers, dtype, _: torch.tensor(numbers)
    )
    with pytest.raises(RuntimeError, match="Expected all tensors to be on the same device"):
        list(CASES["dream, channels"].render(meta_engine))


def test_a_step_that_asks_for_a_number_is_seen(meta_engine: Engine, device: SoftwareDevice) -> None:
    frames = CASES["dream"].render(meta_engine)
    next(frames)
    device.waits.clear()
    assert len(next(frames).values) == 1
    assert device.waits == ["aten._to_copy.default"]


# A process that can import nothing but the kit's requirements.
KIT_ALONE = """
import sys
needed = {"torch", "torchvision", "numpy", "PIL", "safetensors"}
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name in %r:
            raise ImportError(f"{name} is not needed")
sys.meta_path.insert(0, Missing())
from tools.gpu import comparison
from tools.gpu.__main__ import main
sys.exit(main(sys.argv[1:]))
"""
OTHERS = ("gradio", "huggingface_hub", "av", "cv2", "pytest", "ray", "mlflow", "spaces", "tests")


@pytest.mark.at_scale
def test_the_kit_runs_on_a_cpu_with_few_packages(tmp_path: Path) -> None:
    options = ["--device", "cpu", "--out", str(tmp_path)]
    done = run_python("-c", KIT_ALONE % (OTHERS,), *options, timeout=None)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    written = json.loads((tmp_path / "gpu.json").read_text())
    assert [row["part"] for row in written["parts"]] == list(PARTS)
    assert {row["case"] for row in written["pictures"]} == set(comparison.SMALL_CASES)
    assert not written["failures"] and "Nothing failed" in (tmp_path / "gpu.md").read_text()
    assert {path.name for path in tmp_path.iterdir()} == {
        *("gpu.json", "gpu.md", "cases.png", "full.png"),
        *("repeat_float32.png", "repeat_bfloat16.png"),
    }


@dataclass(frozen=True)
class BrokenCase(Case):
    """A case that fails, or renders NaN, on other devices than the CPU."""

    error: str = ""

    def render(self, engine: Engine) -> Iterator[Frame]:
        for frame in super().render(engine):
            if engine.network("dreamlet").dtype == torch.float32:
                yield frame
            elif self.error:
                raise RuntimeError(self.error)
            else:
                yield replace(frame, render=partial(torch.mul, frame.tensor, math.nan))


def test_the_kit_lists_what_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    case = CASES["dream"]
    broken = {
        "a dream": BrokenCase(case.recipes, case.pictures, error="no kernel image is available"),
        "another": BrokenCase(case.recipes, case.pictures),
    }
    monkeypatch.setattr(comparison, "cases", lambda *_, **__: broken)
    monkeypatch.setattr(comparison, "SMALL_CASES", broken)
    assert main(["--device", "cpu", "--out", str(tmp_path), "--parts", "pictures"]) == 1
    failures = capsys.readouterr().err.splitlines()
    assert "FAILED: a dream in bfloat16: RuntimeError: no kernel image is available" in failures
    assert "FAILED: another in bfloat16: values outside of [0, 1]" in failures


def test_what_answers_on_the_device_is_mapped_on_a_picture_of_it(meta_engine: Engine) -> None:
    photo = CASES["dream"].pictures
    assert photo is not None
    response = meta_engine.response(photo.to("meta"))
    assert response.overlay_heatmap(response.top(1)[0].channel).size == (
        photo.shape[3],
        photo.shape[2],
    )
