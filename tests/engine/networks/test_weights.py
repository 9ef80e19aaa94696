"""Weights from the hub are checked and cached; failures are reported and bad files rejected."""

import concurrent.futures
import gc
import hashlib
import io
import json
import os
import re
import subprocess
import sys
import time
import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import huggingface_hub.constants
import pytest
import safetensors.torch
import torch
from torch import nn

from dream import DreamRecipe, Engine, WeightsError, WeightsUnavailable, load_image
from dream.networks import catalogue, state_dict, weights
from dream.networks.convolution import HAS_DETERMINISTIC_ONEDNN
from dream.networks.model_card import ModelCard, Source
from dream.networks.network import Network
from dream.networks.weights import DownloadProgress
from dream.page import status_line
from dream.render.objective import energy
from dream.tensors import resize
from tests.conftest import EXAMPLES, REAL_WEIGHTS_FOLDER, ROOT
from tests.support.hub import Hub, run_hub
from tests.support.processes import resident_mb
from tests.support.small_disk import mount_small_disk

MODEL = "squeezenet1_1"
REPO, FILE, REVISION = "somebody/networks", "squeezenet1_1.safetensors", "a" * 40
HUB_PATH = f"/{REPO}/resolve/{REVISION}/{FILE}"

pytestmark = pytest.mark.filterwarnings("default")


def random_state(model: str = MODEL) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return catalogue.get_card(model).build().state_dict()


def to_safetensors(tensors: dict[str, torch.Tensor]) -> bytes:
    return safetensors.torch.save({name: each.contiguous() for name, each in tensors.items()})


def write_weights(path: Path, tensors: dict[str, torch.Tensor]) -> Path:
    path.write_bytes(to_safetensors(tensors))
    return path


@pytest.fixture(scope="module")
def content() -> bytes:
    return to_safetensors(random_state())


def point_at(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Point the client at a hub, as HF_ENDPOINT does before its import."""
    constants = huggingface_hub.constants
    template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "ENDPOINT", address)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """Run a hub with empty caches, without this machine's settings."""
    with run_hub() as hub:
        point_at(hub.address, monkeypatch)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
        # The client reports progress every 10 MB; these files are smaller.
        monkeypatch.setattr(huggingface_hub.constants, "DOWNLOAD_CHUNK_SIZE", 65536)
        monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
        monkeypatch.delenv("DREAM_WEIGHTS_DIR", raising=False)
        yield hub


@pytest.fixture
def card(hub: Hub, content: bytes, monkeypatch: pytest.MonkeyPatch) -> ModelCard:
    """Put a SqueezeNet with random weights on the hub and at torchvision's address."""
    pickled = io.BytesIO()
    torch.save(random_state(), pickled)
    digits = hashlib.sha256(pickled.getvalue()).hexdigest()[:8]
    hub.put(f"/models/{MODEL}-{digits}.pth", pickled.getvalue())
    source = Source(
        repo=REPO,
        file=FILE,
        revision=REVISION,
        sha256=hub.put(HUB_PATH, content),
        megabytes=5,
        url=f"{hub.address}/models/{MODEL}-{digits}.pth",
    )
    card = replace(catalogue.get_card(MODEL), source=source)
    monkeypatch.setitem(catalogue.CARDS, MODEL, card)
    return card


def torchvision_path(card: ModelCard) -> str:
    return "/" + card.source.url.split("/", 3)[3]


def fetch(card: ModelCard) -> tuple[Path, list[DownloadProgress]]:
    steps, fetching = [], weights.fetch_weights(card)
    while True:
        try:
            steps.append(next(fetching))
        except StopIteration as done:
            return done.value, steps


def load_file(path: Path, model: str = MODEL, with_head: bool = True) -> nn.Module:
    return state_dict.load_network(catalogue.get_card(model), path, with_head=with_head)


def has_same_weights(path: Path) -> bool:
    ours = random_state()
    loaded = load_file(path).state_dict()
    return all(torch.equal(ours[name], each) for name, each in loaded.items())


def test_the_first_start_downloads_and_the_second_asks_for_nothing(
    hub: Hub, card: ModelCard
) -> None:
    path, steps = fetch(card)
    assert has_same_weights(path) and path == weights.find_weights(card)
    assert {step.source for step in steps} == {"the hub"} and hub.transfer_count() == 1
    hub.requests.clear()
    assert fetch(card) == (path, [])
    assert hub.requests == []


def test_progress_is_told_in_bytes_and_on_the_page(
    hub: Hub, card: ModelCard, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.faults[HUB_PATH] = "slow"
    _, steps = fetch(card)
    done = [step.bytes_done for step in steps]
    assert done == sorted(done) and len(set(done)) > 3 and done[-1] <= len(content)
    assert {(step.model, step.bytes_total) for step in steps} == {(MODEL, len(content))}
    assert len(list(status_line.download_status(iter(steps)))) == 1  # So often at most.
    monkeypatch.setattr(status_line, "DOWNLOAD_STATUS_SECONDS", -1)
    texts = list(status_line.download_status(iter(steps)))
    said = r"Downloading squeezenet1_1 from the hub \(first use only\): \d of 5 MB\."
    assert len(texts) == len(steps) and all(re.search(said, text) for text in texts)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("wrong", "squeezenet1_1.safetensors is damaged or a different file: its sha256 is"),
        ("cut", "the hub: "),
        ("gated", "access is restricted"),
        (404, "there is no such repository"),
        ("absent", "there is no such file"),
        (500, "500"),
        (503, "503"),
    ],
)
def test_what_the_hub_fails_at_torchvision_makes_good(
    fault: int | str, reason: str, hub: Hub, card: ModelCard
) -> None:
    hub.faults[HUB_PATH] = fault
    start = time.monotonic()
    path, _ = fetch(card)
    assert path.suffix == ".pth" and has_same_weights(path)
    hub.requests.clear()
    assert fetch(card) == (path, []) and hub.requests == []  # It is cached like the hub's.
    # Where torchvision fails too, the message names both failures.
    path.unlink()
    hub.faults[torchvision_path(card)] = 503
    with pytest.raises(WeightsUnavailable) as caught:
        fetch(card)
    message = str(caught.value)
    assert reason in message and "torchvision: HTTP Error 503" in message
    assert "dreamlet, which needs no download" in message and "\n" not in message
    assert time.monotonic() - start < 30
    assert weights.find_weights(card) is None  # No file is left that the next start would trust.


def test_a_hub_that_is_not_there_fails_within_half_a_minute(
    card: ModelCard, monkeypatch: pytest.MonkeyPatch
) -> None:
    point_at("http://127.0.0.1:9", monkeypatch)
    nowhere = replace(card, source=replace(card.source, url="http://127.0.0.1:9/a-12345678.pth"))
    start = time.monotonic()
    with pytest.raises(WeightsUnavailable, match=r"the hub: .*refused.*torchvision: .*refused"):
        fetch(nowhere)
    assert time.monotonic() - start < 30


def test_transfers_that_stall_are_given_up_within_half_a_minute(
    hub: Hub, card: ModelCard, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert weights.HUB_SECONDS + weights.STALL_SECONDS + weights.READ_SECONDS < 30
    monkeypatch.setattr(weights, "STALL_SECONDS", 2)
    monkeypatch.setattr(weights, "READ_SECONDS", 2)
    hub.faults |= {HUB_PATH: "stall", torchvision_path(card): "stall"}
    start = time.monotonic()
    with pytest.raises(WeightsUnavailable, match="nothing arrived for 2 seconds; torchvision: "):
        fetch(card)
    assert time.monotonic() - start < 15
    assert weights.find_weights(card) is None


def test_a_cached_file_that_was_altered_is_fetched_anew(hub: Hub, card: ModelCard) -> None:
    path, _ = fetch(card)
    blob = path.resolve()
    blob.write_bytes(blob.read_bytes()[:-1] + b"?")
    hub.requests.clear()
    again, _ = fetch(card)
    assert has_same_weights(again) and hub.transfer_count() == 1
    again.resolve().write_bytes(b"half")
    hub.faults |= {HUB_PATH: "gated", torchvision_path(card): "gated"}
    with pytest.raises(WeightsUnavailable, match=r"here: .* is damaged.*the hub: .*restricted"):
        fetch(card)
    assert again.read_bytes() == b"half"  # The user's own file is not removed.


def test_a_torchvision_file_that_was_altered_is_fetched_anew(hub: Hub, card: ModelCard) -> None:
    hub.faults[HUB_PATH] = "gated"
    path, _ = fetch(card)
    path.write_bytes(path.read_bytes()[:500_000])
    assert has_same_weights(fetch(card)[0])
    hub.faults[torchvision_path(card)] = "cut"
    path.write_bytes(b"half")
    with pytest.raises(WeightsUnavailable, match=r"torchvision: .*(interrupted|IncompleteRead)"):
        fetch(card)
    assert [each.read_bytes() for each in path.parent.iterdir()] == [b"half"]


def test_a_newer_file_of_another_program_stays_and_ours_is_fetched_beside_it(
    hub: Hub, card: ModelCard, content: bytes
) -> None:
    # Two networks are pinned by `main` and their SHA-256; `main` may move.
    card = replace(card, source=replace(card.source, revision="main"))
    path = HUB_PATH.replace(REVISION, "main")
    newer = content[:-1] + bytes([content[-1] ^ 1])
    hub.put(path, newer)
    newer_file = Path(huggingface_hub.hf_hub_download(REPO, FILE)).resolve()
    hub.requests.clear()
    assert weights.find_weights(card) is None
    torchvisions, _ = fetch(card)  # The hub no longer has ours.
    assert torchvisions.suffix == ".pth" and f"GET {path}" not in hub.requests
    torchvisions.unlink()
    hub.put(path, content)
    hub.commit = REVISION
    ours, _ = fetch(card)
    assert has_same_weights(ours) and ours.suffix == ".safetensors"
    assert newer_file.read_bytes() == newer


def test_offline_asks_for_nothing_and_says_so(
    hub: Hub, card: ModelCard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsUnavailable, match=r"HF_HUB_OFFLINE is set.*HF_HUB_OFFLINE is set"):
        fetch(card)
    assert hub.requests == []
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    path, _ = fetch(card)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert fetch(card) == (path, [])


def test_a_cache_that_cannot_be_written_is_told(
    card: ModelCard, monkeypatch: pytest.MonkeyPatch
) -> None:
    # /proc accepts no folders, even from root.
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", "/proc/hub")
    monkeypatch.setenv("TORCH_HOME", "/proc/torch")
    with pytest.raises(WeightsUnavailable, match=r"the hub: .*; torchvision: .*"):
        fetch(card)


def test_a_full_disk_is_told_and_leaves_nothing(
    tmp_path: Path, card: ModelCard, monkeypatch: pytest.MonkeyPatch
) -> None:
    with mount_small_disk(tmp_path / "small", "1m") as disk:
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(disk / "hub"))
        monkeypatch.setenv("TORCH_HOME", str(disk / "torch"))
        with pytest.raises(WeightsUnavailable, match="No space left on device"):
            fetch(card)
        assert weights.find_weights(card) is None


def test_a_network_that_the_hub_lacks_is_taken_from_torchvision(hub: Hub, card: ModelCard) -> None:
    lacking = replace(card, source=Source(5, url=card.source.url))
    for _ in range(2):
        assert fetch(lacking)[0].suffix == ".pth"
    assert hub.requests == [f"GET {torchvision_path(card)}"]


SCRIPT = """
import dataclasses, json, sys
from dream.networks import catalogue, weights
card = catalogue.get_card("squeezenet1_1")
card = dataclasses.replace(card, source=dataclasses.replace(card.source, **json.loads(sys.argv[1])))
list(weights.fetch_weights(card))
print(weights.find_weights(card))
"""


@pytest.mark.at_scale
def test_two_processes_at_once_share_one_cache_by_the_environment(
    hub: Hub, card: ModelCard, tmp_path: Path
) -> None:
    hub.faults[HUB_PATH] = "slow"
    known = ("repo", "file", "revision", "sha256", "url")
    source = json.dumps({name: getattr(card.source, name) for name in known})
    home = {"HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "0", "HF_ENDPOINT": hub.address}
    command = [sys.executable, "-c", SCRIPT, source]
    running = [
        subprocess.Popen(
            command, cwd=ROOT, env=os.environ | home, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    paths = {process.communicate(timeout=120)[0].strip() for process in running}
    assert [process.returncode for process in running] == [0, 0] and len(paths) == 1
    path = Path(paths.pop())
    assert path.is_relative_to(tmp_path / "home") and has_same_weights(path)


def test_where_what_ships_is_missing_no_path_is_told_and_no_other_such_network_advised() -> None:
    card = catalogue.get_card("dreamlet")
    gone = replace(card, source=replace(card.source, file="none.safetensors"))
    with pytest.raises(WeightsUnavailable) as caught:
        fetch(gone)
    assert str(caught.value) == (
        "the weights of dreamlet, which ship with this program, are missing or damaged (here: No "
        "such file or directory). Install it again, or choose another network."
    )


def test_weights_of_ones_own_come_first_and_need_no_hub(
    hub: Hub, card: ModelCard, content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / f"{MODEL}.safetensors").write_bytes(content)
    monkeypatch.setenv("DREAM_WEIGHTS_DIR", str(tmp_path))
    assert fetch(card) == (tmp_path / f"{MODEL}.safetensors", [])
    assert hub.requests == []


def test_a_file_that_does_not_fit_is_told_tensor_by_tensor(tmp_path: Path) -> None:
    tensors = random_state()
    for name in ("features.0.bias", "features.3.squeeze.bias", "features.3.squeeze.weight"):
        del tensors[name]
    tensors["features.0.weight"] = torch.zeros(64, 3, 5, 5)
    for number in range(5):
        tensors[f"extra.{number}"] = torch.zeros(1)
    with pytest.raises(WeightsError) as caught:
        load_file(write_weights(tmp_path / "mine.safetensors", tensors))
    assert str(caught.value) == (
        "mine.safetensors does not fit squeezenet1_1: missing: features.0.bias, "
        "features.3.squeeze.weight, features.3.squeeze.bias; unexpected: extra.0, extra.1, "
        "extra.2 and 2 more; wrong shape: features.0.weight (64 x 3 x 5 x 5 for 64 x 3 x 3 "
        "x 3)"
    )


def test_a_file_that_is_no_weights_file_or_holds_code_is_refused(tmp_path: Path) -> None:
    for content in (b"", b"hello", b"\xff" * 100):
        (tmp_path / "mine.safetensors").write_bytes(content)
        with pytest.raises(WeightsError, match=r"mine.safetensors is not a weights file"):
            load_file(tmp_path / "mine.safetensors", with_head=False)
    torch.save({"features.0.weight": Path("/etc")}, tmp_path / "evil.pth")
    with pytest.raises(WeightsError, match=r"evil.pth is not a weights file"):
        load_file(tmp_path / "evil.pth", with_head=False)


def test_a_network_trained_for_other_classes_fits(tmp_path: Path) -> None:
    tensors = random_state("dreamlet")
    tensors["fc.weight"], tensors["fc.bias"] = torch.zeros(365, 640), torch.zeros(365)
    network = load_file(write_weights(tmp_path / "places.safetensors", tensors), "dreamlet")
    assert network(torch.zeros(1, 3, 64, 64)).shape == (1, 365)


def test_weights_of_ones_own_for_dreamlet_are_checked_as_any(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DREAM_PRECISION", "float32")  # The file's names.
    tensors = random_state("dreamlet")
    own = {"dreamlet": write_weights(tmp_path / "mine.safetensors", tensors)}
    network = Engine("cpu", own).network("dreamlet")
    assert torch.equal(network.network.get_parameter("fc.weight"), tensors["fc.weight"])
    assert not network.mean_activations  # The shipped means belong to the shipped weights.
    del tensors["conv1.conv.weight"]
    write_weights(own["dreamlet"], tensors)
    said = "mine.safetensors does not fit dreamlet: missing: conv1.conv.weight"
    with pytest.raises(WeightsError, match=said):
        Engine("cpu", own).network("dreamlet")


def test_dreamlet_is_found_beside_its_card_and_not_trusted_blindly(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = catalogue.get_card("dreamlet")
    path, steps = fetch(card)
    assert path == ROOT / "dream" / "networks" / "dreamlet.safetensors"
    assert path == weights.find_weights(card)
    assert not steps and not hub.requests
    altered = replace(card, source=replace(card.source, sha256="0" * 64))
    with pytest.raises(WeightsUnavailable, match=r"here: dreamlet.safetensors is damaged"):
        fetch(altered)
    assert path.is_file() and hub.requests == []


def test_unused_parts_and_counters_are_passed_by(tmp_path: Path) -> None:
    tensors = random_state("inception_v3")
    tensors = {name: each for name, each in tensors.items() if "num_batches" not in name}
    tensors["AuxLogits.fc.bias"] = torch.zeros(7)
    path = write_weights(tmp_path / "v3.safetensors", tensors)
    loaded = load_file(path, "inception_v3").state_dict()
    assert all(torch.equal(loaded[name], each) for name, each in tensors.items() if name in loaded)


class TinyVGG(nn.Module):
    """A small network with VGG's three parts."""

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU())
        self.avgpool = nn.AdaptiveAvgPool2d((7, 7))
        self.classifier = nn.Sequential(
            *(nn.Linear(196, 6), nn.ReLU(), nn.Dropout()),
            *(nn.Linear(6, 5), nn.ReLU(), nn.Dropout()),
            nn.Linear(5, num_classes),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.avgpool(self.features(x)).flatten(1)
        logits: torch.Tensor = self.classifier(x)
        return logits


@pytest.fixture
def tiny_vgg(tmp_path: Path) -> tuple[ModelCard, TinyVGG, Path]:
    """Write a tiny VGG's weights under the hub's names, with linear layers as convolutions."""
    card = replace(
        catalogue.get_card("vgg16"), builder="tests.engine.networks.test_weights:TinyVGG"
    )
    network = TinyVGG().eval()
    stored = {}
    for name, tensor in network.state_dict().items():
        for hubs, torchvisions in catalogue.TIMM_VGG_PREFIXES:
            if name.startswith(torchvisions):
                name = hubs + name.removeprefix(torchvisions)
                if hubs.startswith("pre_logits") and tensor.ndim == 2:
                    side = 7 if "fc1" in hubs else 1
                    tensor = tensor.reshape(len(tensor), -1, side, side)
        stored[name] = tensor
    return card, network, write_weights(tmp_path / "tiny.safetensors", stored)


def test_the_hubs_vgg_is_torchvisions_under_other_names(
    tiny_vgg: tuple[ModelCard, TinyVGG, Path],
) -> None:
    card, network, path = tiny_vgg
    loaded = state_dict.load_network(card, path, with_head=True).state_dict()
    expected = network.state_dict()
    assert loaded.keys() == expected.keys()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in loaded.items())


def test_a_dream_at_a_layer_reads_no_classifier(
    tiny_vgg: tuple[ModelCard, TinyVGG, Path],
) -> None:
    card, _, path = tiny_vgg
    tensors = safetensors.torch.load_file(path)
    write_weights(path, tensors | {"head.fc.weight": torch.ones(20_000_000)})
    before = resident_mb()
    network = state_dict.load_network(card, path, with_head=False)
    assert network.state_dict().keys() == {"features.0.bias", "features.0.weight"}
    assert resident_mb() - before < 20


def test_densenet_as_it_was_first_stored_fits() -> None:
    for old, new in (
        ("features.denseblock1.denselayer2.norm.1.weight", "denselayer2.norm1.weight"),
        ("features.denseblock1.denselayer2.conv.2.weight", "denselayer2.conv2.weight"),
        ("features.norm5.weight", "features.norm5.weight"),
    ):
        assert state_dict._torchvision_key(old, ()).endswith(new)


def test_the_least_recently_used_network_goes_when_memory_runs_out(
    hub: Hub, card: ModelCard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DREAM_MODEL_CACHE_GB", "0.007")
    engine = Engine("cpu")
    dreamlet = engine.network("dreamlet")
    squeezenet = engine.network(MODEL)  # 6 MB and 2.5 MB in bfloat16, 12 and 5 in float32
    assert engine.network(MODEL) is squeezenet
    assert engine.network("dreamlet") is not dreamlet
    assert engine.network("dreamlet") is engine.network("dreamlet")


@pytest.mark.parametrize("model", [MODEL, "dreamlet"])
def test_a_network_that_goes_is_gone_at_once(
    model: str, card: ModelCard, noise: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DREAM_MODEL_CACHE_GB", "0")
    engine = Engine("cpu")
    layer = catalogue.get_card(model).default_layer
    gc.disable()
    try:
        engine.network(model).value_and_grad(energy(layer))(noise)
        gone = weakref.ref(engine.network(model).network)
        assert gone()
        engine.network("dreamlet" if model == MODEL else MODEL)
        assert gone() is None
    finally:
        gc.enable()


@pytest.mark.skipif(not HAS_DETERMINISTIC_ONEDNN, reason="nothing is frozen here")
def test_what_is_frozen_for_layers_makes_other_networks_go(
    card: ModelCard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DREAM_PRECISION", "float32")
    monkeypatch.setenv("DREAM_MODEL_CACHE_GB", "0.02")
    engine = Engine("cpu")
    squeezenet, dreamlet = engine.network(MODEL), engine.network("dreamlet")
    assert engine.network(MODEL) is squeezenet  # 5 MB and 12 MB
    engine.network("dreamlet")
    dreamlet.get_extractor(("inception5b",))  # Its convolutions transposed: 10 MB more.
    assert dreamlet.memory_bytes > 2e7
    assert engine.network("dreamlet") is dreamlet and engine.network(MODEL) is not squeezenet


def test_two_who_fetch_the_same_share_one_download(hub: Hub, card: ModelCard) -> None:
    hub.faults[HUB_PATH] = "slow"
    engine = Engine("cpu")
    first, second = engine.fetch(MODEL), engine.fetch(MODEL)
    next(first)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        # The second sees the progress although the first, who began it, no longer reads it.
        while pool.submit(next, second).result(timeout=5).bytes_done == 0:
            pass
    first.close()
    assert next(second).bytes_done > 0
    *_, last = second
    assert last.bytes_done <= last.bytes_total and hub.transfer_count() == 1
    assert list(engine.fetch(MODEL)) == []


def test_a_download_goes_on_until_the_last_who_follows_it_leaves(hub: Hub, card: ModelCard) -> None:
    hub.faults[HUB_PATH] = "slow"
    engine = Engine("cpu")
    for fetching in (followers := [engine.fetch(MODEL) for _ in range(2)]):
        while next(fetching).bytes_done == 0:
            pass
    for fetching in followers:
        fetching.close()
    time.sleep(1.6)  # All of it takes less.
    assert weights.find_weights(card) is None
    assert engine.network(MODEL) and hub.transfer_count() == 2


def test_all_who_follow_a_download_are_told_why_it_failed(
    hub: Hub, card: ModelCard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights, "STALL_SECONDS", 1)
    hub.faults |= {HUB_PATH: "stall", torchvision_path(card): 503}
    engine = Engine("cpu")
    first, second = engine.fetch(MODEL), engine.fetch(MODEL)
    assert next(first) and next(second)
    with pytest.raises(WeightsUnavailable, match="torchvision: HTTP Error 503"):
        list(first)
    hub.faults.clear()
    assert list(engine.fetch(MODEL))  # A later call tries again.
    with pytest.raises(WeightsUnavailable, match="torchvision: HTTP Error 503"):
        list(second)


def test_two_threads_share_one_loading(
    hub: Hub, card: ModelCard, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, made = Engine("cpu"), Mock(wraps=Network)
    monkeypatch.setattr("dream.networks.network_cache.Network", made)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        networks = list(pool.map(lambda _: engine.network(MODEL), range(4)))
    assert made.call_count == 1 and hub.transfer_count() == 1
    assert all(network is networks[0] for network in networks)


@pytest.mark.at_scale
@pytest.mark.parametrize("model", [MODEL, "mobilenet_v2"])
@pytest.mark.skipif(not REAL_WEIGHTS_FOLDER.is_dir(), reason="no real weights beside this checkout")
def test_real_weights_see_and_dream(model: str, cat: torch.Tensor) -> None:
    engine = Engine("cpu", {model: REAL_WEIGHTS_FOLDER / f"{model}.safetensors"})
    network, card = engine.network(model, head=True), catalogue.get_card(model)
    labels = {"cat": {281, 282, 285}, "coffee": {967, 968}, "rocket": {657, 733, 744}}
    for name, expected in labels.items():
        picture = resize(load_image(EXAMPLES / f"{name}.jpg"), (224, 224)).clamp(0, 1)
        top = network.activations(picture, (card.last_weight_layer,))[card.last_weight_layer]
        logits = top.view(1, 1000, -1).mean(2)  # SqueezeNet's last layer is a convolution.
        assert int(logits.argmax()) in expected, name
    small = resize(cat, (133, 200)).clamp(0, 1)
    for layer in (card.default_layer, card.high_layer):
        *_, frame = engine.dream(cat, DreamRecipe(model=model, layer=layer, max_side=200))
        assert 5 < (frame.tensor - small).abs().mean().item() * 255 < 40
