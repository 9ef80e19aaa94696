"""What a dream costs on this machine: `make bench`.

Each row is the same dream (cat.jpg at 448 x 298, 4 octaves of 10 steps at inception4c), run in turn
with the others, so that a machine that slows down slows them all; compare within one run only.
"""

from __future__ import annotations

import resource
import statistics
import time
from pathlib import Path

import torch

from dream import DreamRecipe, Engine, load_image, render, zoo
from dream.network import Network

ROUNDS = 7
PHOTO = Path(__file__).parent.parent / "examples" / "cat.jpg"


class WholeNetwork(Network):
    """As most dreams in the field are made: the whole network runs, and a hook reads the layer."""

    def activations(
        self, picture: torch.Tensor, layers: tuple[str, ...]
    ) -> dict[str, torch.Tensor]:
        seen: dict[str, torch.Tensor] = {}
        (layer,) = layers
        module = self.network.get_submodule(layer)
        handle = module.register_forward_hook(lambda *args: seen.update({layer: args[2]}))
        self.network((picture - self.mean) / self.std)
        handle.remove()
        return seen


def main() -> None:
    engine, recipe, photo = Engine(), DreamRecipe(max_side=448), load_image(PHOTO)
    card = zoo.card(recipe.model)
    rows = {f"dream ({str(engine.dtype).removeprefix('torch.')})": engine.network(recipe.model)}
    if engine.dtype != torch.float32:
        rows["dream (float32)"] = Network(card, engine.device, torch.float32)
    plain = WholeNetwork(card, engine.device, torch.float32)
    plain.network.to(memory_format=torch.contiguous_format)
    rows["whole network, float32, hook"] = plain

    print(f"{engine.device}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    seconds: dict[str, list[float]] = {name: [] for name in rows}
    for turn in range(ROUNDS + 1):
        for name, network in rows.items():
            start = time.perf_counter()
            *_, frame = render.dream(network, photo.to(engine.device), recipe)
            frame.picture()
            if turn:  # The first is a warm-up.
                seconds[name].append(time.perf_counter() - start)
    first = next(iter(rows))
    for name, times in seconds.items():
        ratios = [one / base for one, base in zip(times, seconds[first], strict=True)]
        print(
            f"{name:30} median {statistics.median(times):6.2f} s, best {min(times):6.2f} s, "
            f"{statistics.median(ratios):5.2f} times the first"
        )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory of all of it: {peak:.0f} MB")


if __name__ == "__main__":
    main()
