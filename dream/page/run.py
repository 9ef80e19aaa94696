"""A run of the page: what a button starts, Stop ends as a whole, and the buttons tell."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import gradio as gr

from dream.errors import DreamError, TimeIsUp
from dream.page import parts
from dream.page.blocks import check_first


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
        self.shown = [status, *([view] if view else [])]
        self.name = json.dumps(stop.elem_id)
        # Which press is under way, and which was stopped last: what is stopped while its files are
        # on their way here must not begin when they have come.
        self.press = gr.Textbox(visible=False)
        self.stopped = gr.State(None)
        # Which press has ended: what was stopped may end once more, when the next is under way.
        self.ended = gr.Textbox(visible=False)
        self.begun: list[Any] = []

    def on(
        self,
        event: Callable[..., Any],
        source: Callable[..., Iterator[dict[str, Any]]],
        inputs: Mapping[str, Any],
        outputs: Mapping[str, Any],
        check: Callable[..., Any] | None = None,
        first: Callable[[Callable[..., Any]], Any] | None = None,
        photo: gr.Image | None = None,
        **about: Any,
    ) -> Any:
        """On that event show what comes from a source: changes of the outputs, by name.

        The source is given the inputs by name, and so is `check`, which says what is wrong with
        them before they wait in line; `first` is an event before, which fetches what is needed.
        What goes wrong later is said in the output "status". A `photo` is shown in the view until
        something is made of it.
        """

        def run(press: str, stopped: str, **values: Any) -> Iterator[Any]:
            last = changed({}, outputs)  # A handler that puts out nothing would clear all.
            if press != stopped:
                for last in told(source(**values), outputs):
                    yield *last, gr.skip()
            # All of the last once more: Gradio takes out of its values what is left out.
            yield *last, press

        words = json.dumps(parts.under_way("One moment …"))
        ready = event(
            None,
            [*self.shown, *([photo] if photo else [])],
            [*self.buttons, self.press, *self.shown],
            js=f"""(...shown) => [...{self._looks(True)}, String(Math.random()),
                ...beginRun({self.name}, {words}, {len(self.shown)}, ...shown)]""",
            api_visibility="private",
        )
        if first:
            ready = first(ready.then)
        begun = ready.then(
            run,
            [self.press, self.stopped],
            [*outputs.values(), self.ended],
            inputs_kwargs=dict(inputs),
            show_progress="minimal",
            show_progress_on=self.status,
            api_visibility="private",
            **about,
            **parts.WORK,
        )
        if check:
            seen = check
            check_first(
                begun, lambda press, stopped, *rest: seen(**dict(zip(inputs, rest, strict=True)))
            )
        self._end(begun)
        self.begun.append(begun)
        return begun

    def _end(self, begun: Any) -> None:
        """Have the buttons as before when that has ended.

        A busy browser shows frames that it had received before the stop after the stop's words: so
        they are said once more. `then` does not follow what the queue refused.
        """
        outputs = [*self.buttons, *self.shown]
        as_it_is = json.dumps([gr.skip()] * len(outputs))
        for ended, is_over, failed in (
            (begun.then, "press === ended", "false"),
            (begun.failure, "true", "true"),
        ):
            ended(
                None,
                [self.press, self.ended, *self.shown],
                outputs,
                js=f"""(press, ended, ...shown) => {is_over}
                    ? [...{self._looks(False)}, ...endRun({self.name}, {failed}, ...shown)]
                    : {as_it_is}""",
                trigger_mode="multiple",
                api_visibility="private",
            )

    def wire(self) -> None:
        """Let Stop end all that was put on this run."""
        pressed = gr.update(interactive=False)
        self.stop.click(
            None,
            [self.press, *self.shown],
            [self.stop, self.ended, *self.shown],
            js=f"""(press, ...shown) =>
                [{json.dumps(pressed)}, press, ...endRun({self.name}, false, ...shown)]""",
            api_visibility="private",
        )
        self.stop.click(
            lambda press: press, self.press, self.stopped, cancels=self.begun, **parts.AT_ONCE
        )

    def _looks(self, busy: bool) -> str:
        """How the buttons look in and out of a run, as the browser is told."""
        others = [gr.update(interactive=not busy)] * (len(self.buttons) - 2)
        first = [gr.update(visible=not busy), gr.update(visible=busy, interactive=True)]
        return json.dumps([*first, *others])


def told(source: Iterator[dict[str, Any]], outputs: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
    """What is put out of the changes that come, where only they do; what goes wrong is said."""
    try:
        for changes in source:
            yield changed(changes, outputs)
    except TimeIsUp as error:
        yield changed({"status": parts.warned(error, "Ended early")}, outputs)
    except DreamError as error:
        yield changed({"status": parts.warned(error, "This cannot be made")}, outputs)


def changed(changes: Mapping[str, Any], outputs: Mapping[str, Any]) -> tuple[Any, ...]:
    """All outputs, as they are but for those changes."""
    return tuple(changes.get(name, gr.skip()) for name in outputs)
