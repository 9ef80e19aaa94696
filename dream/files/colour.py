"""Colours as videos and PNGs say that they are, by the numbers of ITU-T H.273, as sRGB."""

from __future__ import annotations

import io
from contextlib import suppress
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageFilter
from PIL.Image import Resampling

Floats = NDArray[np.float64]

BT2020, PQ, HLG = 9, 16, 18
# By transfer: the power that light is of the values; of what is not listed, that of sRGB is near.
POWERS = {4: 2.2, 5: 2.8, 8: 1.0}
P3 = ((1.2249, -0.2249, 0), (-0.0420, 1.0420, 0), (-0.0196, -0.0786, 1.0982))
# By primaries: from their linear light to that of BT.709, which sRGB has.
TO_BT709 = {
    BT2020: ((1.6605, -0.5877, -0.0728), (-0.1246, 1.1329, -0.0083), (-0.0182, -0.1006, 1.1188)),
    11: P3,
    12: P3,
}
BT2020_LUMINANCE = (0.2627, 0.6780, 0.0593)
# In nits: white in SDR (BT.2408), and the brightest that HDR is usually graded for.
SDR_WHITE, HDR_PEAK = 203.0, 1000.0
GRID = 33
# A longer profile is passed over: it is a program.
MAX_PROFILE_BYTES = 4_000_000
# A profile that changes no colour by more than so many levels is one of sRGB.
ROUNDING = 3
# Of an image with alpha so many pixels a side are looked at; from which alpha they can be seen, and
# from which value on they cannot on white.
SAMPLES, VISIBLE, NEARLY_WHITE = 256, 64, 240
# Pictures are converted by so many rows, which takes less memory than all at once.
ROWS = 256


def to_srgb(image: Image.Image, primaries: int, transfer: int) -> Image.Image:
    """An RGB image of those primaries and that transfer as sRGB; HDR is tone-mapped to SDR."""
    if transfer in POWERS:
        image = apply_gamma(image, 1 / POWERS[transfer])
    table = _table(primaries, transfer)
    return image.filter(table) if table else image


def apply_gamma(image: Image.Image, gamma: float) -> Image.Image:
    """An image whose values are light to the power of `gamma` as sRGB."""
    values = _encode_srgb((np.arange(256) / 255) ** (1 / gamma)) * 255
    return image.point(values.round().astype(int).tolist() * len(image.getbands()))


def convert_by_profile(image: Image.Image, profile: bytes) -> Image.Image:
    """The picture as sRGB, by its colour profile where it has a usable one that is another."""
    with suppress(ImageCms.PyCMSError, OSError, TypeError, ValueError):
        # A profile that is damaged or for another kind of picture is passed over.
        if len(profile) <= MAX_PROFILE_BYTES:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            if image.mode == "L" and source.profile.xcolor_space.strip() == "RGB":
                image = image.convert("RGB")
            target = ImageCms.createProfile("sRGB")
            transform = ImageCms.buildTransform(source, target, image.mode, "RGB")
            seen = _sample(image.mode)
            converted = np.array(ImageCms.applyTransform(seen, transform), np.int16)
            if np.abs(converted - np.array(seen.convert("RGB"))).max() > ROUNDING:
                return ImageCms.applyTransform(image, transform) or image.convert("RGB")
    return image.convert("RGB")


def _sample(mode: str) -> Image.Image:
    """Colours from all over a mode, to see what a profile does."""
    values = np.linspace(0, 255, 9).round().astype(np.uint8)
    bands = 1 if mode == "L" else len(mode)
    grid = np.stack(np.meshgrid(*[values] * bands), -1).reshape(1, -1, bands)
    return Image.fromarray(grid.squeeze(2) if mode == "L" else grid, mode)


def composite_on_background(image: Image.Image, background: str | None) -> Image.Image:
    """An LA or RGBA image as L or RGB, on that background; by default on one that shows it.

    That is white, or black where nearly all that can be seen is nearly white. The image is changed.
    """
    if background is None:
        size = (min(image.width, SAMPLES), min(image.height, SAMPLES))
        few = image.resize(size, Resampling.NEAREST)
        alpha = few.getchannel("A").histogram()
        white = Image.new(few.mode, few.size, "white")
        dark = Image.alpha_composite(white, few).convert("L").histogram()
        is_white = sum(dark[:NEARLY_WHITE]) <= sum(alpha[VISIBLE:]) / 50
        background = "black" if is_white and any(alpha[VISIBLE:]) else "white"
    for top in range(0, image.height, ROWS):  # All at once would take four times the memory.
        rows = image.crop((0, top, image.width, min(top + ROWS, image.height)))
        below = Image.new(image.mode, rows.size, background)
        image.paste(Image.alpha_composite(below, rows), (0, top))
    return image.convert("L" if image.mode == "LA" else "RGB")


@lru_cache
def _table(primaries: int, transfer: int) -> Any:
    """What makes sRGB of those colours, or None where they are taken for it."""
    if transfer not in (PQ, HLG) and primaries not in TO_BT709:
        return None
    axis = np.linspace(0, 1, GRID)
    blue, green, red = np.meshgrid(axis, axis, axis, indexing="ij")
    values = np.stack((red, green, blue), -1)
    if transfer == PQ:
        light = _tone_map(_nits(values))
    elif transfer == HLG:
        bright = (np.exp((values - 0.55991073) / 0.17883277) + 0.28466892) / 12
        scene = np.where(values <= 0.5, values**2 / 3, bright)
        luminance = scene @ np.array(BT2020_LUMINANCE)
        light = _tone_map(HDR_PEAK * scene * luminance[..., None] ** 0.2)
    else:
        light = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    light = light @ np.array(TO_BT709.get(primaries, np.eye(3))).T
    table = _encode_srgb(light.clip(0, 1)).astype(np.float32)
    return ImageFilter.Color3DLUT(GRID, table.ravel())


def _tone_map(light: Floats) -> Floats:
    """Light in nits as SDR has it, 1 for white: darker than about half of it stays, what is
    brighter gives way, up to the peak (the EETF of ITU-R BT.2390), in its own hue.
    """
    most = light.max(-1, keepdims=True).clip(1e-6, HDR_PEAK)
    peak, white = _pq(HDR_PEAK), _pq(SDR_WHITE) / _pq(HDR_PEAK)
    values, knee = _pq(most) / peak, 1.5 * white - 0.5
    t = ((values - knee) / (1 - knee)).clip(0, 1)
    bent = (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee)
    bent += (3 * t**2 - 2 * t**3) * white
    mapped = light / most * _nits(np.where(values < knee, values, bent) * peak) / SDR_WHITE
    return np.asarray(mapped, np.float64)


# PQ (SMPTE ST 2084).
M1, M2, C1, C2, C3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128


def _pq(nits: Any) -> Any:
    power = (nits / 10_000) ** M1
    return ((C1 + C2 * power) / (1 + C3 * power)) ** M2


def _nits(pq: Any) -> Any:
    power = pq ** (1 / M2)
    return 10_000 * ((power - C1).clip(0) / (C2 - C3 * power)) ** (1 / M1)


def _encode_srgb(light: Floats) -> Floats:
    """Linear light from 0 to 1 as sRGB."""
    encoded = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.asarray(encoded, np.float64)
