"""The frames of a video as pictures in a folder."""

from __future__ import annotations

from pathlib import Path

from dream.errors import PictureError
from dream.files.bounded import regular_file
from dream.files.container import reader_of
from dream.files.picture import save_image
from dream.files.video import frames_of, load_video
from dream.many.row import sha256
from dream.recipe.recipe import plain
from dream.tensors import limited


def is_video(source: str) -> bool:
    """Whether that is a file of a video, by how it begins; a GIF is a picture here."""
    try:
        with regular_file(source, source) as file:
            return reader_of(file.read(8)) not in ("", "gif")
    except (OSError, PictureError):
        return False


def frames_in(source: str, out: str, max_side: int) -> str:
    """The folder in `out` with all frames of that video, of at most so many pixels a side: each
    size has its own.

    They are written where they are not there yet: clip-000001.png, …

    Raises:
        PictureError: if the video cannot be read, or the folder not be written.
    """
    if "://" in out:
        raise PictureError("the frames of a video are written to OUT first; give a folder for it")
    video, name = load_video(source), plain(Path(source).stem)
    size = limited(video.size, max_side)
    folder = Path(out, f"frames-{name}-{sha256(source)[:8]}-{size[1]}x{size[0]}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PictureError(f"{folder} cannot be written: {error.strerror}") from error
    paths = [folder / f"{name}-{number:06}.png" for number in range(1, video.frames + 1)]
    there = next((at for at, path in enumerate(paths) if not path.exists()), len(paths))
    if there < video.frames:
        for path, image in zip(paths[there:], frames_of(video, size, there), strict=True):
            save_image(image, path)
    return str(folder)
