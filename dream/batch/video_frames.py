"""Extract the frames of a video to a folder."""

from __future__ import annotations

from pathlib import Path

from dream.batch.manifest_row import input_file_sha256
from dream.errors import PictureError
from dream.files.image import save_image
from dream.files.limited_reader import open_regular_file
from dream.files.video_container import detect_demuxer
from dream.files.video_reader import read_frames, read_video_info
from dream.recipe.base import safe_name
from dream.tensors import limit_size


def is_video_file(source: str) -> bool:
    """Return whether a file starts like a video; a GIF counts as an image."""
    try:
        with open_regular_file(source, source) as file:
            return detect_demuxer(file.read(8)) not in ("", "gif")
    except (OSError, PictureError):
        return False


def extract_frames(source: str, out: str, max_side: int) -> str:
    """Write missing frames as clip-000001.png, … and return their folder in `out`.

    Each size has its own folder; no side is longer than `max_side`.

    Raises:
        PictureError: if the video cannot be read or the folder cannot be written.
    """
    if "://" in out:
        raise PictureError("frames of a video are extracted to OUT; give a local folder for OUT")
    video, name = read_video_info(source), safe_name(Path(source).stem)
    size = limit_size(video.size, max_side)
    folder = Path(out, f"frames-{name}-{input_file_sha256(source)[:8]}-{size[1]}x{size[0]}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PictureError(f"{folder} cannot be written: {error.strerror}") from error
    paths = [folder / f"{name}-{number:06}.png" for number in range(1, video.frame_count + 1)]
    start = next((index for index, path in enumerate(paths) if not path.exists()), len(paths))
    if start < video.frame_count:
        for path, image in zip(paths[start:], read_frames(video, size, start), strict=True):
            save_image(image, path)
    return str(folder)
