"""The engine: the package's only state, created once and shared by all requests."""

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
from dream.networks.device import pick_device, pick_dtype
from dream.networks.network import Network
from dream.networks.network_cache import NetworkCache
from dream.networks.weights import DownloadSteps
from dream.recipe import ChannelRecipe, ClassRecipe, DreamRecipe, Recipe, ZoomRecipe
from dream.recipe.base import DEFAULT_MODEL, AnyRecipe
from dream.recipe.channel import DEFAULT_PHOTO_SIDE
from dream.recipe.knob import read_env_number
from dream.recipe.motion import MotionRecipe
from dream.render import class_image, cost, kinds
from dream.render.ascent import Ascent
from dream.render.class_image import Verdict
from dream.render.cpu_threads import CpuThreads
from dream.render.job_loop import Frame, run_jobs, to_batch
from dream.render.layer_response import LayerResponse
from dream.render.plan import AnyJob, Job, Stage
from dream.tensors import Size, check_image, limit_size, resize_clamped, size_of

DEFAULT_MODEL_CACHE_GB = 4.0
# Pixels of the longest side of a photo in `Engine.response`.
RESPONSE_MAX_SIDE = DEFAULT_PHOTO_SIDE
OUT_OF_MEMORY_MESSAGE = "too much for the memory of the GPU"


class Engine:
    """A device and the networks loaded on it. Safe to share between threads.

    On CUDA the same seed gives slightly different images from run to run; less so if the program
    calls `networks.device.use_deterministic_cudnn`, which does not cover all sums. Networks
    that were not used for longest are dropped when the weights take more than
    `DREAM_MODEL_CACHE_GB` (4 by default).

    Args:
        device: A torch device name; None chooses the best one (see `pick_device`).
        files: Custom weights files, by model.
        shipped: Folders of precomputed channel images; others go to an `ImageCache`.
        threads: CPU threads, by default as many as torch uses now (see `CpuThreads`).

    Raises:
        DeviceError: if the device is not available, or `DREAM_PRECISION` is not a precision.
        RecipeError: if `DREAM_MODEL_CACHE_GB` or `DREAM_CACHE_MB` is not a valid number.
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
        self.precision(DEFAULT_MODEL)  # Raises now if `DREAM_PRECISION` is invalid.
        self.cache = ImageCache(shipped)

    def new_for_fork(self) -> Engine:
        """Return an engine with the same options and no shared state, for a forked process."""
        return Engine(
            self._requested_device, self.files, self.cache.shipped_folders, self.threads.count
        )

    def default_model(self) -> str:
        """Return the name of the network that a page starts with.

        It is `DREAM_DEFAULT_MODEL`; on a GPU, a classic network whose weights are on this machine;
        otherwise Dreamlet.

        Raises:
            RecipeError: if `DREAM_DEFAULT_MODEL` is not a network.
        """
        if name := os.environ.get("DREAM_DEFAULT_MODEL"):
            return catalogue.get_card(name).name
        if self.device.type != "cpu":
            for name in catalogue.GPU_DEFAULT_MODELS:
                if name in self.files or weights.find_weights(catalogue.get_card(name)):
                    return name
        return DEFAULT_MODEL

    def precision(self, model: str) -> torch.dtype:
        """Return the dtype in which a network runs on this device (see `device.pick_dtype`)."""
        return pick_dtype(self.device, catalogue.get_card(model))

    def network(self, model: str, *, head: bool = False) -> Network:
        """Return a network, with or without its head; downloaded and loaded on first use.

        Raises:
            RecipeError: if the model does not exist.
            WeightsError: if its weights are not available (`WeightsUnavailable`) or do not fit.
        """
        return self.networks.network(model, with_head=head)

    def fetch(self, model: str) -> DownloadSteps:
        """Download the weights of a network if they are missing; yield the progress.

        Raises:
            WeightsError: as `network`, except that it does not check whether they fit.
        """
        return self.networks.fetch(model)

    def _network_for(self, recipe: Recipe) -> Network:
        layers = tuple(layer for layer, _ in recipe.layers)
        return self.network(recipe.model, head=recipe.card.needs_head(layers))

    def settle(self, recipe: AnyRecipe, image: Tensor | Size | None = None) -> AnyRecipe:
        """Return the recipe with all defaults set, for this device and for noise or an image.

        `image` is the photo or its size.

        Raises:
            RecipeError: if it is not a recipe.
        """
        _require_recipe_type(recipe, Recipe)
        return recipe.with_defaults(self.device.type, image is not None)

    def plan(
        self, recipes: Sequence[Recipe], size: Size | None = None, *, use_cache: bool = False
    ) -> list[AnyJob]:
        """Plan the jobs for recipes, from noise or in a photo of that (height, width).

        Recipes are settled and checked. With `use_cache`, jobs of cached images come first and have
        no stages. Of a video or a live dream a job holds the first two frames; see
        `Job.for_frames`.

        Raises:
            PictureError, RecipeError: if a recipe cannot be rendered.
        """
        settled = [self.settle(each, size) for each in recipes]
        cached = self._find_cached(settled) if use_cache and not size else {}
        by_size: dict[Size, dict[Recipe, Image.Image]] = {}
        for recipe, image in cached.items():
            by_size.setdefault(image.size, {})[recipe] = image
        jobs = [Job(tuple(each), cached_images=tuple(each.values())) for each in by_size.values()]
        return jobs + kinds.plan([each for each in settled if each not in cached], size)

    def seconds(self, stage: Stage) -> float:
        """Estimate the duration of a stage on a device of this kind, before any job was timed.

        Raises:
            RecipeError: if an image does not reach its layers.
        """
        pace = cost.pace(self.device, self.precision(stage.model))
        return pace.seconds(cost.total_cost([stage]))

    def render(
        self, jobs: Sequence[AnyJob], image: Tensor | None = None, deadline: float = math.inf
    ) -> Iterator[Frame]:
        """Render planned jobs from noise or in an image (1, 3, H, W), RGB in [0, 1].

        Yields a frame before each job and after each of its steps; the last frame of a job is
        finished. `step`, `total` and `done` count over all jobs. Networks are loaded when frames
        are requested. Close the iterator to stop. If a job exceeds the memory of a GPU, it and
        those after it start again one octave smaller; counts restart, and each `remark` says so.

        Raises:
            DeviceError: if smaller jobs exceed it too; at once for a video, which keeps its size.
            OutOfTime: within a tiled step, if `time.monotonic()` is past the deadline.
            RecipeError: if custom weights have fewer classes than a recipe names.
            WeightsError: if weights are not available or do not fit.
        """
        remark, done = "", 0
        while True:
            ascents = [self._ascents(job, image, deadline) for job in jobs]
            frames = run_jobs(jobs, ascents, self.seconds)
            try:
                for frame in self.threads.run_steps(frames):
                    done += frame.finished
                    yield replace(frame, remark=remark)
                    if image is None and frame.finished and frame.values:
                        self._store_in_cache(frame)
                return
            except torch.OutOfMemoryError as error:
                left = jobs[done:] or jobs[-1:]  # A video is one job with many finished frames.
                why = f"{OUT_OF_MEMORY_MESSAGE} at {max(left[0].size)} pixels a side"
                if remark:
                    raise DeviceError(f"{why}; give a smaller image, or fewer") from error
            jobs = self._shrink_jobs(left, image, why)
            if isinstance(jobs[0].recipes[0], MotionRecipe):
                side = max(jobs[0].size)
                raise DeviceError(f"{why}; a video keeps its size: set max_side to {side}")
            remark, done = f"{why}: made at {max(jobs[0].size)}", 0

    def render_images(self, job: AnyJob, images: Sequence[Image.Image]) -> Iterator[Frame]:
        """Render one job in 8-bit images of its size, as a `video_job.RenderFunction`."""
        return self.render([job], to_batch(images))

    def _shrink_jobs(self, jobs: Sequence[AnyJob], image: Tensor | None, why: str) -> list[AnyJob]:
        """Free GPU memory and plan the jobs one octave smaller."""
        torch.cuda.empty_cache()
        size = None if image is None else size_of(image)
        try:
            return [each for job in jobs for each in kinds.shrink_job(job, size)]
        except DreamError as error:
            raise DeviceError(f"{why}, and {error}") from error

    def _ascents(self, job: AnyJob, image: Tensor | None, deadline: float) -> Iterator[Ascent]:
        network = self._network_for(job.recipes[0])
        yield from kinds.ascents(network, job, image, deadline)

    def dream(self, image: Tensor, recipe: DreamRecipe | None = None) -> Iterator[Frame]:
        """Dream an image (1, 3, H, W), RGB in [0, 1]; yield a frame after each step.

        The first frame is the image, unchanged but for the colours of a guide and limited to the
        recipe's `max_side`; the last one is the result. Image and recipe are checked before this
        returns; the network is loaded when the first frame is requested. Close the iterator to
        stop.

        Raises:
            PictureError: if it is not such an image, or too small for the network.
            WeightsError: at the first frame, if the weights are not available or do not fit.
        """
        return self.dreams(image, [DreamRecipe() if recipe is None else recipe])

    def dreams(self, image: Tensor, recipes: Sequence[DreamRecipe]) -> Iterator[Frame]:
        """Dream an image by several recipes, one after the other; each ends in a finished frame.

        `step`, `total` and `done` count over all of them. Checks and raises as `dream`.
        """
        return self._plan_and_render(DreamRecipe, recipes, image)

    def channel(self, recipe: ChannelRecipe, image: Tensor | None = None) -> Iterator[Frame]:
        """Visualize a channel from noise, or in an image (1, 3, H, W), RGB in [0, 1].

        Yields the start and a frame after each step; the last one is the result. It does not read
        the cache. Checks and raises as `dream`.
        """
        return self._plan_and_render(ChannelRecipe, [recipe], image)

    def channels(
        self, recipes: Sequence[ChannelRecipe], image: Tensor | None = None
    ) -> Iterator[Frame]:
        """Visualize many channels from noise in batches, or in an image one after the other.

        From noise, cached images come first, in a frame that is finished at once; the others are
        rendered and cached. `step` and `done` count over all that are rendered. Checks and raises
        as `dream`.
        """
        return self._plan_and_render(ChannelRecipe, recipes, image, use_cache=True)

    def class_image(self, recipe: ClassRecipe, image: Tensor | None = None) -> Iterator[Frame]:
        """Optimise noise or an image (1, 3, H, W), RGB in [0, 1], for a class.

        Yields the start and a frame after each step; the last one is the result. While several
        noise images are tried, a frame shows the best one so far. Checks and raises as `dream`.

        Raises:
            RecipeError: at the first frame, if custom weights have fewer classes.
        """
        return self._plan_and_render(ClassRecipe, [recipe], image)

    def zoom(self, image: Tensor, recipe: ZoomRecipe) -> Iterator[Frame]:
        """Zoom endlessly into an image (1, 3, H, W), RGB in [0, 1]; yield a frame after each step.

        Frames of the video are finished. Checks and raises as `dream`.
        """
        return self._plan_and_render(ZoomRecipe, [recipe], image)

    def _plan_and_render(
        self,
        kind: type[Recipe],
        recipes: Sequence[Recipe],
        image: Tensor | None,
        use_cache: bool = False,
    ) -> Iterator[Frame]:
        recipes = [_require_recipe_type(each, kind) for each in recipes]
        if use_cache:
            recipes = list(dict.fromkeys(recipes))
        image = None if image is None else check_image(image)
        size = None if image is None else size_of(image)
        return self.render(self.plan(recipes, size, use_cache=use_cache), image)

    def cached_channels(self, recipes: Sequence[ChannelRecipe]) -> list[Image.Image]:
        """Return the cached images of the recipes, or [] if one is missing."""
        settled = [self.settle(recipe) for recipe in recipes]
        cached = self._find_cached(settled)
        return [cached[recipe] for recipe in settled] if len(cached) == len(set(settled)) else []

    def _find_cached(self, recipes: Sequence[Recipe]) -> dict[Recipe, Image.Image]:
        """Return the cached images of channel recipes."""
        images = {
            recipe: self.cache.get(recipe, *self._cache_key(recipe.model))
            for recipe in recipes
            if isinstance(recipe, ChannelRecipe)
        }
        return {recipe: image for recipe, image in images.items() if image}

    def _cache_key(self, model: str) -> tuple[str, str]:
        """Return the ID of a network's weights, and device and dtype ("" for a CPU in float32)."""
        dtype = self.precision(model)
        is_default = self.device.type == "cpu" and dtype == torch.float32
        device = "" if is_default else f"{self.device.type} {dtype}"
        return self.networks.weights_id(model), device

    def _store_in_cache(self, frame: Frame) -> None:
        for recipe, value, image in zip(frame.recipes, frame.values, frame.pictures(), strict=True):
            # The image of a silent channel is grey; do not cache it.
            if isinstance(recipe, ChannelRecipe) and value:
                self.cache.put(image, recipe, *self._cache_key(recipe.model))

    def verdict(self, picture: Tensor, recipe: ClassRecipe) -> Verdict:
        """Classify an image (1, 3, H, W) in [0, 1], rounded to 8 bits, by the recipe's network.

        Raises:
            WeightsError: as `network`.
        """
        return class_image.classify(self._network_for(recipe), picture.to(self.device), recipe)

    def response(
        self, image: Tensor, model: str = "dreamlet", layer: str | None = None
    ) -> LayerResponse:
        """Return a layer's response to an image (1, 3, H, W), RGB in [0, 1].

        The image is shrunk to 448 pixels at its longest side.

        Raises:
            PictureError: if it is not such an image, or too small for the network.
            RecipeError: if the network or the layer does not exist.
            WeightsError: as `network`.
        """
        recipe = ChannelRecipe(model=model, layer="" if layer is None else layer)
        image = check_image(image)
        self.plan([recipe], size_of(image))  # Only checks; nothing runs.
        image = resize_clamped(image, limit_size(size_of(image), RESPONSE_MAX_SIDE))
        network = self._network_for(recipe)
        with torch.no_grad():
            activation = network.activations(image.to(self.device), (recipe.layer,))[recipe.layer]
        size = activation.shape[2:] or (1, 1)  # Logits have no height and width.
        return LayerResponse(image.cpu(), activation.float().cpu().view(1, -1, *size))

    # Deprecated names, for one release.
    paint, kept, another = render, cached_channels, new_for_fork


def _require_recipe_type(recipe: AnyRecipe, kind: type[Any]) -> AnyRecipe:
    """Return the recipe, or raise a `RecipeError` if it is not of that type."""
    if not isinstance(recipe, kind):
        raise RecipeError(f"expected a {kind.__name__}, not {describe_value(recipe)}")
    return recipe
