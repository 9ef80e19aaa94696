"""The formats of written images: file names, encoders and metadata."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dream.errors import PictureError, close_matches, first_line
from dream.recipe.base import Recipe
from dream.recipe.dream import DreamRecipe
from dream.recipe.knob import Knob

if TYPE_CHECKING:  # The command line reads the names of formats, and starts without Pillow.
    from PIL import Image, PngImagePlugin

# What a name may end in to select the format of an image.
IMAGE_FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP", ".avif": "AVIF"}
FORMAT_KNOB = Knob(
    "Format of the images.", choices=tuple(each[1:] for each in IMAGE_FORMATS), default="png"
)
QUALITY_KNOB = Knob(
    "Quality of a JPEG, WebP or AVIF; a PNG is lossless.", 1, 100, value_type=int, default=90
)
# The colours have their full resolution where the format allows it, because dreams are colourful.
# With more threads an AVIF has other bytes. At speed 9, 12 megapixels take 5 seconds of an AMD
# EPYC's core, at Pillow's 6 about 45, for 4 % fewer bytes.
ENCODER_OPTIONS: dict[str, dict[str, Any]] = {
    "PNG": {},
    "JPEG": {"subsampling": 0},
    "WEBP": {},
    "AVIF": {"codec": "aom", "subsampling": "4:4:4", "speed": 9, "max_threads": 1},
}
# XMP in the one segment of a JPEG that has it.
MAX_JPEG_XMP_BYTES = 65_504
# A recipe grows by this much at most when its defaults are filled in.
DEFAULTS_BYTES = 1000
# Names of Windows' devices, with any ending; a colon starts the name of a stream.
WINDOWS_NAME = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?|.*:.*", re.IGNORECASE)
IS_WINDOWS = os.name == "nt"


def encoder_options(
    path: Path,
    recipe: Recipe | None,
    photo: bool | None,
    quality: int | None,
    blend: int | None = None,
    *,
    spare_bytes: int = 0,
) -> dict[str, Any]:
    """Return Pillow's options for a format and its metadata. Raises as `save_image`."""
    from dream.files.embedded_text import build_xmp

    kind = image_format(path)
    options = dict(ENCODER_OPTIONS[kind])
    if kind != "PNG":
        options["quality"] = QUALITY_KNOB.check(
            "quality", QUALITY_KNOB.default if quality is None else quality
        )
    elif quality is not None:
        raise PictureError(
            f"{path.name} is a PNG, which is lossless and has no quality; "
            "leave quality out, or use a name that ends in .jpg, .webp or .avif"
        )
    if blend is not None and kind != "PNG":
        raise PictureError(f"a blend is saved as PNG: name it {path.stem}.png")
    text = recipe.to_json() if recipe else ""
    if not text and photo is None:
        return options
    is_from_photo = bool(photo) or isinstance(recipe, DreamRecipe)
    if kind == "PNG":
        return options | {"pnginfo": _png_text(text, build_xmp(is_from_photo), blend)}
    options["xmp"] = build_xmp(is_from_photo, text).encode()
    if kind == "JPEG" and len(options["xmp"]) > MAX_JPEG_XMP_BYTES - spare_bytes:
        raise PictureError(
            f"the recipe, with its guide or mask, is too long for {path.name}; "
            "use PNG, WebP or AVIF instead of JPEG"
        )
    return options


def _png_text(recipe: str, xmp: str, blend: int | None) -> PngImagePlugin.PngInfo:
    """Return the text chunks of a PNG: the recipe as JSON unless "", the blend, and the XMP."""
    from PIL import PngImagePlugin

    from dream.files.embedded_text import BLEND_KEY, RECIPE_KEY, XMP_KEY

    info = PngImagePlugin.PngInfo()
    if recipe:
        info.add_itxt(RECIPE_KEY, recipe)
    if blend is not None:
        info.add_text(BLEND_KEY, str(blend))
    info.add_itxt(XMP_KEY, xmp)
    return info


def encode_image(
    image: Image.Image, target: Path | io.BytesIO, kind: str, options: Mapping[str, Any]
) -> None:
    """Write an image to a file. Any failure is an OSError."""
    try:
        image.save(target, kind, **options)
    except (KeyError, ValueError) as error:  # The encoder is missing, or the image too large.
        raise OSError(first_line(error)) from error


def check_image_options(
    path: str | os.PathLike[str], recipes: Sequence[Recipe] = (), quality: int | None = None
) -> None:
    """Raise, before images are made, the errors of `save_image` that can be known then."""
    from PIL import Image

    for recipe in (None, *recipes):
        options = encoder_options(Path(path), recipe, None, quality, spare_bytes=DEFAULTS_BYTES)
    try:
        encode_image(Image.new("RGB", (1, 1)), io.BytesIO(), image_format(path), options)
    except OSError as error:
        raise PictureError(f"{path} cannot be written: {first_line(error)}") from error


def image_format(path: str | os.PathLike[str]) -> str:
    """Return Pillow's name of the format that a file name selects. Raises as `check_ending`."""
    return IMAGE_FORMATS[check_ending(path).suffix.lower()]


def check_ending(
    path: str | os.PathLike[str], endings: Collection[str] = IMAGE_FORMATS.keys()
) -> Path:
    """Return a path whose name has one of the endings.

    Raises:
        PictureError: if it has none; the message says which name to use.
    """
    path = Path(path)
    if (ending := path.suffix.lower()) not in endings:
        close = close_matches(ending, endings, cutoff=0.7) or endings
        names = (f"{path.stem or 'dream'}{each}" for each in close)
        raise PictureError(f"the name selects the format: use {' or '.join(names)}")
    return path


def check_output_path(
    path: str | os.PathLike[str], endings: Collection[str] = IMAGE_FORMATS.keys()
) -> Path:
    """Return the path of a new file with one of the endings, if it seems writable.

    Raises:
        PictureError: if the name has another ending, or the folder is missing or not writable.
    """
    if os.path.isdir(path) or os.fspath(path).endswith(("/", os.sep)):
        example = Path(path, f"dream{next(iter(endings))}")
        raise PictureError(f"{path} is a folder; name a file in it, such as {example}")
    path = check_ending(path, endings)
    if IS_WINDOWS and WINDOWS_NAME.fullmatch(path.name):
        raise PictureError(f"Windows keeps names such as {path.name} for itself; use another name")
    try:
        with suppress(FileNotFoundError):
            path.stat()
    except (OSError, ValueError) as error:  # The name is too long, has a NUL, …
        raise PictureError(f"{path} cannot be written: {first_line(error)}") from error
    if not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        raise PictureError(f"{path} cannot be written: {path.parent} is not a writable folder")
    return path
