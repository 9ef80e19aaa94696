"""The device is picked once, by name, by DREAM_DEVICE or by what there is."""

from pathlib import Path

import pytest
import torch

from dream import DeviceError, Engine, RecipeError, device


def test_the_environment_names_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DREAM_DEVICE", "cpu")
    assert Engine().device == torch.device("cpu")


@pytest.mark.parametrize("name", ["nonsense", "cuda:97", "xpu"])
def test_a_device_that_is_not_there_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DREAM_DEVICE", name)
    with pytest.raises(DeviceError, match=f"device '{name}' is not to be had on this machine; try"):
        Engine()


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("fpu sse2 avx512f avx512_bf16", torch.bfloat16),
        ("fpu amx_bf16 amx_tile", torch.bfloat16),
        ("fp asimd bf16", torch.bfloat16),
        ("fpu sse2 avx2", torch.float32),
    ],
)
def test_bfloat16_only_where_the_processor_multiplies_it(
    flags: str, expected: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: f"flags\t\t: {flags}\n")
    assert device.precision(torch.device("cpu")) == expected


def test_float32_where_the_processor_cannot_be_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object, **__: object) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", missing)
    assert device.precision(torch.device("cpu")) == torch.float32
    assert device.precision(torch.device("mps")) == torch.float32


@pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA device")
def test_a_gpu_dreams_what_the_cpu_dreams() -> None:
    from dream import DreamRecipe

    picture = torch.rand(1, 3, 96, 128, generator=torch.Generator().manual_seed(0))
    recipe = DreamRecipe(octaves=2, iterations=3, max_side=128)
    ends = []
    for name in ("cuda", "cuda", "cpu"):
        *_, frame = Engine(name).dream(picture, recipe)
        ends.append(frame.tensor.cpu())
    assert torch.equal(ends[0], ends[1])
    changes = torch.stack([(end - picture).flatten() for end in ends[1:]])
    assert torch.corrcoef(changes)[0, 1] > 0.8


def test_the_first_network_is_dreamlet_on_a_cpu_and_a_classic_that_is_there_on_a_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dream.weights._cached", lambda source: [])
    monkeypatch.setenv("DREAM_WEIGHTS_DIR", str(tmp_path))
    engine = Engine("cpu")
    for model in ("vgg16", "squeezenet1_1"):
        (tmp_path / f"{model}.safetensors").touch()
    assert engine.default_model() == "dreamlet"
    engine.device = torch.device("cuda")
    assert engine.default_model() == "vgg16"
    (tmp_path / "vgg16.safetensors").unlink()
    assert engine.default_model() == "dreamlet"
    engine.files["googlenet"] = tmp_path / "mine.safetensors"
    assert engine.default_model() == "googlenet"


def test_the_environment_names_the_first_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DREAM_DEFAULT_MODEL", "resnet50")
    assert Engine("cpu").default_model() == "resnet50"
    monkeypatch.setenv("DREAM_DEFAULT_MODEL", "resnet5")
    with pytest.raises(RecipeError, match="resnet50"):
        Engine("cpu").default_model()
