"""How an endpoint is made of a function, a kind of recipe, and what it takes beside its knobs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from dream.page import parts
from dream.page.door import check_first
from dream.recipe import Recipe
from dream.service.work import Work


@dataclass(frozen=True)
class Own:
    """A parameter that is no knob: what makes its field, and what is said of it."""

    field: Callable[..., Any]
    said: str
    required: bool = False
    default: Any = None

    def made(self, name: str) -> Any:
        """Its field."""
        about = {} if self.default is None else {"value": self.default}
        return self.field(label=name, visible=False, **about)


def handler_of(
    work: Work,
    run: Callable[..., Iterator[Any]],
    kind: type[Recipe],
    names: Sequence[str],
    own: Mapping[str, Own],
) -> Callable[..., Iterator[Any]]:
    """A handler of an endpoint, with parameters of those names: its `own`, and knobs of that kind.

    `run` is given its own by name, and a dict of the knobs that were sent. What Gradio tells
    clients follows from the recipe; defaults are those of the fields.
    """

    def handler(*values: Any) -> Iterator[Any]:
        given = dict(zip(names, values, strict=True))
        mine = {name: given.pop(name) for name in own}
        # A file that was left out comes as None, as do numbers and names that are automatic.
        sent = {name: value for name, value in given.items() if value is not None}
        yield from run(work, **mine, given=sent)

    # Gradio takes the default of a field; where that is empty, only None here makes it optional.
    place, empty = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.empty
    required = {name for name, each in own.items() if each.required}
    parameters = [
        inspect.Parameter(name, place, default=empty if name in required else None)
        for name in names
    ]
    said = {name: own[name].said if name in own else parts.described(kind, name) for name in names}
    lines = [f"    {name}: {each}" for name, each in said.items()]
    handler.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    handler.__name__ = run.__name__
    handler.__doc__ = "\n".join([inspect.cleandoc(run.__doc__ or ""), "", "Args:", *lines])
    return handler


def endpoint(
    work: Work,
    run: Callable[..., Iterator[Any]],
    kind: type[Recipe],
    names: Sequence[str],
    own: Mapping[str, Own],
    outputs: Sequence[Any],
    check: Callable[..., Any] | None = None,
) -> None:
    """An endpoint of the page being built, called as `run` is; see `handler_of`.

    `check` is given the recipe and its own parameters: what no recipe says can be wrong too.
    """
    fields = [
        own[name].made(name) if name in own else parts.hidden_field(kind, name) for name in names
    ]
    handler = handler_of(work, run, kind, names, own)
    begun = gr.Button(visible=False).click(
        handler, fields, list(outputs), api_name=run.__name__, **parts.WORK
    )

    def first(*values: Any) -> None:
        given = dict(zip(names, values, strict=True))
        recipe = parts.checked(kind, **given)
        if check:
            check(recipe, **{name: given[name] for name in own})

    check_first(begun, first)
