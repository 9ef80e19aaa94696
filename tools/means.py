"""Compute `dream/networks/dreamlet_means.safetensors`, Dreamlet's mean activations: `make means`.

Each example photo counts at three sizes, and with its four quarters.
"""

from __future__ import annotations

from safetensors.torch import save_file
from torch import Tensor

from dream import load_image
from dream.render.guide import average_activation
from dream.tensors import limit_size, resize_clamped
from tests.conftest import EXAMPLES, ROOT, load_dreamlet

SIDES = (448, 320, 224)


def crops(photo: Tensor) -> list[Tensor]:
    height, width = photo.shape[2] // 2, photo.shape[3] // 2
    quarters = [
        photo[:, :, down : down + height, right : right + width]
        for down in (0, height)
        for right in (0, width)
    ]
    return [resize_clamped(photo, limit_size(photo.shape[2:], side)) for side in SIDES] + quarters


def main() -> None:
    network = load_dreamlet()
    card = network.card
    images = [each for path in sorted(EXAMPLES.glob("*.jpg")) for each in crops(load_image(path))]
    means = {layer.name: average_activation(network, layer.name, images) for layer in card.layers}
    save_file(means, ROOT / "dream" / "networks" / card.means_file)
    print(f"{card.means_file}: {len(means)} layers, from {len(images)} images")


if __name__ == "__main__":
    main()
