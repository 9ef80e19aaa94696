"""Conversion to sRGB, from profiles, gamma, and the code points of ITU-T H.273."""

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
# Gamma by H.273 transfer characteristics; those that are not listed are close to sRGB.
GAMMAS = {4: 2.2, 5: 2.8, 8: 1.0}
P3_TO_BT709 = ((1.2249, -0.2249, 0), (-0.0420, 1.0420, 0), (-0.0196, -0.0786, 1.0982))
# By H.273 colour primaries: matrices from their linear light to BT.709, whose primaries sRGB uses.
TO_BT709 = {
    BT2020: ((1.6605, -0.5877, -0.0728), (-0.1246, 1.1329, -0.0083), (-0.0182, -0.1006, 1.1188)),
    11: P3_TO_BT709,
    12: P3_TO_BT709,
}
BT2020_LUMINANCE = (0.2627, 0.6780, 0.0593)
# SDR reference white (BT.2408), and the peak that HDR is usually graded for.
SDR_WHITE_NITS, HDR_PEAK_NITS = 203.0, 1000.0
LUT_SIDE = 33
# Longer profiles are ignored: those of ordinary colour spaces are far smaller.
MAX_PROFILE_BYTES = 4_000_000
# A profile that changes no colour by more levels than this is treated as sRGB.
MAX_SRGB_DIFFERENCE = 3
# To choose a background, an image is reduced to this side in pixels; pixels count as visible from
# this alpha on, and as invisible on white from this grey level on.
MAX_SAMPLE_SIDE, MIN_VISIBLE_ALPHA, MIN_NEARLY_WHITE = 256, 64, 240
# Images are converted in chunks of rows; all at once would need four times the memory.
ROWS_PER_CHUNK = 256


def to_srgb(image: Image.Image, primaries: int, transfer: int) -> Image.Image:
    """Convert an RGB image with these H.273 primaries and transfer to sRGB; tone-map HDR to SDR."""
    if transfer in GAMMAS:
        image = apply_gamma(image, 1 / GAMMAS[transfer])
    table = _lookup_table(primaries, transfer)
    return image.filter(table) if table else image


def apply_gamma(image: Image.Image, gamma: float) -> Image.Image:
    """Convert an image whose values are linear light raised to `gamma` to sRGB."""
    values = _encode_srgb((np.arange(256) / 255) ** (1 / gamma)) * 255
    return image.point(values.round().astype(int).tolist() * len(image.getbands()))


def convert_by_profile(image: Image.Image, profile: bytes) -> Image.Image:
    """Convert an image to sRGB by its ICC profile, unless that is unusable or nearly sRGB."""
    with suppress(ImageCms.PyCMSError, OSError, TypeError, ValueError):
        # Damaged profiles, and profiles for another image mode, are ignored.
        if len(profile) <= MAX_PROFILE_BYTES:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            if image.mode == "L" and source.profile.xcolor_space.strip() == "RGB":
                image = image.convert("RGB")
            target = ImageCms.createProfile("sRGB")
            transform = ImageCms.buildTransform(source, target, image.mode, "RGB")
            sample = _sample_colours(image.mode)
            converted = np.array(ImageCms.applyTransform(sample, transform), np.int16)
            if np.abs(converted - np.array(sample.convert("RGB"))).max() > MAX_SRGB_DIFFERENCE:
                return ImageCms.applyTransform(image, transform) or image.convert("RGB")
    return image.convert("RGB")


def _sample_colours(mode: str) -> Image.Image:
    """Return an image of evenly spaced colours of a mode, to test what a profile changes."""
    values = np.linspace(0, 255, 9).round().astype(np.uint8)
    bands = 1 if mode == "L" else len(mode)
    grid = np.stack(np.meshgrid(*[values] * bands), -1).reshape(1, -1, bands)
    return Image.fromarray(grid.squeeze(2) if mode == "L" else grid, mode)


def composite_on_background(image: Image.Image, background: str | None) -> Image.Image:
    """Composite an LA or RGBA image, in place, and return it as L or RGB.

    Without a background it is white, or black if nearly all visible pixels are nearly white.
    """
    if background is None:
        size = (min(image.width, MAX_SAMPLE_SIDE), min(image.height, MAX_SAMPLE_SIDE))
        sample = image.resize(size, Resampling.NEAREST)
        alpha = sample.getchannel("A").histogram()
        white = Image.new(sample.mode, sample.size, "white")
        grey = Image.alpha_composite(white, sample).convert("L").histogram()
        is_nearly_white = sum(grey[:MIN_NEARLY_WHITE]) <= sum(alpha[MIN_VISIBLE_ALPHA:]) / 50
        background = "black" if is_nearly_white and any(alpha[MIN_VISIBLE_ALPHA:]) else "white"
    for top in range(0, image.height, ROWS_PER_CHUNK):
        rows = image.crop((0, top, image.width, min(top + ROWS_PER_CHUNK, image.height)))
        canvas = Image.new(image.mode, rows.size, background)
        image.paste(Image.alpha_composite(canvas, rows), (0, top))
    return image.convert("L" if image.mode == "LA" else "RGB")


@lru_cache
def _lookup_table(primaries: int, transfer: int) -> Any:
    """Return a 3D lookup table from these colours to sRGB, or None if they count as sRGB."""
    if transfer not in (PQ, HLG) and primaries not in TO_BT709:
        return None
    axis = np.linspace(0, 1, LUT_SIDE)
    blue, green, red = np.meshgrid(axis, axis, axis, indexing="ij")
    values = np.stack((red, green, blue), -1)
    if transfer == PQ:
        light = _tone_map(_pq_to_nits(values))
    elif transfer == HLG:
        bright = (np.exp((values - 0.55991073) / 0.17883277) + 0.28466892) / 12
        scene = np.where(values <= 0.5, values**2 / 3, bright)
        luminance = scene @ np.array(BT2020_LUMINANCE)
        light = _tone_map(HDR_PEAK_NITS * scene * luminance[..., None] ** 0.2)
    else:
        light = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    light = light @ np.array(TO_BT709.get(primaries, np.eye(3))).T
    table = _encode_srgb(light.clip(0, 1)).astype(np.float32)
    return ImageFilter.Color3DLUT(LUT_SIDE, table.ravel())


def _tone_map(light: Floats) -> Floats:
    """Map light in nits to SDR, where white is 1, by the EETF of ITU-R BT.2390; keep the hue.

    Light below the knee, about half of white, stays; brighter light is compressed.
    """
    maximum = light.max(-1, keepdims=True).clip(1e-6, HDR_PEAK_NITS)
    peak = _nits_to_pq(HDR_PEAK_NITS)
    white = _nits_to_pq(SDR_WHITE_NITS) / peak
    values, knee = _nits_to_pq(maximum) / peak, 1.5 * white - 0.5
    t = ((values - knee) / (1 - knee)).clip(0, 1)
    spline = (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee)
    spline += (3 * t**2 - 2 * t**3) * white
    nits = _pq_to_nits(np.where(values < knee, values, spline) * peak)
    return np.asarray(light / maximum * nits / SDR_WHITE_NITS, np.float64)


# The constants of PQ (SMPTE ST 2084).
M1, M2, C1, C2, C3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128


def _nits_to_pq(nits: Any) -> Any:
    power = (nits / 10_000) ** M1
    return ((C1 + C2 * power) / (1 + C3 * power)) ** M2


def _pq_to_nits(pq: Any) -> Any:
    power = pq ** (1 / M2)
    return 10_000 * ((power - C1).clip(0) / (C2 - C3 * power)) ** (1 / M1)


def _encode_srgb(light: Floats) -> Floats:
    """Encode linear light in [0, 1] as sRGB in [0, 1]."""
    encoded = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.asarray(encoded, np.float64)
