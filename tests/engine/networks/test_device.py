"""The device is picked once: by name, by DREAM_DEVICE, or the best available."""

from argparse import Namespace
from pathlib import Path

import pytest
import torch

from dream import DeviceError, Engine
from dream.commands.options import build_engine
from dream.networks import catalogue, device
from dream.page import app


@pytest.mark.parametrize("name", ["nonsense", "cuda:97", "xpu", "meta"])
def test_a_device_that_is_not_there_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DREAM_DEVICE", name)
    with pytest.raises(DeviceError, match=f"device '{name}' is not available on this machine; try"):
        Engine()


CPU = torch.device("cpu")
HEAVY = ("vgg16", "vgg19", "inception_v3", "resnet50", "densenet121")


@pytest.mark.parametrize("gain", [0.6, 1.49, 1.5, 8.0])
def test_only_heavy_networks_and_only_where_it_pays_run_in_bfloat16_on_a_cpu(
    gain: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DREAM_PRECISION", raising=False)
    monkeypatch.setattr(device, "bfloat16_speedup", lambda: gain)
    for name, card in catalogue.CARDS.items():
        half = name in HEAVY and gain >= 1.5
        expected = torch.bfloat16 if half else torch.float32
        assert device.pick_dtype(CPU, card) == Engine("cpu").precision(name) == expected, name


def test_light_networks_do_not_even_ask_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    def asked() -> float:
        raise AssertionError("the processor was timed")

    monkeypatch.delenv("DREAM_PRECISION", raising=False)
    monkeypatch.setattr(device, "bfloat16_speedup", asked)
    assert device.pick_dtype(CPU, catalogue.get_card("dreamlet")) == torch.float32
    assert device.pick_dtype(torch.device("mps"), catalogue.get_card("vgg16")) == torch.float32


@pytest.mark.parametrize(("half", "expected"), [(0.25, 4.0), (4.0, 0.25)])
def test_the_gain_is_what_a_convolution_takes_in_one_to_what_it_takes_in_the_other(
    half: float, expected: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, ran = [0.0], list[tuple[torch.dtype, torch.dtype]]()

    def convolve(x: torch.Tensor, weight: torch.Tensor, padding: int) -> None:
        # Other work may occupy the processor meanwhile.
        clock[0] += (half if x.dtype == torch.bfloat16 else 1.0) * (1 + 9 * (len(ran) == 2))
        ran.append((x.dtype, weight.dtype))

    monkeypatch.setattr("torch.nn.functional.conv2d", convolve)
    monkeypatch.setattr("time.perf_counter", lambda: clock[0])
    assert device.bfloat16_speedup.__wrapped__() == expected
    assert set(ran) == {(dtype, dtype) for dtype in device.PRECISIONS.values()}


@pytest.mark.parametrize("name", ["float32", "bfloat16"])
def test_the_environment_names_the_precision(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DREAM_PRECISION", name)
    wanted = {"float32": torch.float32, "bfloat16": torch.bfloat16}[name]
    assert {Engine("cpu").precision(model) for model in catalogue.CARDS} == {wanted}
    assert Engine("cpu").network("dreamlet").dtype == wanted


def test_a_precision_that_is_none_is_refused_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DREAM_PRECISION", "half")
    with pytest.raises(DeviceError, match="DREAM_PRECISION must be float32 or bfloat16, not 'half"):
        Engine("cpu")


def test_programs_ask_cuda_to_repeat_exactly_and_an_engine_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", False)
    monkeypatch.setenv("DREAM_PRECISION", "float32")
    with monkeypatch.context() as cuda:
        cuda.setattr("dream.engine.pick_device", lambda name: torch.device("cuda"))
        assert Engine().device.type == "cuda"
    assert not torch.backends.cudnn.deterministic
    build_engine(Namespace(weights=None), "dreamlet")
    assert torch.backends.cudnn.deterministic
    torch.backends.cudnn.deterministic = False
    monkeypatch.setenv("DREAM_DEVICE", "nonsense")
    with pytest.raises(DeviceError):
        app.main()
    assert torch.backends.cudnn.deterministic


@pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA device")
def test_a_gpu_dreams_what_the_cpu_dreams() -> None:
    from dream import DreamRecipe

    picture = torch.rand(1, 3, 96, 128, generator=torch.Generator().manual_seed(0))
    recipe = DreamRecipe(octaves=2, iterations=3, max_side=128)
    device.use_deterministic_cudnn()
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
    monkeypatch.setattr("dream.networks.weights._local_files", lambda source: [])
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
