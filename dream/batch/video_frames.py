"""The frames of a video as pictures in a folder."""

from __future__ import annotations

from pathlib import Path

from dream.batch.manifest_row import input_file_sha256
from dream.errors import PictureError
from dream.files.image import save_image
from dream.files.limited_reader import regular_file
from dream.files.video_container import detect_demuxer
from dream.files.video_reader import read_frames, read_video_info
from dream.recipe.base import safe_name
from dream.tensors import limit_size


def is_video_file(source: str) -> bool:
    """Whether that is a file of a video, by how it begins; a GIF is a picture here."""
    try:
        with regular_file(source, source) as file:
            return detect_demuxer(file.read(8)) not in ("", "gif")
    except (OSError, PictureError):
        return False


def extract_frames(source: str, out: str, max_side: int) -> str:
    """The folder in `out` with all frames of that video, of at most so many pixels a side: each
    size has its own.

    They are written where they are not there yet: clip-000001.png, …

    Raises:
        PictureError: if the video cannot be read, or the folder not be written.
    """
    if "://" in out:
        raise PictureError("the frames of a video are written to OUT first; give a folder for it")
    video, name = read_video_info(source), safe_name(Path(source).stem)
    size = limit_size(video.size, max_side)
    folder = Path(out, f"frames-{name}-{input_file_sha256(source)[:8]}-{size[1]}x{size[0]}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PictureError(f"{folder} cannot be written: {error.strerror}") from error
    paths = [folder / f"{name}-{number:06}.png" for number in range(1, video.frame_count + 1)]
    there = next((at for at, path in enumerate(paths) if not path.exists()), len(paths))
    if there < video.frame_count:
        for path, image in zip(paths[there:], read_frames(video, size, there), strict=True):
            save_image(image, path)
    return str(folder)
