"""The frame rate of a live dream is that of its usual frames."""

from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from dream import LiveRecipe
from dream.page.tabs import live
from dream.service.device_queue import DeviceQueue, StreamTurn


def test_a_slow_frame_after_a_cut_hardly_changes_the_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(live, "time", SimpleNamespace(monotonic=lambda: now))
    instant: Any = SimpleNamespace(dream_frame=lambda image, recipe: image)
    session = live.LiveSession(instant, StreamTurn(DeviceQueue(1)))

    def rate_after(seconds: float, frames: int = 1) -> float:
        nonlocal now
        for _ in range(frames):
            now += seconds
            session.dream_frame(Image.new("RGB", (8, 8)), LiveRecipe())
        return session.recipe.fps

    assert rate_after(0.1, 30) == pytest.approx(10)
    assert rate_after(0.7) > 9  # A new scene.
    assert rate_after(0.1, 30) == pytest.approx(10, abs=0.1)
    assert rate_after(0.4, 60) == pytest.approx(2.5, abs=0.1)  # A slower camera.
