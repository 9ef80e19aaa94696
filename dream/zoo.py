"""The networks on offer, one `ModelCard` each: what a recipe may name, and how it is built.

Plain data: nothing here loads torch. A new model is one more entry in `CARDS`.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches

from dream.errors import RecipeError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Layer:
    """A place in a network worth dreaming at, and what it brings, in words for a visitor."""

    name: str
    kind: str
    brings: str


@dataclass(frozen=True)
class ModelCard:
    """All that is known of a network before it is loaded.

    `builder` is `module:function`, called without arguments for a `torch.nn.Module` in float32.
    `mean` and `std` normalise RGB in [0, 1]; `min_side` is the smallest side, in pixels, it reads.
    """

    name: str
    about: str
    builder: str
    licence: str
    default_layer: str
    layers: tuple[Layer, ...]
    min_side: int
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD

    def layer(self, name: str) -> Layer:
        """The layer of that name.

        Raises:
            RecipeError: if the network has none; the message lists what is near.
        """
        names = [layer.name for layer in self.layers]
        if name not in names:
            near = get_close_matches(name, names, n=3, cutoff=0.5) or names
            raise RecipeError(f"layer {name!r:.60} is not in {self.name}; try {', '.join(near)}")
        return self.layers[names.index(name)]


CARDS = {
    card.name: card
    for card in (
        ModelCard(
            name="dreamlet",
            about="GoogLeNet at 5/8 of its width; comes with the app, needs no download",
            builder="dream.dreamlet:load",
            licence="MIT",
            default_layer="inception4c",
            layers=(
                Layer("conv3", "edges", "Strokes"),
                Layer("inception3a", "textures", "Ripples, fur"),
                Layer("inception3b", "patterns", "Rings, eyes"),
                Layer("inception4a", "patterns", "Eye fields"),
                Layer("inception4b", "parts", "Snouts"),
                Layer("inception4c", "parts", "Faces, fur"),
                Layer("inception4d", "creatures", "Animals"),
                Layer("inception4e", "creatures", "Towers"),
                Layer("inception5a", "creatures", "Scales"),
                Layer("inception5b", "creatures", "Faint animal"),
            ),
            min_side=32,
        ),
    )
}


def card(name: str) -> ModelCard:
    """The card of that network.

    Raises:
        RecipeError: if there is none; the message lists what is near.
    """
    if name not in CARDS:
        near = get_close_matches(name, CARDS, n=3) or list(CARDS)
        raise RecipeError(f"model {name!r:.60} is not known; try {', '.join(near)}")
    return CARDS[name]
