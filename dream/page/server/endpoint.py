"""Build API endpoints from a function, a kind of recipe and extra parameters."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
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
    """A parameter that is not a knob: its Gradio component, description and default."""

    component: Callable[..., Any]
    description: str
    required: bool = False
    default: Any = None


def make_handler(
    runner: JobRunner,
    run: Callable[..., Iterator[Any]],
    kind: type[Recipe],
    names: Sequence[str],
    parameters: Mapping[str, Parameter],
) -> Callable[..., Iterator[Any]]:
    """Return the handler of an endpoint, whose signature and docstring Gradio shows to clients.

    `run` gets the runner, the `parameters` by name, and as `knob_values` the knobs of `kind` that
    were sent. `names` are all parameters in order: those in `parameters`, and knobs.
    """
    required = {name for name, each in parameters.items() if each.required}

    def handler(*values: Any) -> Iterator[Any]:
        by_name = dict(zip(names, values, strict=True))
        others = {name: by_name.pop(name) for name in parameters}
        for name in parameters:
            if name in required and others[name] is None:
                raise DreamError(f"{name} is missing; send a file")
        # Omitted files arrive as None, as do numbers and names with a derived value.
        knob_values = {name: value for name, value in by_name.items() if value is not None}
        yield from run(runner, **others, knob_values=knob_values)

    handler.__signature__ = _make_signature(names, required)  # type: ignore[attr-defined]
    handler.__name__ = run.__name__
    lines = [
        f"    {name}: {parameters[name].description}"
        if name in parameters
        else f"    {name}: {components.knob_description(kind, name)}"
        for name in names
    ]
    handler.__doc__ = "\n".join([inspect.cleandoc(run.__doc__ or ""), "", "Args:", *lines])
    return handler


def _make_signature(names: Sequence[str], required: Collection[str]) -> inspect.Signature:
    """Return a signature in which all but the `required` parameters have the default None.

    Gradio uses the component's default; if that is empty, only None makes a parameter optional.
    """
    position, empty = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.empty
    return inspect.Signature(
        [
            inspect.Parameter(name, position, default=empty if name in required else None)
            for name in names
        ]
    )


class Endpoints:
    """The endpoints of the page that is being built.

    Their fields are hidden components. Endpoints share equal ones, because Gradio sends every
    component with the page. (`gr.api` creates one per parameter, and names the results "1st" and
    "2nd".)
    """

    def __init__(self, runner: JobRunner) -> None:
        self.runner = runner
        # Typed, because 1, 1.0 and True are equal but need fields of their own.
        self.field = lru_cache(maxsize=None, typed=True)(_hidden_field)
        self._button = gr.Button(visible=False)

    def add(
        self,
        run: Callable[..., Iterator[Any]],
        kind: type[Recipe],
        names: Sequence[str],
        parameters: Mapping[str, Parameter],
        outputs: Sequence[Any],
        check: Callable[..., Any] | None = None,
    ) -> None:
        """Add an endpoint with the name of `run`; see `make_handler`.

        Of the `parameters`, it has those in `names`, except for knobs. `check` gets the recipe and
        these, and raises DreamError if they do not fit together.
        """
        parameters = {name: parameters[name] for name in names if name not in knobs(kind)}
        fields = [
            self.field(parameters[name].component, name, parameters[name].default)
            if name in parameters
            else self._knob_field(kind, name)
            for name in names
        ]
        handler = make_handler(self.runner, run, kind, names, parameters)
        event = self._button.click(
            handler, fields, list(outputs), api_name=run.__name__, **components.QUEUED_EVENT
        )

        def check_inputs(*values: Any) -> None:
            by_name = dict(zip(names, values, strict=True))
            recipe = components.check_recipe(kind, **by_name)
            if check:
                check(recipe, **{name: by_name[name] for name in parameters})

        check_before_queue(event, check_inputs)

    def _knob_field(self, kind: type[Recipe], name: str) -> Any:
        """Return the field of a knob; it is empty for derived values."""
        knob = knobs(kind)[name]
        if knob.is_image:
            return self.field(components.photo_input, name)
        fields = {str: components.RawText, int: components.RawInteger, float: components.RawNumber}
        return self.field(fields[knob.value_type], name, knob.default)


def _hidden_field(make: Callable[..., Any], label: str, value: Any = None) -> Any:
    default = {} if value is None else {"value": value}
    return make(label=label, visible=False, **default)
