"""What dreams and channels cost on this machine: `make bench`.

The rows of a table do the same work, run in turn, so that a machine that slows down slows them all;
compare within one run only. A dream is cat.jpg at 448 x 298, 4 octaves of 10 steps at inception4c;
channels are eight of inception4c from noise, 160 x 160, 128 steps. The large dream, of 4096 x 4096
pixels, takes one step at each of four octaves, in a process of its own. A pace is what
`dream/paint/cost.py` holds of a machine like this; what is said of a dream the page says before it.
Class images are judged by other real networks, where `../shared/weights` has them: how often is the
class first, or among the first five, of what they see?
"""

from __future__ import annotations

import math
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import astuple
from functools import partial
from pathlib import Path

import numpy as np
import safetensors.torch
import torch

from dream import ChannelRecipe, ClassRecipe, DreamRecipe, Engine, load_image
from dream.networks import architecture, catalogue, weights
from dream.networks.model_card import ModelCard
from dream.networks.network import Network
from dream.page.work import Work
from dream.paint import cost
from dream.paint.objective import energy
from dream.recipe.recipe import Recipe
from tests.conftest import EXAMPLES, painted
from tests.support.memory import large_dream
from tests.support.real import REAL, TEN

PHOTO = EXAMPLES / "cat.jpg"


class WholeNetwork(Network):
    """As most dreams in the field are made: the whole network runs, and a hook reads the layer."""

    def activations(
        self, picture: torch.Tensor, layers: tuple[str, ...], *, redirected: bool = False
    ) -> dict[str, torch.Tensor]:
        seen: dict[str, torch.Tensor] = {}
        (layer,) = layers
        module = self.network.get_submodule(layer)
        handle = module.register_forward_hook(lambda *args: seen.update({layer: args[2]}))
        self.network((picture - self.mean) / self.std)
        handle.remove()
        return seen


def table(rounds: int, rows: dict[str, Callable[[], object]]) -> None:
    """Run the rows in turn, the first round as a warm-up, and print a line for each."""
    seconds: dict[str, list[float]] = {name: [] for name in rows}
    for turn in range(rounds + 1):
        for name, work in rows.items():
            start = time.perf_counter()
            work()
            if turn:
                seconds[name].append(time.perf_counter() - start)
    first = next(iter(rows))
    for name, times in seconds.items():
        ratios = [one / base for one, base in zip(times, seconds[first], strict=True)]
        print(
            f"{name:34} median {statistics.median(times):6.2f} s, best {min(times):6.2f} s, "
            f"{statistics.median(ratios):5.2f} times the first"
        )


def dreams(engine: Engine) -> None:
    recipe, photo = DreamRecipe(max_side=448), load_image(PHOTO).to(engine.device)
    card = catalogue.card(recipe.model)
    path = weights.find(card)
    assert path
    networks = {
        f"dream ({str(dtype).removeprefix('torch.')})": Network(card, engine.device, dtype, path)
        for dtype in dict.fromkeys((engine.precision(recipe.model), torch.float32, torch.bfloat16))
    }
    plain = WholeNetwork(card, engine.device, torch.float32, path)
    plain.network.to(memory_format=torch.contiguous_format)
    networks["whole network, float32, hook"] = plain

    def work(network: Network) -> None:
        *_, frame = painted(network, [recipe], photo)
        frame.picture()

    table(7, {name: partial(work, network) for name, network in networks.items()})


def channels(engine: Engine) -> None:
    network = engine.network("dreamlet")
    recipes = [engine.settle(ChannelRecipe(channel=channel)) for channel in range(0, 320, 40)]

    def work(batches: list[list[ChannelRecipe]]) -> None:
        for batch in batches:
            *_, frame = painted(network, batch)
            frame.pictures()

    table(
        3,
        {
            "eight channels in a batch": partial(work, [recipes]),
            "the same one by one": partial(work, [[recipe] for recipe in recipes]),
            "one channel": partial(work, [recipes[:1]]),
        },
    )


def class_images(engine: Engine) -> None:
    judges = {
        path.stem: Engine("cpu", {path.stem: path}) for path in sorted(REAL.glob("*.safetensors"))
    }
    seconds: list[float] = []
    ranks: list[int] = []
    own: list[int] = []
    for target in TEN:
        recipe = ClassRecipe(target=target)
        start = time.perf_counter()
        *_, frame = engine.class_image(recipe)
        picture = frame.tensor.cpu()
        seconds.append(time.perf_counter() - start)
        own.append(engine.verdict(picture, recipe).rank)
        for model, judge in judges.items():
            ranks.append(judge.verdict(picture, recipe.but(model=model)).rank)
    print(
        f"{'class image, 224 pixels':34} median {statistics.median(seconds):6.2f} s, "
        f"best {min(seconds):6.2f} s, first for dreamlet itself {sum(r == 1 for r in own)} of 10"
    )
    if not judges:
        print(f"no other networks in {REAL}, so nothing is judged by them")
        return
    first, five = (sum(rank <= most for rank in ranks) / len(ranks) for most in (1, 5))
    print(f"{'judged by ' + ', '.join(judges):34} top-1 {first:.2f}, top-5 {five:.2f}")


def paces(engine: Engine) -> None:
    """Fit what `cost.Pace` holds, over steps of networks of many kinds at three sizes."""
    rows: list[tuple[float, float, float]] = []
    times: list[float] = []
    for model in ("dreamlet", "vgg16", "googlenet", "resnet50", "squeezenet1_1", "densenet121"):
        card = catalogue.card(model)
        network = untrained(card, engine)
        for layer in {card.low, card.default_layer, card.high}:
            one = cost.network_cost(model, (layer,))
            value_and_grad = network.value_and_grad(energy(layer))
            for side in (128, 256, 512):
                picture = torch.rand(1, 3, side, side, device=engine.device)
                best = math.inf
                for _ in range(4):
                    start = time.perf_counter()
                    value_and_grad(picture)[0].tolist()
                    best = min(best, time.perf_counter() - start)
                rows.append((one.operations, side**2 * one.flops, side**2 * one.values))
                times.append(best)
    amounts, seconds = np.array(rows), np.array(times)
    # Least squares of the logarithms, so that small steps count as large ones; by Gauss and Newton,
    # outliers (other work of this machine) counting less.
    fitted = np.log(astuple(cost.pace(engine.device, engine.precision("dreamlet"))))
    for _ in range(300):
        parts = amounts * np.exp(fitted)
        off = np.log(parts.sum(1) / seconds)
        weight = np.sqrt(1 / np.maximum(1, np.abs(off) / 0.3))[:, None]
        slope = parts / parts.sum(1, keepdims=True)
        change = np.linalg.lstsq(slope * weight, -off * weight[:, 0], rcond=None)[0]
        fitted += np.clip(change, -0.5, 0.5)
    pace = cost.Pace(*map(float, np.exp(fitted)))
    ratio = np.exp(off)
    print(
        f"{'pace':34} {pace.operation:.2g} s an operation, {pace.flop:.2g} a flop, "
        f"{pace.value:.2g} a value; fits {np.mean(np.abs(off) < math.log(2)):.0%} of "
        f"{len(ratio)} steps within 2 times, {ratio.min():.2f} to {ratio.max():.2f} in all"
    )


def untrained(card: ModelCard, engine: Engine) -> Network:
    """A network with random weights, which takes as long as one that has learned."""
    network = _random(card)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "weights.safetensors")
        safetensors.torch.save_file(network.state_dict(), path)
        return Network(card, engine.device, engine.precision("dreamlet"), path)


def _random(card: ModelCard) -> torch.nn.Module:
    network = architecture.skeleton(card).to_empty(device="cpu")
    for name, tensor in network.state_dict().items():
        if "var" in name:
            tensor.fill_(1.0)
        elif tensor.is_floating_point():
            tensor.normal_(0, 0.02)
        else:
            tensor.zero_()
    return network


def estimates(engine: Engine) -> None:
    """What the page says that a dream will take, and what it took."""
    work, photo = Work(engine), load_image(PHOTO.with_name("coffee.jpg"))
    work.warm_up(engine.settle(DreamRecipe()))
    size = (photo.shape[2], photo.shape[3])
    jobs: dict[str, Recipe] = {
        "a dream as it is": DreamRecipe(),
        "at intensity 9, high": DreamRecipe(intensity=9, layer="inception5a"),
        "small, one octave": DreamRecipe(octaves=1, max_side=200),
        "in four bands": DreamRecipe(laplacian=4),
        "in tiles": DreamRecipe(tile=128),
        "a channel": ChannelRecipe(channel=7),
        "a class image": ClassRecipe(),
        "a class image, phase": ClassRecipe(mode="phase", steps=32),
    }
    engine.cache.limit = 0
    off = []
    for name, recipe in jobs.items():
        settled = engine.settle(recipe)
        said = work.seconds([settled], size if isinstance(recipe, DreamRecipe) else None)
        start = time.perf_counter()
        for _ in _made(work, settled, photo):
            pass
        took = time.perf_counter() - start
        off.append(max(said / took, took / said))
        print(f"{name:34} said {said:6.2f} s, took {took:6.2f} s")
    print(f"{'farthest off':34} {max(off):.2f} times")


def _made(work: Work, recipe: Recipe, photo: torch.Tensor) -> Iterator[object]:
    if isinstance(recipe, ChannelRecipe):
        return work.paint([recipe])
    if isinstance(recipe, ClassRecipe):
        return work.judged(recipe)
    assert isinstance(recipe, DreamRecipe)
    return work.paint([recipe], photo)


def large() -> None:
    with tempfile.TemporaryDirectory() as folder:
        peak, seconds = large_dream(Path(folder), 4096, "--iterations", "1")
    print(f"{'4096 x 4096 on the CPU':34} peak memory {peak} MB, {seconds:.0f} s")


def main() -> None:
    engine = Engine()
    print(f"{engine.device}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    paces(engine)
    estimates(engine)
    dreams(engine)
    channels(engine)
    large()
    class_images(engine)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory of all of it: {peak:.0f} MB")


if __name__ == "__main__":
    main()
