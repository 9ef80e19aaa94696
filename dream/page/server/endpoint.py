"""How an endpoint is made of a function, a kind of recipe, and what it takes beside its knobs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import gradio as gr

from dream.errors import DreamError
from dream.page.blocks import check_before_queue
from dream.page.widgets import components
from dream.recipe import Recipe
from dream.recipe.knob import knobs
from dream.service.job_runner import JobRunner


@dataclass(frozen=True)
class Parameter:
    """A parameter that is no knob: what makes its field, and what is said of it."""

    component: Callable[..., Any]
    description: str
    required: bool = False
    default: Any = None


def make_handler(
    work: JobRunner,
    run: Callable[..., Iterator[Any]],
    kind: type[Recipe],
    names: Sequence[str],
    parameters: Mapping[str, Parameter],
) -> Callable[..., Iterator[Any]]:
    """A handler of an endpoint, with parameters of those names: its `own`, and knobs of that kind.

    `run` is given its own by name, and a dict of the knobs that were sent. What Gradio tells
    clients follows from the recipe; defaults are those of the fields.
    """

    def handler(*values: Any) -> Iterator[Any]:
        given = dict(zip(names, values, strict=True))
        mine = {name: given.pop(name) for name in parameters}
        for name, each in parameters.items():
            if each.required and mine[name] is None:
                raise DreamError(f"{name} is missing; send a file")
        # A file that was left out comes as None, as do numbers and names that are automatic.
        sent = {name: value for name, value in given.items() if value is not None}
        yield from run(work, **mine, given=sent)

    # Gradio takes the default of a field; where that is empty, only None here makes it optional.
    place, empty = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.empty
    required = {name for name, each in parameters.items() if each.required}
    signature = [
        inspect.Parameter(name, place, default=empty if name in required else None)
        for name in names
    ]
    said = {
        name: parameters[name].description
        if name in parameters
        else components.knob_description(kind, name)
        for name in names
    }
    lines = [f"    {name}: {each}" for name, each in said.items()]
    handler.__signature__ = inspect.Signature(signature)  # type: ignore[attr-defined]
    handler.__name__ = run.__name__
    handler.__doc__ = "\n".join([inspect.cleandoc(run.__doc__ or ""), "", "Args:", *lines])
    return handler


class Endpoints:
    """The endpoints of the page being built.

    Their fields are components that no page shows, and that all endpoints share which have one
    alike: Gradio sends every component with the page. (Its own `gr.api` makes one for each
    parameter too, and names what is returned "1st" and "2nd".)
    """

    def __init__(self, work: JobRunner) -> None:
        self.work = work
        # Of 1, 1.0 and True, which are equal, each has a field of its own.
        self.field = lru_cache(maxsize=None, typed=True)(_hidden_field)
        self._button = gr.Button(visible=False)

    def add(
        self,
        run: Callable[..., Iterator[Any]],
        kind: type[Recipe],
        names: Sequence[str],
        own: Mapping[str, Parameter],
        outputs: Sequence[Any],
        check: Callable[..., Any] | None = None,
    ) -> None:
        """One that is called as `run` is; see `handler_of`.

        `check` is given the recipe and its own parameters: what no recipe says can be wrong too.
        """
        fields = [
            self.field(own[name].component, name, own[name].default)
            if name in own
            else self._knob_field(kind, name)
            for name in names
        ]
        handler = make_handler(self.work, run, kind, names, own)
        begun = self._button.click(
            handler, fields, list(outputs), api_name=run.__name__, **components.QUEUED_EVENT
        )

        def first(*values: Any) -> None:
            given = dict(zip(names, values, strict=True))
            recipe = components.check_recipe(kind, **given)
            if check:
                check(recipe, **{name: given[name] for name in own})

        check_before_queue(begun, first)

    def _knob_field(self, kind: type[Recipe], name: str) -> Any:
        """The field of a knob; empty for what is automatic."""
        knob = knobs(kind)[name]
        if knob.is_image:
            return self.field(components.photo_input, name)
        if knob.value_type is bool:
            return self.field(gr.Checkbox, name, bool(knob.default))
        fields = {str: components.RawText, int: components.RawInteger, float: components.RawNumber}
        return self.field(fields[knob.value_type], name, knob.default)


def _hidden_field(make: Callable[..., Any], label: str, value: Any = None) -> Any:
    about = {} if value is None else {"value": value}
    return make(label=label, visible=False, **about)
