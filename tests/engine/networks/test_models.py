"""Every network of the catalogue builds, reads layers, dreams and has the names of its card."""

import random
import re
from pathlib import Path
from urllib.parse import urlparse

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from dream import DreamRecipe, RecipeError
from dream.networks import catalogue
from dream.networks.architecture import build_on_meta
from dream.networks.model_card import ModelCard
from dream.networks.network import Network
from dream.render.objective import energy
from tests.conftest import hook_activations, render_recipes

# Each kind of block is in these: Inception's, VGG's, with batch norms, SqueezeNet's.
FEW = ("dreamlet", "vgg16", "googlenet", "squeezenet1_1")
CARDS_AT_SCALE = [
    pytest.param(card, marks=[] if card.name in FEW else pytest.mark.at_scale)
    for card in catalogue.CARDS.values()
]


def random_network(card: ModelCard) -> nn.Module:
    """Return a network with random weights, without its head; batch norms are not the identity."""
    torch.manual_seed(0)
    network = build_on_meta(card.build)
    if card.head:  # Half a gigabyte that is never read, see test_weights.
        setattr(network, card.head, nn.Identity())
    network.to_empty(device="cpu").eval()
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None and module.running_var is not None
            module.weight.data.uniform_(0.5, 1.5)
            module.running_var.uniform_(0.5, 1.5)
            module.bias.data.normal_(0, 0.1)
            module.running_mean.normal_(0, 0.1)
    return network


def load_random(card: ModelCard, folder: Path) -> tuple[Network, nn.Module]:
    """Return a network as the package loads it, in float32, and as torchvision builds it."""
    whole = random_network(card)
    path = folder / f"{card.name}.safetensors"
    state = {name: tensor.contiguous() for name, tensor in whole.state_dict().items()}
    safetensors.torch.save_file(state, path)
    return Network(card, torch.device("cpu"), torch.float32, path), whole


@pytest.fixture(scope="module", params=CARDS_AT_SCALE, ids=lambda card: card.name)
def pair(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Network, nn.Module]:
    return load_random(request.param, tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="module")
def picture() -> Tensor:
    return torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))


def test_a_layer_equals_the_whole_network_there(
    pair: tuple[Network, nn.Module], picture: Tensor
) -> None:
    network, whole = pair
    layers = tuple(layer.name for layer in network.card.layers)
    with torch.no_grad():
        all_expected = hook_activations(network, picture, *layers, whole=whole)
    at_once = network.activations(picture, layers)
    alone = network.activations(picture, (network.card.default_layer,))
    for layer, expected in zip(layers, all_expected, strict=True):
        for ours in (at_once[layer], alone.get(layer, expected)):
            error = (ours - expected).abs().max()
            assert error <= 1e-5 * expected.abs().max().clamp(min=1), layer


def test_it_dreams_at_its_smallest_side_and_at_224(
    pair: tuple[Network, nn.Module], picture: Tensor
) -> None:
    network, _ = pair
    card = network.card
    for side, layer in ((224, card.low_layer), (card.min_side, card.high_layer)):
        recipe = DreamRecipe(
            model=card.name, layer=layer, octaves=2, iterations=1, jitter=0, max_side=224
        )
        *_, frame = render_recipes(network, [recipe], picture[:, :, :side, :side])
        change = (frame.tensor - picture[:, :, :side, :side]).abs().mean() * 255
        assert 0.5 < change < 10, layer


def test_any_module_can_be_dreamed_at(pair: tuple[Network, nn.Module], picture: Tensor) -> None:
    network, _ = pair
    names = [name for name in network.card.module_names if not name.startswith("class")]
    for name in random.Random(0).sample(names, 4):
        side = network.card.min_side
        _, gradient = network.value_and_grad(energy(name))(picture[:, :, :side, :side])
        assert gradient.isfinite().all(), name


def test_a_layer_that_cannot_be_read_leaves_the_network_as_it_was(
    pair: tuple[Network, nn.Module], picture: Tensor
) -> None:
    network, _ = pair
    layer = network.card.low_layer
    before = network.activations(picture, (layer,))[layer]
    with pytest.raises(RecipeError, match="does not use nowhere; try another"):
        network.activations(picture, ("nowhere",))
    assert not any(module.training for module in network.network.modules())
    network._extractors.clear()
    assert torch.equal(network.activations(picture, (layer,))[layer], before)


@pytest.mark.parametrize("card", catalogue.CARDS.values(), ids=lambda card: card.name)
def test_a_card_is_whole(card: ModelCard) -> None:
    modules = card.module_names
    names = [layer.name for layer in card.layers]
    assert {card.low_layer, card.default_layer, card.high_layer} <= set(names) <= set(modules)
    assert card.last_weight_layer in modules and (not card.head or card.head in modules)
    assert card.licence and card.description and len(set(names)) == len(names)
    for layer in card.layers:
        assert layer.effect and layer.kind in {
            *("edges", "textures", "patterns", "parts", "creatures")
        }
        assert layer.alias == "" or card.resolve_layer(layer.alias) == layer.name
    source = card.source
    if source.file:
        assert re.fullmatch(r"[0-9a-f]{64}", source.sha256)
        assert source.file.endswith(".safetensors")
    if source.repo:
        assert source.file and re.fullmatch(r"[0-9a-f]{40}|main", source.revision)
    if not source.is_shipped:
        assert urlparse(source.url).hostname == "download.pytorch.org"
        assert re.search(r"-[0-9a-f]{8}\.pth$", source.url)


def test_friendly_names_and_weights_are_resolved() -> None:
    recipe = DreamRecipe(model="vgg16", layer="relu3_3:0.5,relu4_3:1")
    assert recipe.layers == (("features.15", 0.5), ("features.22", 1.0))
    with pytest.raises(RecipeError, match="twice"):
        DreamRecipe(model="vgg16", layer="relu4_3,features.22")
    assert recipe.file_stem("cat").startswith("dream-cat-vgg16.relu3_3+0.5")


@pytest.mark.parametrize(
    ("model", "layer", "near"),
    [
        ("vgg16", "relu4_4", "relu4_3"),
        ("vgg16", "features.31", "did you mean features.3"),
        ("resnet50", "layer5", "layer4"),
        ("dreamlet", "relu4_3", "try inception4c, conv3"),
    ],
)
def test_a_layer_that_is_not_there_is_answered_with_what_is_near(
    model: str, layer: str, near: str
) -> None:
    with pytest.raises(RecipeError) as caught:
        DreamRecipe(model=model, layer=layer)
    said = str(caught.value)
    assert said.startswith(f"layer '{layer}' is not in {model}; ") and near in said


def test_the_head_is_read_only_where_it_is_dreamed() -> None:
    card = catalogue.get_card("vgg16")
    assert card.needs_head(("features.22", "classifier.6"))
    assert not card.needs_head(("features.22",))
    assert not catalogue.get_card("resnet50").needs_head(("fc",))


def test_batch_norms_are_folded_away(tmp_path: Path) -> None:
    network, _ = load_random(catalogue.get_card("resnet50"), tmp_path)
    kinds = [type(module) for module in network.get_extractor(("layer2",)).modules()]
    assert nn.Conv2d in kinds and nn.BatchNorm2d not in kinds
    # Except where a convolution is requested; the network itself keeps all of its layers.
    kinds = [type(module) for module in network.get_extractor(("layer1.0.conv2",)).modules()]
    assert kinds.count(nn.BatchNorm2d) == 0
    layers = ("layer1.0.conv2", "layer1.0.bn2")
    assert nn.BatchNorm2d in [type(module) for module in network.get_extractor(layers).modules()]
    assert sum(isinstance(module, nn.BatchNorm2d) for module in network.network.modules()) == 53
