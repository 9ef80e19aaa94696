"""What stands below the dream where there is room: what it was made of, and other layers to try."""

from __future__ import annotations

import html
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr

from dream.errors import DreamError
from dream.networks.model_card import Layer
from dream.page import parts
from dream.page.blocks import NO_LONGER_HERE, files
from dream.page.controls import Controls, recipe_in, recipe_of
from dream.page.layers import chosen
from dream.page.moments import moments
from dream.page.sharing import copy_link, link_field, linked
from dream.recipe.dream import DreamRecipe
from dream.service.work import Work

OTHERS = 4
SIDE = 240


@dataclass(frozen=True)
class Beside:
    """What a dream was made of, and small dreams at other layers; a click chooses one."""

    made_of: gr.HTML
    go: gr.Button
    share: gr.Button
    link: gr.Textbox
    dreams: gr.Gallery


def small_dreams(photo: gr.Image) -> gr.Gallery:
    """The small dreams, left to be put where there is room; they go with the photo they are of.

    At once, so that must be the first that the photo's change does: Gradio has what asks the server
    answered before it goes on, and new ones may form by then.
    """
    dreams = parts.pictures(
        columns=OTHERS,
        rows=1,
        label="At other layers",
        visible=False,
        render=False,
        elem_id="others",
    )
    hidden = json.dumps(gr.update(visible=False))
    photo.change(None, None, dreams, js=f"() => ({hidden})", api_visibility="private")
    return dreams


def section(first: DreamRecipe, dreams: gr.Gallery) -> Beside:
    """The section, which phones do not show."""
    with gr.Column(elem_classes="beside"):
        made_of = gr.HTML(described(first), elem_id="made-of")
        with gr.Row():
            go = gr.Button(f"Try {OTHERS} other layers", size="sm", elem_id="try-layers")
            share = gr.Button("Copy a link to this recipe", size="sm", elem_id="share")
        link = link_field("shared-link")
        dreams.render()  # type: ignore[no-untyped-call]
    return Beside(made_of, go, share, link, dreams)


def about(recipe: DreamRecipe) -> dict[str, Any]:
    """What is said of the dream that is shown: its recipe, as a link has it too, and in words.

    How the one before it came about is hidden.
    """
    said = {"recipe": recipe.to_json(), "linkable": linked(recipe), "made_of": described(recipe)}
    return {**said, "making": gr.update(visible=False)}


def described(recipe: DreamRecipe) -> str:
    """What a dream is made of, a line each."""
    brings = {layer.name: f" ({layer.brings.lower()})" for layer in recipe.card.layers}
    layers = " and ".join(f"{name}{brings.get(name, '')}" for name, _ in recipe.layers)
    raised = f", channels {recipe.channels}" if recipe.channels else ""
    lines = [
        f"{recipe.model.capitalize()} at {layers}{raised}",
        f"Intensity {recipe.intensity}: {recipe.iterations} steps of {recipe.step:g} grey levels "
        f"at each of {recipe.octaves} sizes",
    ]
    if recipe.guide:
        lines.append(f"A guide, by {recipe.objective}")
    if recipe.mask:
        lines.append("Only where it was painted")
    lines.append(f"Seed {recipe.seed}, at most {recipe.max_side} pixels a side")
    return "".join(f"<p>{html.escape(line)}</p>" for line in lines)


def others(recipe: DreamRecipe) -> list[Layer]:
    """Layers of the same network that the dream is not at, from low to high."""
    own = {name for name, _ in recipe.layers}
    there = [layer for layer in recipe.card.layers if layer.name not in own]
    count = min(OTHERS, len(there))
    return [there[(2 * place + 1) * len(there) // (2 * count)] for place in range(count)]


def tried(
    work: Work, photo: str | None, random_seed: bool, **knobs: Any
) -> Iterator[dict[str, Any]]:
    """Small dreams of the photo at other layers, one after the other."""
    photo = parts.needed(photo)
    recipe = recipe_of(random_seed, {**knobs, "channels": ""})
    layers = others(recipe)
    recipes = [recipe.but(layer=layer.name, max_side=SIDE) for layer in layers]
    items: list[tuple[str, str]] = []
    yield {"dreams": gr.update(value=[], visible=True)}
    for moment in moments(work, recipes, photo):
        if moment.frame and moment.frame.finished:
            items.append((moment.files[0], layers[len(items)].brings))
            yield {"dreams": items}
        elif not moment.frame:
            yield {"status": moment.words}
    yield {"status": parts.status(f"{len(items)} other layers. Click one to choose it.")}


def wire(beside: Beside, controls: Controls, status: gr.HTML, linkable: gr.Textbox) -> None:
    """A click on a small dream chooses its layer; another copies the link."""
    copy_link(beside.share, linkable, beside.link)

    def choose(event: gr.SelectData) -> tuple[Any, ...]:
        recipe = next((recipe_in(file.get("path")) for file in files(event.value)), None)
        if not recipe:
            raise DreamError(NO_LONGER_HERE)
        said = parts.status(f"The layer is {recipe.layer} now. Dream this photo at its full size.")
        return *chosen(recipe.model, recipe.layer), "", said

    beside.dreams.select(
        choose,
        None,
        [*controls.choice.components, controls.by_name["channels"], status],
        **controls.at_once,
    )
