"""A run of the page: what a button starts, Stop ends as a whole, and the buttons tell."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import gradio as gr

from dream.errors import DreamError, TimeLimitReached
from dream.page import status_line
from dream.page.blocks import check_before_queue
from dream.page.widgets import components


class Run:
    """What a button (or more than one) starts, and `stop` ends.

    While it is under way `go` gives way to `stop`, and the `others` can not be pressed. All that
    happens in the browser, in one order: nothing that comes late can undo it. After a stop they
    come back when the run has ended: Gradio may still be cancelling, and take the next one along.
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
        # What the browser has of a run, by a name of its own: see `beginRun` in `page.js`.
        self.shown_components = [status, *([view] if view else [])]
        self.name = json.dumps(stop.elem_id)
        # Which press is under way, and which was stopped last: what is stopped while its files are
        # on their way here must not begin when they have come.
        self.press_id = gr.Textbox(visible=False)
        self.stopped_press = gr.State(None)
        # Which press has ended: what was stopped may end once more, when the next is under way.
        self.ended_press = gr.Textbox(visible=False)
        self.started_events: list[Any] = []

    def start_on(
        self,
        event: Callable[..., Any],
        handler: Callable[..., Iterator[dict[str, Any]]],
        inputs: Mapping[str, Any],
        outputs: Mapping[str, Any],
        check: Callable[..., Any] | None = None,
        before: Callable[[Callable[..., Any]], Any] | None = None,
        photo: gr.Image | None = None,
        **options: Any,
    ) -> Any:
        """On that event show what comes from a source: changes of the outputs, by name.

        The source is given the inputs by name, and so is `check`, which says what is wrong with
        them before they wait in line; `first` is an event before, which fetches what is needed.
        What goes wrong later is said in the output "status". A `photo` is shown in the view until
        something is made of it.
        """

        def run(press: str, stopped: str, **values: Any) -> Iterator[Any]:
            last = fill_outputs({}, outputs)  # A handler that puts out nothing would clear all.
            if press != stopped:
                for last in stream_outputs(handler(**values), outputs):
                    yield *last, gr.skip()
            # All of the last once more: Gradio takes out of its values what is left out.
            yield *last, press

        waiting_status = json.dumps(status_line.progress_html("One moment …"))
        click_event = event(
            None,
            [*self.shown_components, *([photo] if photo else [])],
            [*self.buttons, self.press_id, *self.shown_components],
            js=f"""(...shown) => [...{self._button_updates(True)}, String(Math.random()),
                ...beginRun({self.name}, {waiting_status}, {len(self.shown_components)}, ...shown)]""",
            api_visibility="private",
        )
        if before:
            click_event = before(click_event.then)
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
        """Have the buttons as before when that has ended.

        A busy browser shows frames that it had received before the stop after the stop's words: so
        they are said once more. `then` does not follow what the queue refused.
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
        """Let Stop end all that was put on this run."""
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
        """How the buttons look in and out of a run, as the browser is told."""
        others = [gr.update(interactive=not is_busy)] * (len(self.buttons) - 2)
        first = [gr.update(visible=not is_busy), gr.update(visible=is_busy, interactive=True)]
        return json.dumps([*first, *others])


def stream_outputs(
    source: Iterator[dict[str, Any]], outputs: Mapping[str, Any]
) -> Iterator[tuple[Any, ...]]:
    """What is put out of the changes that come, where only they do; what goes wrong is said."""
    try:
        for changes in source:
            yield fill_outputs(changes, outputs)
    except TimeLimitReached as error:
        yield fill_outputs({"status": status_line.warning_html(error, "Ended early")}, outputs)
    except DreamError as error:
        yield fill_outputs(
            {"status": status_line.warning_html(error, "This cannot be made")}, outputs
        )


def fill_outputs(changes: Mapping[str, Any], outputs: Mapping[str, Any]) -> tuple[Any, ...]:
    """All outputs, as they are but for those changes."""
    return tuple(changes.get(name, gr.skip()) for name in outputs)
