"""What became of a picture."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import Any

from dream.errors import PictureError
from dream.files.video_writer import file_sha256


@dataclass(frozen=True)
class ManifestRow:
    """What became of a picture: made in so many seconds, with what objective at last, or why not.

    `sha256` is of the photo's file, `recipe` as `tasks.brief` has it, `weights` those it was made
    with, `remark` says if it became other than was asked for. `trace`, the objective before each
    step, goes to no file.
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
        """It as a line of JSON."""
        told = asdict(replace(self, seconds=round(self.seconds, 3)))
        del told["trace"]
        return json.dumps(told).encode() + b"\n"


def input_file_sha256(file: str) -> str:
    """That of a file's content; "" where it cannot be read, or is a pipe or a device."""
    try:
        return file_sha256(file)
    except (OSError, PictureError):
        return ""
