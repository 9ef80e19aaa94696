"""The input images of a batch run: files of a folder or a list, or the frames of a video."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from dream.errors import PictureError
from dream.files.image import save_image
from dream.files.limited_reader import open_regular_file
from dream.files.video_container import detect_demuxer
from dream.files.video_reader import read_frames, read_video_info
from dream.files.video_writer import file_sha256
from dream.recipe.base import safe_name
from dream.tensors import limit_size

IMAGE_SUFFIXES = {
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),
    *(".webp", ".bmp", ".gif", ".tif", ".tiff"),
    *(".heic", ".heif", ".hif", ".avif"),
}


def list_images(
    source: str, listed: Iterable[str] = (), recursive: bool = False, out: str = ""
) -> tuple[list[str], str]:
    """List the image files of a folder, a single file, or for "-" the listed files.

    Images of a folder are found by suffix; subfolders count only if `recursive`, and never `out`
    once it has a manifest.

    Returns:
        The absolute paths, and a description of skipped files, "" if there are none.

    Raises:
        PictureError: if there is no image, or a folder cannot be read.
    """
    skipped_counts: Counter[str] = Counter()
    if source == "-":
        lines = (line.strip().removeprefix("\ufeff") for line in listed)
        found = list(dict.fromkeys(line for line in lines if line))
    elif os.path.isdir(source):
        try:
            found, skipped_counts = _walk(source, recursive, out)
        except OSError as error:
            raise PictureError(f"{error.filename} cannot be read: {error.strerror}") from error
    elif os.path.isfile(source):
        found = [source]
    else:
        raise PictureError(f"there is no file or folder {source}")
    skipped = ", ".join(f"{count} {what}" for what, count in sorted(skipped_counts.items()))
    if not found:
        suffixes = ", ".join(sorted(IMAGE_SUFFIXES))
        problem = "the list is empty" if source == "-" else f"there is no image in {source}"
        problem += f" (but {skipped})" if skipped else ""
        raise PictureError(f"{problem}; give files that end in {suffixes}")
    return [os.path.abspath(path) for path in found], skipped


def _walk(source: str, recursive: bool, out: str) -> tuple[list[str], Counter[str]]:
    """Return the images of a folder, and counts of its other entries by description.

    Hidden entries do not count, nor does `out` if it has a manifest.
    """
    found: list[str] = []
    skipped_counts: Counter[str] = Counter()
    folders, seen = [source], {os.path.realpath(source)}
    if out and any(Path(out).glob("manifest*.jsonl")):
        seen.add(os.path.realpath(out))
    for folder in folders:
        for entry in os.scandir(folder):
            suffix, real_path = Path(entry.name).suffix.lower(), os.path.realpath(entry.path)
            if entry.name.startswith(".") or real_path in seen:
                continue
            if entry.is_dir():
                if recursive:
                    folders.append(entry.path)
                    seen.add(real_path)  # Symbolic links may form a cycle.
                else:
                    skipped_counts["in subfolders (--recursive includes them)"] += 1
            elif suffix in IMAGE_SUFFIXES and entry.is_file():
                found.append(entry.path)
            else:
                skipped_counts[f"{suffix or 'without suffix'} (not supported)"] += 1
    return sorted(found), skipped_counts


def is_video_file(source: str) -> bool:
    """Return whether a file starts like a video; a GIF counts as an image."""
    try:
        with open_regular_file(source, source) as file:
            return detect_demuxer(file.read(12)) not in ("", "gif")
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
    folder = Path(out, f"frames-{name}-{file_sha256(source)[:8]}-{size[1]}x{size[0]}")
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
