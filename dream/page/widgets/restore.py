"""Restore the recipe of a link, or the last visit from the browser's storage, on page load.

The browser stores the settings whenever they change, and the visit with each dream.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from dream.errors import DreamError
from dream.files.embedded_images import embed_guide
from dream.page import status_line
from dream.page.blocks import is_uploaded, upload_path
from dream.page.call_limits import run_in_thread
from dream.page.image_stream import wait_for_stopped_image
from dream.page.widgets import components
from dream.page.widgets.components import Updates
from dream.page.widgets.recipe_controls import (
    RecipeControls,
    check_embedded_images,
    recipe_in_photo,
)
from dream.page.widgets.recipe_sharing import linkable_json, refusal_html
from dream.page.widgets.visit import (
    OPENING_ENTRY,
    Visit,
    VisitEntry,
    VisitOutputs,
    browser_state,
)
from dream.recipe.dream import DreamRecipe

# To wait for a dream that was running when the page was closed: its current step must end.
WAIT_SECONDS = 5.0
RESTORED_MESSAGE = "Your last visit is restored."
STOPPED_MESSAGE = (
    f"{RESTORED_MESSAGE} Its dream was stopped early. Dream deeper to continue from here."
)
STILL_RUNNING_MESSAGE = f"{RESTORED_MESSAGE} Its dream is still running. Reload the page to see it."


def connect(page_load: Callable[..., Any], controls: RecipeControls, outputs: VisitOutputs) -> None:
    """Store the settings in the browser and restore them on page load."""
    settings = browser_state("settings")
    fields = {"photo": controls.photo, "random_seed": controls.random_seed, **controls.by_name}
    del fields["mask"]  # The strokes are in no file yet; a finished dream's are in its recipe.

    async def open_page(saved: Any, visit: Any, shown: str, request: gr.Request) -> Updates:
        settings = saved if isinstance(saved, dict) else {}
        link, last = request.query_params.get("recipe"), Visit.read(visit)
        if link and link != settings.get("link"):
            return await run_in_thread(_open_link, controls, outputs, link, shown, last)
        if last.shown != OPENING_ENTRY and last.shown.file != last.shown.photo:
            # The dream may have been running.
            await wait_for_stopped_image(last.shown.file, WAIT_SECONDS)
        return await run_in_thread(_open_visit, controls, outputs, settings, shown, last)

    opened = page_load(
        open_page,
        [settings, outputs.visit, controls.photo],
        [*controls.outputs, controls.photo, *vars(outputs).values()],
        **controls.event_options,
    )
    changed = [each.change for each in fields.values()]
    for event, is_open in ((opened.then, "true"), (partial(gr.on, changed), "false")):
        components.run_in_browser(
            event,
            f"(...values) => keepSettings({json.dumps(list(fields))}, values, {is_open})",
            [settings, *fields.values()],
            settings,
        )


def _open_link(
    controls: RecipeControls, outputs: VisitOutputs, link: str, photo: str, visit: Visit
) -> Updates:
    """Return the updates that set the controls by a link; the photo is not dreamed."""
    try:
        recipe = check_embedded_images(DreamRecipe.from_json(link))
        updates = controls.recipe_updates(recipe, photo)
    except DreamError as error:
        return {**outputs.dreams(visit), outputs.status: refusal_html(error)}
    visit = replace(visit, shown=VisitEntry(photo, photo, photo), recipe=linkable_json(recipe))
    text = "The controls are set to the recipe of the link. Dream this photo to use it."
    return {
        **updates,
        **outputs.shown_dream(visit, recipe),
        **outputs.dreams(visit),
        outputs.status: status_line.status_html(text),
    }


def _open_visit(
    controls: RecipeControls,
    outputs: VisitOutputs,
    settings: dict[str, Any],
    current_photo: str,
    visit: Visit,
) -> Updates:
    """Return the updates that show the last visit, as far as its files still exist."""
    visit, recipe, text = _find_shown_dream(visit)
    missing = ["the last dream"] if text is None else []
    if lost_count := sum(not each.resolve() for each in visit.dreams):
        missing.append(f"dreams of this visit ({lost_count})")
    files = {name: upload_path(settings.get(name)) for name in ("photo", "guide")}
    missing += [f"the {name}" for name, path in files.items() if path and not is_uploaded(path)]
    photo, guide = (path if is_uploaded(path) else "" for path in files.values())
    if files["guide"] and not guide:
        settings = {**settings, "objective": None}
    mask = recipe.mask if recipe and visit.shown.photo == photo else ""
    updates: Updates = {}
    with suppress(DreamError):
        if settings:
            updates = _settings_updates(controls, settings, photo or current_photo, guide, mask)
    updates |= (outputs.shown_dream(visit, recipe) if recipe else {}) | outputs.dreams(visit)
    if is_other_photo := photo not in ("", current_photo):
        updates[controls.photo] = photo
    if missing:
        text = f"{RESTORED_MESSAGE} No longer on the server: {', '.join(missing)}."
    if missing or is_other_photo or visit != Visit():
        updates[outputs.status] = status_line.status_html(text or "")
    return updates


def _settings_updates(
    controls: RecipeControls, settings: dict[str, Any], photo: str, guide: str, mask: str
) -> Updates:
    knobs = {name: settings[name] for name in controls.by_name if name in settings}
    knobs |= {"mask": mask, "guide": embed_guide(guide) if guide else ""}
    updates = controls.recipe_updates(DreamRecipe(**knobs), photo)
    return updates | {controls.random_seed: settings.get("random_seed") is True}


def _find_shown_dream(visit: Visit) -> tuple[Visit, DreamRecipe | None, str | None]:
    """Return the visit, the recipe of its shown dream, and the status; None for what is lost."""
    shown = visit.shown
    if shown == OPENING_ENTRY:
        return visit, None, RESTORED_MESSAGE
    entry = shown.resolve()
    finished = recipe_in_photo(entry.file) if entry else None
    if entry and (recipe := finished or _parse_recipe(visit.recipe)):
        if finished and entry not in visit.dreams:
            visit = replace(visit, dreams=(*visit.dreams, entry))
        is_complete = finished or entry.file == entry.photo
        message = RESTORED_MESSAGE if is_complete else STOPPED_MESSAGE
        return replace(visit, shown=entry), recipe, message
    if Path(shown.file).parent.is_dir():
        return visit, None, STILL_RUNNING_MESSAGE
    return replace(visit, shown=OPENING_ENTRY, recipe=""), None, None


def _parse_recipe(recipe: str) -> DreamRecipe | None:
    try:
        return check_embedded_images(DreamRecipe.from_json(recipe))
    except DreamError:
        return None
