"""The section that dreams several photos, one after another, by one recipe."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from dream.errors import DreamError, OutOfTime, PictureError, RecipeError
from dream.page import status_line
from dream.page.blocks import MAX_PHOTOS, MAX_UPLOAD_BYTES
from dream.page.widgets import components
from dream.page.widgets.components import Updates
from dream.page.widgets.recipe_controls import read_controls
from dream.page.widgets.run import RunButtons
from dream.recipe.dream import DreamRecipe

LIMITS = f"{MAX_PHOTOS} photos and {MAX_UPLOAD_BYTES / 1e6:.0f} MB"


class SeveralPhotos:
    """The photos and their button.

    Each photo is a run of its own, which the browser starts as the one before ends: each has its
    own place in the queue and its own time limit, others dream in between, and nothing goes on
    after Stop or on a closed page. The dreams come to the strip of the visit, which packs them.
    """

    def __init__(self) -> None:
        with gr.Accordion("Several photos", open=False, elem_id="several"):
            gr.Markdown(
                f"Dreams up to {LIMITS} by the settings above, without the mask. The dreams appear "
                "below the result, with a button that downloads all of them."
            )
            self.photos = components.FilesInput(
                file_count="multiple", label="Your photos", height=140, elem_id="several-photos"
            )
            components.privacy_line()
            self.go_button = gr.Button("Dream all photos", elem_id="dream-all")
        self._next_button = gr.Button(visible="hidden", elem_id="next-photo")
        # The recipe, the photos to dream, how many there were, and what was left out and why.
        self._batch = gr.State(None)
        # A new text when another photo follows.
        self._follow_up = gr.Textbox(visible=False)

    def connect(
        self,
        run_buttons: RunButtons,
        dream: Callable[[str, Any, DreamRecipe], Iterator[Updates]],
        inputs: Mapping[str, Any],
        options: Mapping[str, Any],
    ) -> None:
        """Dream the photos on a click, with the inputs and options of a single dream."""
        self._dream, self._status = dream, run_buttons.status
        outputs = [*options["outputs"], self._batch, self._follow_up]
        following = {"batch": self._batch, "saved": inputs["saved"]}
        for event, handler, run_inputs, check in (
            (self.go_button.click, self.start, {"photos": self.photos, **inputs}, check_photos),
            (self._next_button.click, self.dream_next, following, None),
        ):
            ended = run_buttons.start_on(event, handler, run_inputs, outputs, check)
            components.run_in_browser(
                ended.then,
                f"(press, ended, followUp) => "
                f"nextPhoto({run_buttons.script_options}, press === ended, followUp)",
                [run_buttons.press_id, run_buttons.ended_press, self._follow_up],
                trigger_mode="multiple",
            )

    def start(
        self, photos: Sequence[str], saved: Any, random_seed: bool, **knobs: Any
    ) -> Iterator[Updates]:
        """Yield the updates while the first photo is dreamed; the others follow by `dream_next`."""
        check_photos(photos)  # Again: only a run that waits in the queue was checked.
        if sum(Path(photo).stat().st_size for photo in photos) > MAX_UPLOAD_BYTES:
            raise DreamError(f"These photos are too large; choose at most {LIMITS} at a time.")
        recipe = read_controls(random_seed, {**knobs, "mask": None})
        batch = {"recipe": recipe.to_json(), "photos": list(photos), "count": len(photos)}
        yield from self.dream_next({**batch, "left_out": []}, saved)

    def dream_next(self, batch: dict[str, Any] | None, saved: Any) -> Iterator[Updates]:
        """Yield the updates while the next photo is dreamed; one that cannot be is named."""
        if not batch:  # The server has dropped the session.
            raise DreamError('The list of photos is lost; press "Dream all photos" again.')
        (photo, *others), count = batch["photos"], batch["count"]
        position, left_out = f"Photo {count - len(others)} of {count}.", batch["left_out"]
        last: Updates = {}
        try:
            for last in self._dream(photo, saved, DreamRecipe.from_json(batch["recipe"])):
                status = status_line.prefix_status(position, last.get(self._status, ""))
                yield {**last, **({self._status: status} if status else {})}
        except (PictureError, RecipeError, OutOfTime) as error:
            name = Path(photo).name
            text = str(error) if name in str(error) else f"{name}: {error}"
            left_out = [*left_out, status_line.to_sentence(text)]
            status_line.show_warning(DreamError(text), "Photo left out")
        text = f"{count - len(others) - len(left_out)} of {count} photos dreamed."
        html = status_line.status_html(" ".join((text, "Left out:" * bool(left_out), *left_out)))
        batch = {**batch, "photos": others, "left_out": left_out}
        follow_up = uuid.uuid4().hex if others else ""
        yield {**last, self._batch: batch, self._follow_up: follow_up, self._status: html}


def check_photos(photos: Sequence[Any] | None, **values: Any) -> None:
    """Raise DreamError if there are no photos or too many, or a knob has an invalid value."""
    if not photos:
        raise DreamError("Choose photos first.")
    if len(photos) > MAX_PHOTOS:
        raise DreamError(f"Choose at most {LIMITS} at a time, not {len(photos)} photos.")
    components.check_recipe(DreamRecipe, **values)
