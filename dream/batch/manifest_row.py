"""A row of the manifest."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import Any

from dream.errors import PictureError
from dream.files.video_writer import file_sha256


@dataclass(frozen=True)
class ManifestRow:
    """The result of one task: duration in seconds and final objective, or the error.

    `sha256` is that of the photo file, `recipe` is `tasks.recipe_summary`, `weights` identify the
    weights file, and `remark` says how the image differs from the request. `trace`, the objective
    before each step, is not written to the manifest.
    """

    input: str
    sha256: str
    output: str
    recipe: dict[str, Any]
    weights: str = ""
    seconds: float = 0.0
    objective: float | None = None
    error: str = ""
    remark: str = ""
    trace: tuple[float, ...] = ()

    def to_json_line(self) -> bytes:
        """Return the row as a line of JSON."""
        fields = asdict(replace(self, seconds=round(self.seconds, 3)))
        del fields["trace"]
        return json.dumps(fields).encode() + b"\n"


def input_file_sha256(file: str) -> str:
    """Return the SHA-256 of a file, or "" if it cannot be read or is a pipe or device."""
    try:
        return file_sha256(file)
    except (OSError, PictureError):
        return ""
