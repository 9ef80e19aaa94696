"""Metadata of files: the recipe, and in XMP that a network made the image, as IPTC defines it."""

from __future__ import annotations

import json
import os
from typing import overload

from PIL import PngImagePlugin

from dream.errors import PictureError, RecipeError
from dream.files.decoder import read_in_decoder
from dream.files.decoder_protocol import next_answer
from dream.files.limited_reader import display_name, open_regular_file, unreadable_error
from dream.files.video_container import RECIPE_KEY, detect_demuxer
from dream.recipe.base import AnyRecipe, Recipe
from dream.recipe.dream import DreamRecipe

# A recipe may contain a guide and a mask (see `embedded_images`).
MAX_RECIPE_BYTES = 1_000_000

# The PNG text key of XMP.
XMP_KEY = "XML:com.adobe.xmp"
IPTC_TERMS = "http://cv.iptc.org/newscodes/digitalsourcetype/"
FROM_PHOTO, FROM_NOISE = "compositeWithTrainedAlgorithmicMedia", "trainedAlgorithmicMedia"
XMP_TEMPLATE = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about=""
 xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
 Iptc4xmpExt:DigitalSourceType="{source}"/>
</rdf:RDF>
</x:xmpmeta>
<?xpacket end="r"?>"""


def provenance_xmp(from_photo: bool) -> str:
    """Return XMP that says that a network made the image, from a photo or from noise.

    It uses IPTC's `DigitalSourceType` (https://cv.iptc.org/newscodes/digitalsourcetype/).
    """
    return XMP_TEMPLATE.format(source=IPTC_TERMS + (FROM_PHOTO if from_photo else FROM_NOISE))


def png_metadata(recipe: Recipe | None, photo: bool | None) -> PngImagePlugin.PngInfo:
    """Return the recipe (iTXt `deepdream`) and the provenance (XMP), as `save_image` needs them."""
    info = PngImagePlugin.PngInfo()
    if recipe:
        info.add_itxt(RECIPE_KEY, recipe.to_json())
    if recipe or photo is not None:
        is_from_photo = bool(photo) or isinstance(recipe, DreamRecipe)
        info.add_itxt(XMP_KEY, provenance_xmp(is_from_photo))
    return info


@overload
def read_recipe(path: str | os.PathLike[str]) -> Recipe: ...
@overload
def read_recipe(path: str | os.PathLike[str], kind: type[AnyRecipe]) -> AnyRecipe: ...
def read_recipe(path: str | os.PathLike[str], kind: type[Recipe] = Recipe) -> Recipe:
    """Return the recipe, of one kind or any, in a PNG or video made by this program, or in JSON.

    Raises:
        RecipeError: if the file is missing, has no recipe, or has one that cannot be used.
    """
    try:
        with open_regular_file(path, display_name(path)) as file:
            text = file.read(MAX_RECIPE_BYTES)
        if text.startswith(b"\x89PNG") or detect_demuxer(text):
            with read_in_decoder("text", path, key=RECIPE_KEY) as answers:
                text = next_answer(answers, lambda answer: str(answer).encode())
    except PictureError as error:
        raise RecipeError(str(error)) from error
    except Exception as error:
        raise RecipeError(str(unreadable_error(display_name(path), error))) from error
    head = text[:100].decode(json.detect_encoding(text), errors="replace")
    if not head.lstrip("\ufeff \t\r\n").startswith("{"):
        raise RecipeError(
            f"{display_name(path)} has no recipe; use a PNG or video made by this program, or JSON"
        )
    return kind.from_json(text)
