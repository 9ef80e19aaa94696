"""Text inside images and videos: the recipe, and the provenance that programs read.

A PNG has the recipe as iTXt, a JPEG, WebP and AVIF in their XMP, a GIF as its comment, and other
videos as a tag. All but videos have the provenance as XMP.
"""

from __future__ import annotations

import html
import re
from typing import BinaryIO
from xml.sax.saxutils import escape

from PIL import Image, UnidentifiedImageError

from dream.errors import PictureError
from dream.files.limited_reader import Answers, check_file_size, limit_reading
from dream.files.video_container import detect_demuxer, open_video
from dream.version import __version__

RECIPE_KEY = "deepdream"
# The PNG text key of the share of the dream over its photo, in per cent.
BLEND_KEY = "deepdream-blend"
# The PNG text key of XMP.
XMP_KEY = "XML:com.adobe.xmp"
IPTC_TERMS = "http://cv.iptc.org/newscodes/digitalsourcetype/"
FROM_PHOTO, FROM_NOISE = "compositeWithTrainedAlgorithmicMedia", "trainedAlgorithmicMedia"
XMP_TEMPLATE = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about=""
 xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:CreatorTool="dream {version}"
 xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
 Iptc4xmpExt:DigitalSourceType="{source}"{rest}
</rdf:RDF>
</x:xmpmeta>
<?xpacket end="r"?>"""
RECIPE_TEMPLATE = """
 xmlns:deepdream="urn:deepdream:">
<deepdream:recipe>{recipe}</deepdream:recipe>
</rdf:Description>"""
# An element, as this program writes it, or an attribute, as other programs rewrite it. XMP is found
# in the whole file by it, and never parsed as XML: that would expand a stranger's entities.
XMP_RECIPE = re.compile(
    rb"""<deepdream:recipe>([^<]*)</|\sdeepdream:recipe=(?:"([^"<]*)"|'([^'<]*)')"""
)
XMP_RECIPE_NAME = b"deepdream:recipe"
# No recipe needs a longer packet.
MAX_XMP_BYTES = 4_000_000


def build_xmp(from_photo: bool, recipe: str = "") -> str:
    """Return XMP that says that a network made the image, from a photo or from noise.

    It uses IPTC's `DigitalSourceType` (https://cv.iptc.org/newscodes/digitalsourcetype/). The
    recipe, as JSON, is added if it is not empty. The version is outside of the recipe, because
    older versions refuse a recipe with a knob that they do not know.
    """
    rest = RECIPE_TEMPLATE.format(recipe=escape(recipe)) if recipe else "/>"
    source = IPTC_TERMS + (FROM_PHOTO if from_photo else FROM_NOISE)
    return XMP_TEMPLATE.format(version=__version__, source=source, rest=rest)


def recipe_in_xmp(content: bytes) -> str:
    """Return the recipe of the XMP in a file, also of a packet that is damaged; "" without one."""
    start = max(0, content.find(XMP_RECIPE_NAME) - 1)
    match = XMP_RECIPE.search(content, start, start + MAX_XMP_BYTES)
    found = next(filter(None, match.groups()), b"") if match else b""
    return html.unescape(found.decode(errors="replace"))


def read_text(file: BinaryIO, name: str, key: str) -> Answers:
    """Yield the recipe in an image or a video, under `key` where keys exist; "" without one."""
    head = file.read(12)
    file.seek(0)
    if head.startswith((b"\x89PNG", b"GIF8")):
        yield _read_image_text(file, name, key)
    elif detect_demuxer(head):
        with open_video(file, name) as container:
            tags = {tag.lower(): text for tag, text in container.metadata.items()}
        content = str(tags.get(key, "")).encode(errors="surrogateescape")
        yield content.decode(errors="replace")
    else:
        check_file_size(file, name)
        file.seek(0)
        content = file.read()
        recipe = recipe_in_xmp(content)
        size = int.from_bytes(head[4:8], "little")
        if not recipe and head.startswith(b"RIFF") and size > len(content):  # XMP ends a WebP.
            raise PictureError(f"{name} cannot be read: it is cut off")
        yield recipe


def _read_image_text(file: BinaryIO, name: str, key: str) -> str:
    """Return the recipe in the header of a PNG or GIF, whose pixels are not decoded."""
    try:
        with Image.open(limit_reading(file, name), formats=["PNG", "GIF"]) as image:
            if image.format == "PNG":
                return str(image.info.get(key, ""))
            return bytes(image.info.get("comment", b"")).decode(errors="replace")
    except UnidentifiedImageError as error:
        raise PictureError(f"{name} cannot be read: it is damaged") from error
