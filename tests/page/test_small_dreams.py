"""Small dreams at other layers."""

from dataclasses import asdict
from typing import Any

import gradio as gr
import pytest

from dream import DreamRecipe, Engine, read_recipe
from dream.networks import catalogue
from dream.page.widgets.small_dreams import OtherLayers
from dream.service.job_runner import JobRunner
from tests.conftest import EXAMPLES
from tests.support.page import build_in_loop


def build_other_layers() -> OtherLayers:
    with gr.Blocks(analytics_enabled=False):
        return OtherLayers(gr.Image())


@pytest.mark.usefixtures("uploads")
@pytest.mark.parametrize("iterations", [0, 1])
def test_each_dream_at_another_layer_has_its_own_caption(iterations: int, engine: Engine) -> None:
    others = build_in_loop(build_other_layers)
    knobs = asdict(DreamRecipe(iterations=iterations, octaves=1))
    cat = str(EXAMPLES / "cat.jpg")
    last: dict[Any, Any] = {}
    for updates in others.stream(JobRunner(engine), "status", cat, random_seed=False, **knobs):
        last |= updates
    effects = {each.name: each.effect for each in catalogue.get_card("dreamlet").layers}
    shown = last[others.gallery]
    assert len(shown) == 4
    for path, caption in shown:
        assert caption == effects[read_recipe(path, DreamRecipe).layer]
