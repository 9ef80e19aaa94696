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
from dream.files.heif_boxes import AVIF_BRANDS, is_heif
from dream.files.limited_reader import (
    Answers,
    check_file_size,
    check_header,
    convert_read_errors,
    limit_reading,
)
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
# An element, as this program writes it, or an attribute, as other programs rewrite it. XMP is never
# parsed as XML: that would expand a stranger's entities.
XMP_RECIPE = re.compile(
    rb"""<deepdream:recipe>([^<]*)</|\sdeepdream:recipe=(?:"([^"<]*)"|'([^'<]*)')"""
)
XMP_START, XMP_END = b"<x:xmpmeta", b"</x:xmpmeta>"
# A longer packet than any recipe needs is not searched.
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


def recipe_in_xmp(xmp: bytes) -> str:
    """Return the recipe of `build_xmp`, also from a packet that is damaged; "" without one."""
    match = XMP_RECIPE.search(xmp) if len(xmp) <= MAX_XMP_BYTES else None
    found = next(filter(None, match.groups()), b"") if match else b""
    return html.unescape(found.decode(errors="replace"))


def has_embedded_text(head: bytes) -> bool:
    """Return whether a file that starts with these 12 bytes or more is one for `read_text`."""
    is_webp = head[:4] == b"RIFF" and head[8:12] == b"WEBP"
    is_image = head.startswith((b"\x89PNG", b"\xff\xd8\xff")) or is_heif(head, AVIF_BRANDS)
    return is_image or is_webp or bool(detect_demuxer(head))


def read_text(file: BinaryIO, name: str, key: str) -> Answers:
    """Yield the recipe in an image or a video, under `key` where keys exist; "" without one.

    Raises:
        PictureError: if the file cannot be read.
    """
    text = ""
    # Pillow's readers raise almost any error on a damaged file.
    with convert_read_errors(name, Exception):
        try:
            if demuxer := detect_demuxer(file.read(12)):
                with open_video(file, name) as container:
                    tags = {tag.lower(): text for tag, text in container.metadata.items()}
                content = str(tags.get(key, "")).encode(errors="surrogateescape")
                text = content.decode(errors="replace")
            if demuxer in ("", "gif"):
                text = _read_image_text(file, name, key)
        except UnidentifiedImageError as error:
            raise PictureError(f"{name} cannot be read: it is damaged") from error
    yield text


def _read_image_text(file: BinaryIO, name: str, key: str) -> str:
    """Return the recipe in the header of an image, whose pixels are not decoded."""
    formats = ["PNG", "GIF"]  # Pillow reads others from start to end.
    file.seek(0)
    head = file.read(12)
    if not head.startswith((b"\x89PNG", b"GIF8")):
        check_file_size(file, name)
        check_header(file)
        formats = ["JPEG", "WEBP"]
    file.seek(0)
    if is_heif(head, AVIF_BRANDS):  # Pillow would also read its EXIF, which can take minutes.
        content = file.read()
        start = content.find(XMP_START)
        return recipe_in_xmp(content[start : content.find(XMP_END, start)])
    with Image.open(limit_reading(file, name), formats=formats) as image:
        if image.format == "PNG":
            return str(image.info.get(key, ""))
        if image.format == "GIF":
            return bytes(image.info.get("comment", b"")).decode(errors="replace")
        return recipe_in_xmp(bytes(image.info.get("xmp", b"")))
