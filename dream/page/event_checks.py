"""Validate what a client sends with an event, before a handler reads it.

Gradio's components check little. An error after these checks is a bug of ours and is logged.
"""

from __future__ import annotations

import sys
from typing import Any

import gradio as gr

from dream.errors import DreamError

INVALID_REQUEST = "invalid request"


def check_text(data: Any) -> None:
    """Check all text in nested request data.

    Raises:
        DreamError: if it has half of a surrogate pair, which JSON can spell but UTF-8 cannot.
    """
    pending = [data]
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            pending += [*value, *value.values()]
        elif isinstance(value, list | tuple):
            pending += value
        elif isinstance(value, str) and not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError as error:
                message = f"{INVALID_REQUEST}: a text has half of a surrogate pair"
                raise DreamError(message) from error


def check_value(block: Any, value: Any) -> None:
    """Raise DreamError if a value does not have the type that the component sends."""
    is_valid = True
    match block:
        case gr.Dataset():  # The index of an example.
            is_valid, value = isinstance(value, int), value or 0
        case gr.Checkbox():
            is_valid = isinstance(value, bool)
        case gr.Slider() | gr.Number():
            is_valid = _is_number(value)
        case gr.Dropdown(multiselect=True):
            is_valid = isinstance(value, list) and all(isinstance(each, str) for each in value)
        case gr.Textbox() | gr.Dropdown() | gr.Radio():
            is_valid = isinstance(value, str)
    if not (is_valid or value is None):
        name = block.label or block.get_block_name()
        raise DreamError(f"{INVALID_REQUEST}: {name} has a wrong type")


def check_event(fn: Any, event: Any, state: Any) -> None:
    """Check that an event belongs to its component, and that a selection has a valid index.

    `fn` is the page's event; the session's `state` may have its own components.

    Raises:
        DreamError: if it does not.
    """
    check_text(event._data)
    session_blocks = state.blocks_config.blocks if state else {}
    target = event.target
    kinds = {kind for number, kind in fn.targets if target and session_blocks.get(number) is target}
    data = event._data
    if not kinds:
        raise DreamError(f"{INVALID_REQUEST}: this event belongs to another component")
    if "select" in kinds:
        index: Any = data.get("index") if isinstance(data, dict) else None
        if isinstance(target, gr.Gallery):
            is_valid = isinstance(index, int) and index >= 0
        else:
            is_valid = isinstance(index, list) and len(index) == 2 and all(map(_is_number, index))
        if not (is_valid and "value" in data):
            raise DreamError(f"{INVALID_REQUEST}: the selected index does not exist")


def _is_number(value: Any) -> bool:
    """Return whether a value is a number within the range of a float, and not NaN."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and abs(value) <= sys.float_info.max
