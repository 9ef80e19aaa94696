"""A visit: the shown dream and a strip of earlier ones, stored in the browser and restored.

The browser stores the settings whenever they change, and the visit with each dream. The server
stores none of it, so neither a reload nor an expired session loses anything; a restart, or a day,
loses only the files. Data from a browser is not trusted: it may name uploads, whose folders cannot
be guessed, and nothing else. On page load, the visit is restored, or the recipe of a link is set.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr

from dream.errors import DreamError
from dream.files.embedded_images import embed_guide
from dream.files.zip_archive import write_zip
from dream.page import status_line
from dream.page.blocks import is_uploaded, upload_name, upload_path
from dream.page.call_limits import run_in_thread
from dream.page.image_stream import lossless_path, new_output_folder, wait_for_stopped_image
from dream.page.widgets import components
from dream.page.widgets.components import Updates
from dream.page.widgets.recipe_controls import (
    RecipeControls,
    check_embedded_images,
    recipe_in_photo,
)
from dream.page.widgets.recipe_sharing import (
    LINK_MESSAGE,
    RecipeTab,
    describe_recipe,
    link_outputs,
    link_updates,
    linkable_json,
    refusal_html,
)
from dream.recipe import DreamRecipe

EXAMPLE_PHOTO = components.EXAMPLES_FOLDER / "coffee.jpg"
EXAMPLE_DREAM = components.EXAMPLES_FOLDER / "dream-coffee-inception4c-i5-seed0.png"
# The strip shows the latest dreams.
MAX_DREAMS = 24
MAX_RECIPE_LENGTH = 20_000
# To wait for a dream that was running when the page was closed: its current step must end.
WAIT_SECONDS = 5.0
RESTORED_MESSAGE = "Your last visit is restored."
STOPPED_MESSAGE = (
    f"{RESTORED_MESSAGE} Its dream was stopped early. Dream deeper to continue from here."
)
STILL_RUNNING_MESSAGE = f"{RESTORED_MESSAGE} Its dream is still running. Reload the page to see it."


class VisitEntry(NamedTuple):
    """The files of a dream.

    Attributes:
        file: the dream; any of its previews if it is running or was stopped.
        photo: the photo that was dreamed; of a dream dreamed deeper, the previous dream.
        before: the image that is shown before the dream.
    """

    file: str
    photo: str
    before: str

    def resolve(self) -> VisitEntry | None:
        """Return the entry with its full image; None if a file is missing."""
        entry = self._replace(file=lossless_path(self.file))
        return entry if all(is_uploaded(path) or path in OPENING_ENTRY for path in entry) else None


# What the page shows before the first dream.
OPENING_ENTRY = VisitEntry(str(EXAMPLE_DREAM), str(EXAMPLE_PHOTO), str(EXAMPLE_PHOTO))
SHIPPED_PATHS = {upload_name(path): path for path in OPENING_ENTRY}


@dataclass(frozen=True)
class Visit:
    """The shown dream with its recipe (JSON, as in a link), and the dreams of the strip."""

    shown: VisitEntry = OPENING_ENTRY
    recipe: str = ""
    dreams: tuple[VisitEntry, ...] = ()

    @classmethod
    def read(cls, saved: Any) -> Visit:
        """Parse the visit from a browser, and ignore malformed parts."""
        saved = saved if isinstance(saved, dict) else {}
        dreams, recipe = saved.get("dreams"), saved.get("recipe")
        strip = map(_parse_entry, dreams[-MAX_DREAMS:] if isinstance(dreams, list) else [])
        is_text = isinstance(recipe, str) and len(recipe) < MAX_RECIPE_LENGTH
        return cls(
            _parse_entry(saved.get("shown")) or OPENING_ENTRY,
            recipe if is_text else "",
            tuple(each for each in strip if each),
        )

    def to_browser(self) -> dict[str, Any]:
        """Return the visit as JSON data for the browser."""
        shown, *dreams = (
            [upload_name(path) for path in each] for each in (self.shown, *self.dreams)
        )
        return {"shown": shown, "recipe": self.recipe, "dreams": dreams}

    def require_shown(self) -> VisitEntry:
        """Return the shown dream with its full image; raise DreamError if a file is missing."""
        if entry := self.shown.resolve():
            return entry
        raise DreamError("this dream is no longer on the server; dream the photo again")


def _parse_entry(names: Any) -> VisitEntry | None:
    if not (isinstance(names, list) and len(names) == len(OPENING_ENTRY)):
        return None
    paths = [SHIPPED_PATHS.get(str(name)) or upload_path(name) for name in names]
    return VisitEntry(*paths) if all(paths) else None


def browser_state(name: str) -> gr.BrowserState:
    """Build a state in the browser's storage; the fixed key survives a server restart."""
    return gr.BrowserState(storage_key=f"deep-dream-{name}", secret="deep-dream")


@dataclass(frozen=True)
class VisitOutputs:
    """The components that show a visit; methods return their updates."""

    view: Any
    status: Any
    download: Any
    blend: Any  # The share of the dream over the photo, in per cent.
    visit: Any  # The browser's state.
    recipe: Any
    linkable: Any
    summary: Any
    making_of: Any
    strip: Any
    download_all: Any

    def new_dream(self, recipe: DreamRecipe) -> Updates:
        """Show the recipe of a new dream alone, and hide the making-of of the old one."""
        return {
            self.blend: 100,
            self.recipe: recipe.to_json(),
            self.linkable: linkable_json(recipe),
            self.summary: describe_recipe(recipe),
            self.making_of: gr.update(visible=False),
        }

    def show_entry(self, visit: Visit, recipe: DreamRecipe) -> Updates:
        """Show the current image of a visit again, and its recipe."""
        entry = visit.shown
        is_dream = entry.file != entry.photo
        return {
            self.view: (entry.before, entry.file),
            self.download: gr.update(value=entry.file if is_dream else None, interactive=is_dream),
            self.visit: replace(visit, recipe=linkable_json(recipe)).to_browser(),
            **self.new_dream(recipe),
        }

    def dreams(self, visit: Visit) -> Updates:
        """Show the dreams of a visit whose files still exist."""
        entries, items = [], []
        for entry in filter(None, map(VisitEntry.resolve, visit.dreams)):
            if recipe := recipe_in_photo(entry.file):
                entries.append(entry)
                items.append((entry.file, caption(recipe)))
        items = items[-MAX_DREAMS:]
        return {
            self.strip: gr.update(value=items, selected_index=None, visible=bool(items)),
            self.visit: replace(visit, dreams=tuple(entries[-MAX_DREAMS:])).to_browser(),
            self.download_all: gr.update(visible=len(items) > 1),
        }

    def added_dream(self, visit: Visit) -> Updates:
        """Add the shown dream to the visit and the strip."""
        return self.dreams(replace(visit, dreams=(*visit.dreams, visit.shown)))


def caption(recipe: DreamRecipe) -> str:
    """Return a short caption: the layer's friendly name and the intensity."""
    effects = {layer.name: layer.effect for layer in recipe.card.layers}
    return f"{effects.get(recipe.layer, recipe.layer)} · {recipe.intensity}"


def build_strip() -> tuple[gr.Gallery, gr.Button]:
    """Build the strip of dreams and its download button, hidden while there are none to show."""
    with gr.Column(elem_id="dreams"):  # It has the room of both from the start.
        with gr.Row():
            gr.HTML("<span>Your dreams appear here.</span>", elem_classes="remark")
            download_all = gr.Button(
                "Download all",
                size="sm",
                scale=0,
                min_width=110,
                visible=False,
                elem_id="download-all",
            )
        strip = components.thumbnail_gallery(
            type="filepath",
            format="png",
            label="Dreams of this visit",
            columns=MAX_DREAMS,
            rows=1,
            visible=False,
            elem_id="strip",
        )
    return strip, download_all


def connect_strip(outputs: VisitOutputs, controls: RecipeControls) -> None:
    """Restore a clicked dream with its photo and every control; download all on a click."""

    def show_dream(event: gr.SelectData, saved: Any) -> Updates:
        visit, index = Visit.read(saved), int(event.index)
        entry = visit.dreams[index].resolve() if index < len(visit.dreams) else None
        if not (entry and (recipe := recipe_in_photo(entry.file))):
            gone = "This dream is no longer on the server."
            return {outputs.status: status_line.status_html(gone)}
        text = f"Dream {index + 1} of this visit and its recipe are back."
        return {
            **controls.recipe_updates(recipe, entry.photo),
            controls.photo: entry.photo,
            **outputs.show_entry(replace(visit, shown=entry), recipe),
            outputs.status: status_line.status_html(text),
        }

    kept = (outputs.strip, outputs.download_all)  # They stay as they are.
    shown = [each for each in vars(outputs).values() if each not in kept]
    every = [*controls.outputs, controls.photo, *shown]
    outputs.strip.select(show_dream, outputs.visit, every, **controls.event_options)
    zip_download = gr.DownloadButton(visible=False)
    packed = outputs.download_all.click(
        zip_dreams, outputs.visit, [zip_download, outputs.status], **components.HEAVY_EVENT
    )
    components.run_in_browser(packed.success, "(file) => downloadFile(file)", zip_download)


def zip_dreams(saved: Any) -> tuple[str | None, str]:
    """Write the dreams of a stored visit to a ZIP; return its path and the status."""
    visit = Visit.read(saved)
    paths = [Path(entry.file) for each in visit.dreams if (entry := each.resolve())]
    try:
        if not paths:
            raise DreamError("These dreams are no longer on the server.")
        path = new_output_folder() / "dreams.zip"
        write_zip(paths, path)
    except DreamError as error:
        return None, status_line.status_html(status_line.to_sentence(error))
    text = f"The ZIP has {len(paths)} dreams and their recipes."
    if missing := len(visit.dreams) - len(paths):
        text += f" {missing} more are no longer on the server."
    return str(path), status_line.status_html(text)


def connect_restore(
    page_load: Callable[..., Any],
    controls: RecipeControls,
    outputs: VisitOutputs,
    other_tabs: Mapping[str, RecipeTab],
) -> None:
    """Store the settings; on page load restore them, or show a link's recipe on its kind's tab."""
    settings = browser_state("settings")
    fields = {"photo": controls.photo, "random_seed": controls.random_seed, **controls.by_name}
    del fields["mask"]  # The strokes are in no file yet; a finished dream's are in its recipe.

    async def open_page(saved: Any, visit: Any, shown: str, request: gr.Request) -> Updates:
        settings = saved if isinstance(saved, dict) else {}
        link, last = request.query_params.get("recipe"), Visit.read(visit)
        updates = link_updates(other_tabs, link) if link else {}
        if link and not updates and link != settings.get("link"):
            return await run_in_thread(_open_link, controls, outputs, link, shown, last)
        if last.shown != OPENING_ENTRY and last.shown.file != last.shown.photo:
            # The dream may have been running.
            await wait_for_stopped_image(last.shown.file, WAIT_SECONDS)
        opened = await run_in_thread(_open_visit, controls, outputs, settings, shown, last)
        return {**opened, **updates}

    every = [*controls.outputs, controls.photo, *vars(outputs).values(), *link_outputs(other_tabs)]
    opened = page_load(
        open_page,
        [settings, outputs.visit, controls.photo],
        every,
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
    text = f"{LINK_MESSAGE} Dream this photo to use it."
    return {
        **updates,
        **outputs.show_entry(visit, recipe),
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
    visit, recipe, text = _find_current_dream(visit)
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
    updates |= (outputs.show_entry(visit, recipe) if recipe else {}) | outputs.dreams(visit)
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


def _find_current_dream(visit: Visit) -> tuple[Visit, DreamRecipe | None, str | None]:
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
