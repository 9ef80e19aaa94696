"""What channels look like, in words, where somebody looked at their images.

These describe the images in `examples/channels`, by eye. The network's own verdict on them is no
substitute: it calls the stripes of inception3b 247 a French horn, with a probability of 91%.
"""

from __future__ import annotations

_LOOKS = {
    "dreamlet": {
        "inception3b": (
            "0 slanted stripes, 19 blue dots, 38 short fur, 57 fine fringes, 76 pink curls, "
            "95 pebbles, 114 dark eyelashes, 133 rings in rows, 152 curls, 171 waves, 190 blur, "
            "209 woven cloth, 228 fine cloth, 247 upright stripes, 266 slanted spots, 285 spikes"
        ),
        "inception4c": (
            "0 eyes, 20 fish heads, 40 white tufts, 60 spirals, 80 towers and wheels, "
            "100 fur and eyes, 120 stone towers, 140 eyes in fur, 160 shiny metal, "
            "180 human faces, 200 wheels, 220 upholstery, 240 dogs in profile, "
            "260 dogs' faces, 280 feathers, 300 pointed ears"
        ),
        "inception5a": (
            "0 spaniels, 32 knotted strands, 65 upright ears, 97 striped reptiles, "
            "130 black animals, 162 white fluff, 195 speckled eggs, 227 black beaks, "
            "260 scaly fish, 292 petal star, 325 white balls, 357 white dogs, "
            "390 dogs with collars, 422 horns and scales, 455 long snouts, 487 collies"
        ),
    },
}


def channel_looks(model: str, layer: str) -> dict[int, str]:
    """Return what the channels of a layer look like, by number; empty if nobody looked."""
    pairs = (each.split(" ", 1) for each in _LOOKS.get(model, {}).get(layer, "").split(", "))
    return {int(pair[0]): pair[1] for pair in pairs if len(pair) == 2}
