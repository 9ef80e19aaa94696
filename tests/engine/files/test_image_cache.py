"""Visualizations are cached by recipe, within bounds; a damaged file is made again."""

import os
import time
from pathlib import Path

import pytest
from PIL import Image

from dream import ChannelRecipe
from dream.files.image_cache import ImageCache
from tests.conftest import spy

RECIPE = ChannelRecipe(channel=7, size=32, steps=2)


def picture(colour: str = "red") -> Image.Image:
    return Image.new("RGB", (8, 8), colour)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ImageCache:
    monkeypatch.setenv("DREAM_CACHE_DIR", str(tmp_path / "cache"))
    return ImageCache()


def test_what_is_kept_is_found_again_by_its_recipe_alone(cache: ImageCache) -> None:
    assert cache.get(RECIPE, "") is None
    cache.put(picture(), RECIPE, "")
    found = cache.get(RECIPE, "")
    assert found is not None and found.tobytes() == picture().tobytes()
    for change in ({"seed": 1}, {"channel": 8}, {"steps": 3}):
        assert cache.get(RECIPE.with_changes(**change), "") is None
    assert cache.get(RECIPE, "places365.safetensors 12 34") is None


def test_what_another_device_made_is_not_found_but_what_ships_is(
    cache: ImageCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.put(picture(), RECIPE, "", "cuda torch.bfloat16")
    assert cache.get(RECIPE, "") is None
    assert cache.get(RECIPE, "", "cuda torch.bfloat16")
    cache.put(picture("blue"), RECIPE, "")
    monkeypatch.setenv("DREAM_CACHE_DIR", str(tmp_path / "other"))
    assert ImageCache([cache.folder]).get(RECIPE, "", "mps torch.float32")


def test_saving_lists_the_folder_once_and_not_each_time(cache: ImageCache) -> None:
    with spy(Path, "glob") as glob:
        for channel in range(20):
            cache.put(picture(), RECIPE.with_changes(channel=channel), "")
    assert sorted(call.args[1] for call in glob.call_args_list) == ["*.png", ".*.part"]
    assert len(list(cache.folder.glob("*.png"))) == 20


def test_it_stays_within_its_bounds_and_the_least_used_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DREAM_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("DREAM_CACHE_MB", "0.05")
    cache = ImageCache()
    noise = Image.effect_noise((64, 64), 90).convert("RGB")
    for channel in range(8):
        cache.put(noise, RECIPE.with_changes(channel=channel), "")
        cache.get(RECIPE.with_changes(channel=0), "")  # Read all the time.
        time.sleep(0.02)
    files = list(tmp_path.glob("*.png"))
    assert sum(file.stat().st_size for file in files) <= 50_000
    there = [channel for channel in range(8) if cache.get(RECIPE.with_changes(channel=channel), "")]
    assert 0 in there and 7 in there and 1 not in there


def test_a_damaged_file_counts_as_none_and_is_replaced(cache: ImageCache) -> None:
    cache.put(picture(), RECIPE, "")
    (file,) = cache.folder.iterdir()
    for damaged in (b"", b"hello", file.read_bytes()[:60]):
        file.write_bytes(damaged)
        assert cache.get(RECIPE, "") is None
    cache.put(picture("blue"), RECIPE, "")
    found = cache.get(RECIPE, "")
    assert found is not None and found.getpixel((0, 0)) == (0, 0, 255)


def test_a_folder_that_cannot_be_written_keeps_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DREAM_CACHE_DIR", "/proc/dream")
    cache = ImageCache()
    cache.put(picture(), RECIPE, "")
    assert cache.get(RECIPE, "") is None


def test_no_megabytes_means_no_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DREAM_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("DREAM_CACHE_MB", "0")
    ImageCache().put(picture(), RECIPE, "")
    assert not os.listdir(tmp_path)
    monkeypatch.setenv("DREAM_CACHE_MB", "1")
    ImageCache().put(picture(), RECIPE, "")
    monkeypatch.setenv("DREAM_CACHE_MB", "0")
    assert ImageCache().get(RECIPE, "") is None


def test_shipped_folders_are_read_and_never_written(
    tmp_path: Path, cache: ImageCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.put(picture(), RECIPE, "")
    shipped = cache.folder
    before = [(file.name, file.stat().st_mtime_ns) for file in shipped.iterdir()]
    monkeypatch.setenv("DREAM_CACHE_DIR", str(tmp_path / "other"))
    reader = ImageCache([shipped])
    assert reader.get(RECIPE, "") is not None
    reader.put(picture(), RECIPE.with_changes(seed=5), "")
    assert [(file.name, file.stat().st_mtime_ns) for file in shipped.iterdir()] == before


def test_a_user_without_a_home_has_a_cache_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("DREAM_CACHE_DIR")
    monkeypatch.setattr(Path, "home", homeless)
    assert ImageCache().folder.parent.is_dir()
