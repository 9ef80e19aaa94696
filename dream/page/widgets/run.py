"""Connect a button, its Stop button and the outputs of one run."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import gradio as gr

from dream.errors import DreamError, TimeLimitReached
from dream.page import status_line
from dream.page.blocks import check_before_queue
from dream.page.widgets import components


class RunButtons:
    """The buttons that start and stop runs, and the outputs that these share.

    During a run, `stop` replaces `go`, and the `others` are disabled. This happens in the browser,
    in order, so that no late server response can undo it. After a stop, the buttons return only
    when the run has ended, because Gradio may still be cancelling and would cancel a new run too.
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
        self.stop = stop
        # Outputs that the browser saves by the run's name; see `beginRun` in `page.js`.
        self.shown_components = [status, *([view] if view else [])]
        self.name = json.dumps(stop.elem_id)
        # IDs of the current and the last stopped press. A press that was stopped during its upload
        # must not start after the upload.
        self.press_id = gr.Textbox(visible=False)
        self.stopped_press = gr.State(None)
        # ID of the last ended press. A stopped press may end again while the next one runs.
        self.ended_press = gr.Textbox(visible=False)
        self.started_events: list[Any] = []

    def start_on(
        self,
        event: Callable[..., Any],
        handler: Callable[..., Iterator[dict[str, Any]]],
        inputs: Mapping[str, Any],
        outputs: Mapping[str, Any],
        check: Callable[..., Any] | None = None,
        fetch_inputs: Callable[[Callable[..., Any]], Any] | None = None,
        photo: gr.Image | None = None,
        **options: Any,
    ) -> Any:
        """On `event`, stream the changes that a handler yields to the outputs.

        The handler receives the inputs by name and yields changes of outputs by name; its errors
        appear in the output "status". Before that, `fetch_inputs` registers an event that fetches
        inputs from the browser, and `check` validates the inputs before the run is queued. The view
        shows `photo` until the first image is made.
        """

        def run(press: str, stopped: str, **values: Any) -> Iterator[Any]:
            last = fill_outputs({}, outputs)  # Without any yield, Gradio clears the outputs.
            if press != stopped:
                for last in stream_outputs(handler(**values), outputs):
                    yield *last, gr.skip()
            # Yield every output again, because Gradio drops those that the final update omits.
            yield *last, press

        waiting = json.dumps(status_line.progress_html("Waiting for the server …"))
        click_event = event(
            None,
            [*self.shown_components, *([photo] if photo else [])],
            [*self.buttons, self.press_id, *self.shown_components],
            js=f"""(...shown) => [...{self._button_updates(True)}, String(Math.random()),
                ...beginRun({self.name}, {waiting}, {len(self.shown_components)}, ...shown)]""",
            api_visibility="private",
        )
        if fetch_inputs:
            click_event = fetch_inputs(click_event.then)
        run_event = click_event.then(
            run,
            [self.press_id, self.stopped_press],
            [*outputs.values(), self.ended_press],
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
        self._restore_buttons(run_event)
        self.started_events.append(run_event)
        return run_event

    def _restore_buttons(self, run_event: Any) -> None:
        """Restore the buttons when a run has ended, or when the queue refused it (`failure`).

        This sets the status again, because a slow browser shows frames from before a stop late.
        """
        outputs = [*self.buttons, *self.shown_components]
        unchanged = json.dumps([gr.skip()] * len(outputs))
        for ended, is_over, failed in (
            (run_event.then, "press === ended", "false"),
            (run_event.failure, "true", "true"),
        ):
            ended(
                None,
                [self.press_id, self.ended_press, *self.shown_components],
                outputs,
                js=f"""(press, ended, ...shown) => {is_over}
                    ? [...{self._button_updates(False)}, ...endRun({self.name}, {failed}, ...shown)]
                    : {unchanged}""",
                trigger_mode="multiple",
                api_visibility="private",
            )

    def connect_stop(self) -> None:
        """Let Stop cancel every event of this run."""
        pressed = gr.update(interactive=False)
        self.stop.click(
            None,
            [self.press_id, *self.shown_components],
            [self.stop, self.ended_press, *self.shown_components],
            js=f"""(press, ...shown) =>
                [{json.dumps(pressed)}, press, ...endRun({self.name}, false, ...shown)]""",
            api_visibility="private",
        )
        self.stop.click(
            lambda press: press,
            self.press_id,
            self.stopped_press,
            cancels=self.started_events,
            **components.IMMEDIATE_EVENT,
        )

    def _button_updates(self, is_busy: bool) -> str:
        """Return the updates of the buttons during or after a run, as JSON."""
        others = [gr.update(interactive=not is_busy)] * (len(self.buttons) - 2)
        first = [gr.update(visible=not is_busy), gr.update(visible=is_busy, interactive=True)]
        return json.dumps([*first, *others])


def stream_outputs(
    source: Iterator[dict[str, Any]], outputs: Mapping[str, Any]
) -> Iterator[tuple[Any, ...]]:
    """Yield a full tuple of outputs per dict of changes; turn a DreamError into a status."""
    try:
        for changes in source:
            yield fill_outputs(changes, outputs)
    except TimeLimitReached as error:
        yield fill_outputs({"status": status_line.show_warning(error, "Ended early")}, outputs)
    except DreamError as error:
        yield fill_outputs({"status": status_line.show_warning(error, "Run failed")}, outputs)


def fill_outputs(changes: Mapping[str, Any], outputs: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return one value per output: the change if there is one, else `gr.skip()`."""
    return tuple(changes.get(name, gr.skip()) for name in outputs)
