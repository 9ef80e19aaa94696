"""Measure the cost of dreams and channels on this machine: `make bench`.

The rows of a table do the same work in turn, so that a machine that slows down slows them all;
compare within one run only. A dream is cat.jpg at 448 x 298, 4 octaves of 10 steps at inception4c;
channels are eight of inception4c from noise, 160 x 160, 128 steps. The large dream, of 4096 x 4096
pixels, takes one step at each of four octaves, in its own process. `dream/render/cost.py` stores
the pace of such machines; "estimates" compares what the page announces with the measurement.
Other real networks judge class images if `../shared/weights` has them: how often is the class their
first guess, or among their first five?
"""

from __future__ import annotations

import math
import resource
import statistics
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import astuple
from functools import partial
from pathlib import Path

import numpy as np
import torch

from dream import ChannelRecipe, ClassRecipe, DreamRecipe, Engine, load_image
from dream.networks import catalogue, weights
from dream.networks.model_card import ModelCard
from dream.networks.network import Network
from dream.recipe.base import Recipe
from dream.render import cost
from dream.render.objective import energy
from dream.service.job_runner import JobRunner
from dream.tensors import resize_clamped, size_of
from tests.conftest import EXAMPLES, REAL_WEIGHTS_FOLDER, ROOT, TEN_CLASSES, render_recipes
from tests.support.processes import measure_large_dream
from tools.bench import busy, live, many, motion
from tools.measure import Stopwatch, last_frame, min_seconds, save_random_weights
from tools.report import Report, describe_machine, in_words

PHOTO = EXAMPLES / "cat.jpg"


class WholeNetwork(Network):
    """The usual implementation: the whole network runs, and a hook reads the layer."""

    def activations(
        self, picture: torch.Tensor, layers: tuple[str, ...], *, redirect_relus: bool = False
    ) -> dict[str, torch.Tensor]:
        seen: dict[str, torch.Tensor] = {}
        (layer,) = layers
        module = self.network.get_submodule(layer)
        handle = module.register_forward_hook(lambda *args: seen.update({layer: args[2]}))
        self.network((picture - self.mean) / self.std)
        handle.remove()
        return seen


def table(rounds: int, rows: Mapping[str, Callable[[], object]], report: Report, name: str) -> None:
    """Run the rows in turn, the first round as a warm-up, and report each."""
    watch = Stopwatch()
    for _ in range(rounds + 1):
        for row, work in rows.items():
            watch.timed(row, work)()
    _, *first = watch.seconds[next(iter(rows))]
    for row, (_, *times) in watch.seconds.items():
        ratios = [one / base for one, base in zip(times, first, strict=True)]
        report.add_row(
            name,
            of=row,
            median=statistics.median(times),
            best=min(times),
            ratio=statistics.median(ratios),
        )


def dreams(engine: Engine, report: Report) -> None:
    recipe, photo = DreamRecipe(max_side=448), load_image(PHOTO).to(engine.device)
    card = catalogue.get_card(recipe.model)
    path = weights.find_weights(card)
    assert path
    networks = {
        f"dream ({str(dtype).removeprefix('torch.')})": Network(card, engine.device, dtype, path)
        for dtype in dict.fromkeys((engine.precision(recipe.model), torch.float32, torch.bfloat16))
    }
    plain = WholeNetwork(card, engine.device, torch.float32, path)
    plain.network.to(memory_format=torch.contiguous_format)
    networks["whole network, float32, hook"] = plain

    def work(network: Network) -> None:
        last_frame(render_recipes(network, [recipe], photo)).picture()

    rows = {name: partial(work, network) for name, network in networks.items()}
    table(7, rows, report, "dream")


def channels(engine: Engine, report: Report) -> None:
    network = engine.network("dreamlet")
    recipes = [engine.settle(ChannelRecipe(channel=channel)) for channel in range(0, 320, 40)]

    def work(batches: list[list[ChannelRecipe]]) -> None:
        for batch in batches:
            last_frame(render_recipes(network, batch)).pictures()

    rows = {
        "eight channels in a batch": partial(work, [recipes]),
        "the same one by one": partial(work, [[recipe] for recipe in recipes]),
        "one channel": partial(work, [recipes[:1]]),
    }
    table(3, rows, report, "channels")


def class_images(engine: Engine, report: Report) -> None:
    judges = {
        path.stem: Engine("cpu", {path.stem: path})
        for path in sorted(REAL_WEIGHTS_FOLDER.glob("*.safetensors"))
    }
    watch, ranks, own = Stopwatch(), list[int](), list[int]()

    def work(recipe: ClassRecipe) -> torch.Tensor:
        return last_frame(engine.class_image(recipe)).tensor.cpu()

    for target in TEN_CLASSES:
        recipe = ClassRecipe(target=target)
        picture = watch.timed("", work)(recipe)
        own.append(engine.verdict(picture, recipe).rank)
        for model, judge in judges.items():
            ranks.append(judge.verdict(picture, recipe.with_changes(model=model)).rank)
    report.add_row(
        "class images",
        median=statistics.median(watch.seconds[""]),
        best=min(watch.seconds[""]),
        **{"first for dreamlet itself, of ten": sum(rank == 1 for rank in own)},
    )
    if not judges:
        print(f"no other networks in {REAL_WEIGHTS_FOLDER}, so none judges the class images")
        return
    first, five = (sum(rank <= most for rank in ranks) / len(ranks) for most in (1, 5))
    report.add_row("judged by " + ", ".join(judges), first=first, **{"among five": five})


def paces(engine: Engine, report: Report) -> None:
    """Fit `cost.Pace` to steps of all networks at three sizes.

    Also report the rate of steps at default layers as a share of a 2048 x 2048 matrix product.
    """
    rows: list[tuple[float, float, float]] = []
    times: list[float] = []
    matrix = torch.rand(2048, 2048, device=engine.device)
    rate = 2 * 2048**3 / min_seconds(lambda: (matrix @ matrix)[0, 0].item(), 12)
    for model, card in catalogue.CARDS.items():
        network = untrained(card, engine)
        shares = []
        for layer in dict.fromkeys((card.default_layer, card.low_layer, card.high_layer)):
            one = cost.network_cost(model, (layer,))
            value_and_grad = network.value_and_grad(energy(layer))
            for side in (128, 256, 512):
                picture = torch.rand(1, 3, side, side, device=engine.device)
                best = min_seconds(lambda: value_and_grad(picture)[0].tolist())  # noqa: B023
                rows.append((one.operations, side**2 * one.flops, side**2 * one.values_written))
                times.append(best)
                if layer == card.default_layer:
                    # The forward and the backward pass do the same sums.
                    shares.append(2 * side**2 * one.flops / best / rate)
        names = ("at 128", "at 256", "at 512")
        report.add_row(
            "share of the matrix rate", network=model, **dict(zip(names, shares, strict=True))
        )
    amounts, seconds = np.array(rows), np.array(times)
    # Least squares of the logarithms, so that small steps count as much as large ones, by
    # Gauss-Newton with less weight for outliers (other programs on this machine).
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
    report.add_row(
        "pace",
        **{
            "s an operation": pace.seconds_per_operation,
            "s a flop": pace.seconds_per_flop,
            "s a value": pace.seconds_per_value,
        },
        matrix=rate,
        **{"within 2 times": float(np.mean(np.abs(off) < math.log(2)))},
        farthest=[float(ratio.min()), float(ratio.max())],
    )


def growth(engine: Engine, report: Report) -> None:
    """Measure how the time of a dream grows with its size, steps and layer."""
    photo = load_image(PHOTO)
    photo = resize_clamped(photo, (683, 1024))

    def lines(unit: str, amounts: list[float], recipes: list[DreamRecipe]) -> None:
        def work(recipe: DreamRecipe) -> None:
            last_frame(engine.dream(photo, recipe)).picture()

        took = [min_seconds(partial(work, recipe), 5) for recipe in recipes]
        report.add_line_fit("seconds", unit, amounts, took)

    one = DreamRecipe(octaves=1, iterations=5)
    sizes = [one.with_changes(max_side=side) for side in (128, 256, 384, 512, 640)]
    lines("pixels", [_pixels(engine, each, photo) for each in sizes], sizes)
    octaves = [one.with_changes(octaves=count, max_side=448) for count in range(1, 6)]
    lines("pixels of octaves", [_pixels(engine, each, photo) for each in octaves], octaves)
    counts = [5, 10, 20, 40]
    steps = [one.with_changes(iterations=count, max_side=256) for count in counts]
    lines("iterations", [float(count) for count in counts], steps)
    names = ["conv3", "inception3b", "inception4a", "inception4c", "inception4e", "inception5b"]
    flops = [cost.network_cost("dreamlet", (layer,)).flops for layer in names]
    lines("flops a pixel", flops, [one.with_changes(layer=name, max_side=448) for name in names])
    sides = (512, 1024, 1536, 2048)
    with tempfile.TemporaryDirectory() as folder:
        peaks = [
            float(measure_large_dream(Path(folder), side, "--iterations", "1")[0]) for side in sides
        ]
    report.add_line_fit("MB at the peak", "pixels", [float(side**2) for side in sides], peaks)


def _pixels(engine: Engine, recipe: DreamRecipe, photo: torch.Tensor) -> float:
    (job,) = engine.plan([recipe], size_of(photo))
    return float(sum(stage.pixels_per_step * stage.steps for stage in job.stages))


def untrained(card: ModelCard, engine: Engine) -> Network:
    """Return a network with random weights, which is as fast as a trained one."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "weights.safetensors")
        save_random_weights(card, path)
        return Network(card, engine.device, engine.precision("dreamlet"), path)


def estimates(engine: Engine, report: Report) -> None:
    """Compare the page's estimates with the measured time."""
    work, photo = JobRunner(engine), load_image(PHOTO.with_name("coffee.jpg"))
    work.warm_up(engine.settle(DreamRecipe()))
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
    off = []
    for name, recipe in jobs.items():
        picture = photo if isinstance(recipe, DreamRecipe) else None
        size = None if picture is None else size_of(picture)
        said = work.estimate_seconds([engine.settle(recipe)], size)
        planned = engine.plan([recipe], size)
        took = min_seconds(lambda: last_frame(engine.render(planned, picture)), 1)  # noqa: B023
        off.append(max(said / took, took / said))
        report.add_row("estimates", job=name, said=said, took=took)
    print(f"farthest off: {max(off):.2f} times")


def large(report: Report) -> None:
    with tempfile.TemporaryDirectory() as folder:
        peak, seconds = measure_large_dream(Path(folder), 4096, "--iterations", "1")
    report.add_row("4096 x 4096 on the CPU", MB=peak, seconds=seconds)


def write(report: Report) -> None:
    """Write the measurements to `docs/performance.md` and `docs/performance.json`."""
    about = describe_machine()
    intro = (
        f"Measured by `make bench`: {in_words(about)}. The rows of a table ran in turn, but other "
        "programs on the machine affect them too: compare within a table only. `performance.json` "
        "has the same numbers."
    )
    report.write(ROOT / "docs" / "performance.md", about, "# Performance", intro)


def main() -> None:
    engine, report = Engine(), Report()
    for part in (paces, estimates, dreams, channels, growth):
        part(engine, report)
    busy.measure(report)
    motion.measure(engine, report)
    many.measure(report)
    live.measure(engine, report)
    large(report)
    class_images(engine, report)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    report.add_row("memory of all of it", MB=peak)
    write(report)


if __name__ == "__main__":
    main()
