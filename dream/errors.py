"""What can go wrong, said in one line: what was given, what is allowed, what to do.

DreamError (a ValueError)
|- RecipeError              a knob, a model, a layer or a saved recipe that cannot be used
|- PictureError             a file or a picture that cannot be read, dreamed or written
|- DeviceError              a device that this machine does not have
|- OutOfTime                work that takes longer than it may
`- WeightsError             a weights file that is damaged or does not fit
   `- WeightsUnavailable    weights that no source has
"""

from __future__ import annotations

# What to do about `OutOfTime`.
QUICKER = "fewer steps, or a smaller picture, make it quicker"


class DreamError(ValueError):
    """Anything a user can put right; its text is meant to be shown as it is."""


class RecipeError(DreamError):
    """A knob, a model, a layer or a saved recipe that cannot be used."""


class PictureError(DreamError):
    """A file or a picture that cannot be read, dreamed or written."""


class DeviceError(DreamError):
    """A device that this machine does not have."""


class OutOfTime(DreamError):
    """Work that takes longer than it may."""


class WeightsError(DreamError):
    """A weights file that is damaged or does not fit the network."""


class WeightsUnavailable(WeightsError):
    """Weights that no source has."""
