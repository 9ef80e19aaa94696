"""Start and stop the runs of a tab, such that no late answer undoes what a visitor did after it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import gradio as gr

from dream.errors import DreamError, TimeLimitReached
from dream.page import status_line
from dream.page.blocks import check_before_queue
from dream.page.widgets import components
from dream.page.widgets.components import Updates

# Time between the last two updates of a run.
SECONDS_BEFORE_END = 0.1


class RunButtons:
    """The buttons that start and stop runs, and the outputs that these share.

    Answers of the server may come late: after Stop, after the next press, or never. So `page.js`
    sets the buttons and the status in the browser, in order, and each press has an id. The buttons
    return only when the run has ended: Gradio may still be cancelling, and would cancel a new run.

    Attributes:
        buttons: go; Stop, which replaces it during a run; and others, disabled meanwhile.
        status: the status line.
        shown: status and view (if any), which the browser saves to restore them.
        press_id: id of the latest press.
        stopped_press: id of the last stopped press: it must not start after a slow upload.
        ended_press: id of the last ended press: a stopped one may end again while the next runs.
        script_options: what the scripts in `page.js` need to know, as JSON.
        started_events: what Stop cancels.
    """

    def __init__(
        self,
        go: gr.Button,
        stop: gr.Button,
        others: Sequence[Any],
        status: gr.HTML,
        view: gr.ImageSlider | None = None,
    ) -> None:
        self.buttons = [go, stop, *others]
        self.status = status
        self.shown = [status, *([view] if view else [])]
        self.press_id = gr.Textbox(visible=False)
        self.stopped_press = gr.State(None)
        self.ended_press = gr.Textbox(visible=False)
        self.script_options = json.dumps(
            {
                "name": stop.elem_id,
                "others": len(others),
                "shown": len(self.shown),
                "waiting": status_line.progress_html("Waiting for the server …"),
            }
        )
        self.started_events: list[Any] = []

    def start_on(
        self,
        event: Callable[..., Any],
        handler: Callable[..., Iterator[Updates]],
        inputs: Mapping[str, Any],
        outputs: Sequence[Any],
        check: Callable[..., Any] | None = None,
        fetch_inputs: Callable[[Callable[..., Any]], Any] | None = None,
        photo: gr.Image | None = None,
        **options: Any,
    ) -> Any:
        """On `event`, stream the updates of outputs that a handler yields, and its errors.

        The handler receives the inputs by name. Before it, `fetch_inputs` registers an event that
        fetches inputs from the browser, and `check` validates the inputs before the run is queued.
        The view shows `photo` until the first image is made. Returns the event that ends the run.
        """
        pressed = self._begin_run(event, photo)
        fetched = fetch_inputs(pressed.then) if fetch_inputs else pressed
        run_event = fetched.then(
            self._stream_handler(handler),
            [self.press_id, self.stopped_press],
            list(dict.fromkeys((*outputs, self.status, self.ended_press))),
            inputs_kwargs=dict(inputs),
            show_progress="minimal",
            show_progress_on=self.status,
            api_visibility="private",
            **options,
            **components.QUEUED_EVENT,
        )
        if check:
            validate = check
            check_before_queue(
                run_event,
                lambda press, stopped, *rest: validate(**dict(zip(inputs, rest, strict=True))),
            )
        self.started_events.append(run_event)
        return self._restore_buttons(run_event)

    def _begin_run(self, event: Callable[..., Any], photo: gr.Image | None) -> Any:
        return components.run_in_browser(
            event,
            f"(...shown) => beginRun({self.script_options}, ...shown)",
            [*self.shown, *([photo] if photo else [])],
            [*self.buttons, self.press_id, *self.shown],
        )

    def _stream_handler(self, handler: Callable[..., Iterator[Updates]]) -> Callable[..., Any]:
        """Return the handler as an event: it skips stopped presses and ends with the press id."""

        def run(press: str, stopped: str, **values: Any) -> Iterator[Updates]:
            last: Updates = {}
            if press != stopped:
                for last in show_errors(handler(**values), self.status):
                    yield last
            # Yield the last updates again, because Gradio drops those that the final one omits; and
            # after a while, because a busy browser that gets both at once loses some.
            time.sleep(SECONDS_BEFORE_END)
            yield {**last, self.ended_press: press}

        return run

    def _restore_buttons(self, run_event: Any) -> Any:
        """Restore the buttons when a run has ended, or when the queue refused it (`failure`).

        Returns the event of the former. This sets the status again, because a slow browser shows
        frames from before a stop late.
        """
        ended, _ = (
            components.run_in_browser(
                event,
                f"(press, ended, ...shown) => endRun({self.script_options}, {arguments}, ...shown)",
                [self.press_id, self.ended_press, *self.shown],
                [*self.buttons, *self.shown],
                trigger_mode="multiple",
            )
            for event, arguments in (
                (run_event.then, "press === ended, false"),
                (run_event.failure, "true, true"),
            )
        )
        return ended

    def connect_stop(self) -> None:
        """Let Stop cancel every event that `start_on` has registered."""
        stop = self.buttons[1]
        components.run_in_browser(
            stop.click,
            f"(press, ...shown) => stopRun({self.script_options}, press, ...shown)",
            [self.press_id, *self.shown],
            [stop, self.ended_press, *self.shown],
        )
        stop.click(
            lambda press: press,
            self.press_id,
            self.stopped_press,
            cancels=self.started_events,
            **components.IMMEDIATE_EVENT,
        )


def show_errors(updates: Iterator[Updates], status: Any) -> Iterator[Updates]:
    """Yield the updates; turn a DreamError into a toast and the status."""
    try:
        yield from updates
    except DreamError as error:
        title = "Ended early" if isinstance(error, TimeLimitReached) else "Run failed"
        yield {status: status_line.show_warning(error, title)}
