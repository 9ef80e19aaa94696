"""The engine: the only state there is, made once and shared by every request."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from dream.errors import DeviceError, DreamError, RecipeError, describe_value
from dream.files.image_cache import ImageCache
from dream.networks import catalogue, weights
from dream.networks.device import pick_device
from dream.networks.download import DownloadSteps
from dream.networks.network import Network
from dream.networks.network_cache import NetworkCache
from dream.recipe import ChannelRecipe, ClassRecipe, DreamRecipe, Recipe, ZoomRecipe
from dream.recipe.base import DEFAULT_MODEL, AnyRecipe
from dream.recipe.channel import DEFAULT_SIZES
from dream.recipe.knob import read_env_number
from dream.recipe.motion import MotionRecipe
from dream.render import class_image, cost, kinds
from dream.render.class_image import Verdict
from dream.render.cpu_threads import CpuThreads
from dream.render.loop import Ascents, Frame, run_jobs
from dream.render.plan import AnyJob, Job, Stage
from dream.render.response import LayerResponse
from dream.tensors import Size, check_image, limit_size, resize_clamped, size_of

DEFAULT_MODEL_CACHE_GB = 4.0
# The longest side of a photo in which channels are looked for.
RESPONSE_MAX_SIDE = DEFAULT_SIZES[1]
OUT_OF_MEMORY_MESSAGE = "too much for the memory of the GPU"


class Engine:
    """A device and the networks loaded on it. Safe to share between threads.

    `device` is a name that torch knows; None picks the best there is (see `pick_device`). `files`
    names weights of one's own by model. Networks least recently used go when their weights together
    take more than `DREAM_MODEL_CACHE_GB` (4 by default). `shipped` are folders of visualizations
    made beforehand; others are kept in a `PictureCache`. On a CPU it works on so many `threads`, by
    default as many as torch has now, and makes way for other programs (see `Threads`). On CUDA the
    same seed gives slightly different pictures from run to run; less so if the program calls
    `networks.device.repeat_exactly`, which cannot reach all sums.

    Raises:
        DeviceError: if the device is not there, or `DREAM_PRECISION` names no precision.
        RecipeError: if `DREAM_MODEL_CACHE_GB` or `DREAM_CACHE_MB` is no such number.
    """

    def __init__(
        self,
        device: str | None = None,
        files: Mapping[str, str | os.PathLike[str]] | None = None,
        shipped: Sequence[Path] = (),
        threads: int | None = None,
    ) -> None:
        self._requested_device = device
        self.device = pick_device(device)
        on_cpu = self.device.type == "cpu"
        self.threads = CpuThreads((threads or torch.get_num_threads()) if on_cpu else 1)
        self.files = {model: Path(path) for model, path in (files or {}).items()}
        limit = read_env_number("DREAM_MODEL_CACHE_GB", DEFAULT_MODEL_CACHE_GB, 0, 10_000) * 1e9
        self.networks = NetworkCache(self.device, self.files, limit)
        self.precision(DEFAULT_MODEL)  # What is wrong with it is said at once.
        self.cache = ImageCache(shipped)

    def new_for_fork(self) -> Engine:
        """One like this that has nothing in common with it; for a process that was forked."""
        return Engine(
            self._requested_device, self.files, self.cache.shipped_folders, self.threads.count
        )

    def default_model(self) -> str:
        """The network to begin with: the one that `DREAM_DEFAULT_MODEL` names; on a GPU one of the
        classics whose weights are there; else Dreamlet.

        Raises:
            RecipeError: if that variable names no network.
        """
        if name := os.environ.get("DREAM_DEFAULT_MODEL"):
            return catalogue.get_card(name).name
        if self.device.type != "cpu":
            for name in catalogue.GPU_DEFAULT_MODELS:
                if name in self.files or weights.find_weights(catalogue.get_card(name)):
                    return name
        return DEFAULT_MODEL

    def precision(self, model: str) -> torch.dtype:
        """In what that network runs here (see `device.precision`)."""
        return self.networks.precision(model)

    def network(self, model: str, *, head: bool = False) -> Network:
        """That network, with its head or without; fetched and loaded on first use.

        Raises:
            RecipeError: if there is no such model.
            WeightsError: if its weights cannot be had (`WeightsUnavailable`) or do not fit.
        """
        return self.networks.network(model, head=head)

    def fetch(self, model: str) -> DownloadSteps:
        """Have the weights of a network on this machine; yields how far the download is, if any.

        Raises:
            WeightsError: as `network`, but for whether they fit.
        """
        return self.networks.fetch(model)

    def _network_for(self, recipe: Recipe) -> Network:
        layers = tuple(layer for layer, _ in recipe.layers)
        return self.network(recipe.model, head=recipe.card.needs_head(layers))

    def settle(self, recipe: AnyRecipe, image: Tensor | None = None) -> AnyRecipe:
        """The recipe with nothing left to choose, as fits the device, and noise or a photo.

        Raises:
            RecipeError: if it is none.
        """
        return _require_recipe_type(recipe, Recipe).with_defaults(
            self.device.type, image is not None
        )

    def plan(
        self, recipes: Sequence[Recipe], size: Size | None = None, *, use_cache: bool = False
    ) -> list[AnyJob]:
        """How recipes are painted here, from noise or in a photo of that (height, width).

        They are settled, and checked. With `kept`, what the cache has comes first, and is not made
        again.

        Raises:
            PictureError, RecipeError: if one cannot be painted so.
        """
        settled = [
            _require_recipe_type(each, Recipe).with_defaults(self.device.type, bool(size))
            for each in recipes
        ]
        there = self._find_cached(settled) if use_cache and not size else {}
        by_size: dict[tuple[int, int], dict[Recipe, Image.Image]] = {}
        for recipe, picture in there.items():
            by_size.setdefault(picture.size, {})[recipe] = picture
        made = [Job(tuple(each), cached_images=tuple(each.values())) for each in by_size.values()]
        return made + kinds.plan([each for each in settled if each not in there], size)

    def seconds(self, stage: Stage) -> float:
        """About how long a stage takes on a device like this one, before anything was timed on it.

        Raises:
            RecipeError: if no picture passes its layers.
        """
        pace = cost.pace(self.device, self.precision(stage.model))
        return pace.seconds(cost.total_cost([stage]))

    def render(
        self, jobs: Sequence[AnyJob], image: Tensor | None = None, deadline: float = math.inf
    ) -> Iterator[Frame]:
        """Paint what was planned, in a picture (1, 3, H, W), RGB in [0, 1], or from noise.

        Yields a frame before each job and after each of its steps; the last one of each is
        finished, and `step`, `total` and `done` count over all of them. Networks are loaded when
        frames are asked for. Close the iterator to stop. What is too much for the memory of a GPU
        is begun anew one size smaller, as is all that was to follow: frames count from there, and
        their `remark` says so.

        Raises:
            DeviceError: if that is too much, too; of a film, which keeps its size, at once.
            OutOfTime: within a step, if it is done in tiles and `time.monotonic()` is past `until`.
            RecipeError: if weights of one's own know fewer classes.
            WeightsError: if weights cannot be had or do not fit.
        """
        remark, done = "", 0
        while True:
            climbs = [self._ascents(job, image, deadline) for job in jobs]
            made = run_jobs(jobs, climbs, self.seconds)
            try:
                for frame in self.threads.run_steps(made):
                    done += frame.finished
                    yield replace(frame, remark=remark)
                    if image is None and frame.finished and frame.values:
                        self._store_in_cache(frame)
                return
            except torch.OutOfMemoryError as error:
                left = jobs[done:] or jobs[-1:]  # A film is one job, of many finished frames.
                said = f"{OUT_OF_MEMORY_MESSAGE} at {_longest_side(left[0])} pixels a side"
                if remark:
                    raise DeviceError(f"{said}; give a smaller picture, or fewer") from error
            jobs = self._shrink_jobs(left, image, said)
            if isinstance(jobs[0].recipes[0], MotionRecipe):
                side = _longest_side(jobs[0])
                raise DeviceError(f"{said}; a film keeps its size: give a max_side of {side}")
            remark, done = f"{said}: made at {_longest_side(jobs[0])}", 0

    def _shrink_jobs(self, jobs: Sequence[AnyJob], image: Tensor | None, said: str) -> list[AnyJob]:
        """The jobs one size smaller, what they took of the memory given back."""
        torch.cuda.empty_cache()
        size = None if image is None else size_of(image)
        try:
            return [each for job in jobs for each in kinds.shrink_job(job, size)]
        except DreamError as error:
            raise DeviceError(f"{said}, and {error}") from error

    def _ascents(self, job: AnyJob, image: Tensor | None, until: float) -> Ascents:
        network = self._network_for(job.recipes[0])
        # Resized before it is moved: CUDA cannot shrink by fifty or more (pytorch#103589).
        picture = (
            image if image is None else resize_clamped(image, job.stages[-1].size).to(self.device)
        )
        yield from kinds.ascents(network, job, picture, until)

    def dream(self, image: Tensor, recipe: DreamRecipe | None = None) -> Iterator[Frame]:
        """Dream a picture (1, 3, H, W), RGB in [0, 1]; yields a frame after each step.

        The first frame is the picture untouched, but for its longest side limited to the recipe's
        `max_side`; the last one is the result. Picture and recipe are checked before this returns;
        the network is loaded when the first frame is asked for. Close the iterator to stop.

        Raises:
            PictureError: if it is no such picture, or too small for the network.
            WeightsError: at the first frame, if the weights cannot be had or do not fit.
        """
        return self.dreams(image, [DreamRecipe() if recipe is None else recipe])

    def dreams(self, image: Tensor, recipes: Sequence[DreamRecipe]) -> Iterator[Frame]:
        """Dream a picture in several ways, one after the other; each ends in a finished frame.

        `step`, `total` and `done` count over all of them. Checked as `dream`, and raises so too.
        """
        return self._plan_and_render(
            [_require_recipe_type(each, DreamRecipe) for each in recipes], image
        )

    def channel(self, recipe: ChannelRecipe, image: Tensor | None = None) -> Iterator[Frame]:
        """What a channel looks for, from noise, or in a picture (1, 3, H, W), RGB in [0, 1].

        Yields a frame after each step, first the start, last the result. It is worked out afresh,
        whatever the cache has. Checked as `dream`, and raises as it does.
        """
        return self._plan_and_render([_require_recipe_type(recipe, ChannelRecipe)], image)

    def channels(
        self, recipes: Sequence[ChannelRecipe], image: Tensor | None = None
    ) -> Iterator[Frame]:
        """What many channels look for, from noise or in a picture; some in each frame.

        From noise, those in the cache come first, in a frame that is finished at once; the others
        are worked out in batches, and kept. In a picture it is one after the other. `step` and
        `done` count over all that is worked out. Checked as `dream`, and raises as it does.
        """
        each = dict.fromkeys(_require_recipe_type(each, ChannelRecipe) for each in recipes)
        return self._plan_and_render(list(each), image, kept=True)

    def class_image(self, recipe: ClassRecipe, image: Tensor | None = None) -> Iterator[Frame]:
        """What the network takes for a class, from noise or a picture (1, 3, H, W), RGB in [0, 1].

        Yields a frame after each step, first the start, last the result; while several noises are
        tried, it shows the best as yet. Checked as `dream`, and raises as it does.

        Raises:
            RecipeError: at the first frame, if weights of one's own know fewer classes.
        """
        return self._plan_and_render([_require_recipe_type(recipe, ClassRecipe)], image)

    def zoom(self, image: Tensor, recipe: ZoomRecipe) -> Iterator[Frame]:
        """An endless zoom into a picture (1, 3, H, W), RGB in [0, 1]: a frame after each step.

        Those of the video are finished. Checked as `dream`, and raises as it does.
        """
        return self._plan_and_render([_require_recipe_type(recipe, ZoomRecipe)], image)

    def _plan_and_render(
        self, recipes: Sequence[Recipe], image: Tensor | None, kept: bool = False
    ) -> Iterator[Frame]:
        image = None if image is None else check_image(image)
        size = None if image is None else size_of(image)
        return self.render(self.plan(recipes, size, use_cache=kept), image)

    def cached_channels(self, recipes: Sequence[ChannelRecipe]) -> list[Image.Image]:
        """The visualizations of those recipes from the cache: all of them, or none."""
        settled = [self.settle(recipe) for recipe in recipes]
        there = self._find_cached(settled)
        return [there[recipe] for recipe in settled] if len(there) == len(set(settled)) else []

    def _find_cached(self, recipes: Sequence[Recipe]) -> dict[Recipe, Image.Image]:
        found = {
            recipe: self.cache.get(recipe, *self._cache_key(recipe.model))
            for recipe in recipes
            if isinstance(recipe, ChannelRecipe)
        }
        return {recipe: picture for recipe, picture in found.items() if picture}

    def _cache_key(self, model: str) -> tuple[str, str]:
        """Return the weights of a network, and on what it runs: "" for a CPU in float32."""
        dtype = self.precision(model)
        is_usual = self.device.type == "cpu" and dtype == torch.float32
        device = "" if is_usual else f"{self.device.type} {dtype}"
        return self.networks.weights_id(model), device

    def _store_in_cache(self, frame: Frame) -> None:
        for recipe, value, picture in zip(
            frame.recipes, frame.values, frame.pictures(), strict=True
        ):
            # The grey of a silent channel is not worth keeping.
            if isinstance(recipe, ChannelRecipe) and value:
                self.cache.put(picture, recipe, *self._cache_key(recipe.model))

    def verdict(self, picture: Tensor, recipe: ClassRecipe) -> Verdict:
        """What the network of a recipe takes a picture (1, 3, H, W) in [0, 1] for, on its 8 bits.

        Raises:
            WeightsError: as `network`.
        """
        return class_image.classify(self._network_for(recipe), picture.to(self.device), recipe)

    def response(
        self, image: Tensor, model: str = "dreamlet", layer: str | None = None
    ) -> LayerResponse:
        """What a layer answers to a picture (1, 3, H, W), RGB in [0, 1], shrunk to 448 pixels.

        Raises:
            PictureError: if it is no such picture, or too small for the network.
            RecipeError: if there is no such network or layer.
            WeightsError: as `network`.
        """
        recipe = ChannelRecipe(model=model, layer="" if layer is None else layer)
        image = check_image(image)
        self.plan([recipe], size_of(image))  # Checks; nothing runs.
        image = resize_clamped(image, limit_size(size_of(image), RESPONSE_MAX_SIDE))
        network = self._network_for(recipe)
        with torch.no_grad():
            activation = network.activations(image.to(self.device), (recipe.layer,))[recipe.layer]
        places = activation.shape[2:] or (1, 1)  # Logits have no place.
        return LayerResponse(image.cpu(), activation.float().cpu().view(1, -1, *places))


def _longest_side(job: AnyJob) -> int:
    """The longest side of what a job makes."""
    return max(job.stages[-1].size)


def _require_recipe_type(recipe: AnyRecipe, kind: type[Any]) -> AnyRecipe:
    """The recipe, if it is one of that kind."""
    if not isinstance(recipe, kind):
        raise RecipeError(f"a {kind.__name__} is needed here, not {describe_value(recipe)}")
    return recipe
