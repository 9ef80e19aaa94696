"""What a page says of an event, checked before a handler reads it: strangers send anything there.

Components check little of what they are sent. What goes wrong after these checks is a fault of ours
and stays in the log.
"""

from __future__ import annotations

import sys
from typing import Any

import gradio as gr

from dream.errors import DreamError

INVALID_VALUE = "what was sent does not fit"


def check_text(data: Any) -> None:
    """See that all text in what was sent, however deep, is text.

    Raises:
        DreamError: if there is half of a surrogate pair, which JSON can spell and no answer can.
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
                raise DreamError(
                    f"{INVALID_VALUE}: a text holds half of a surrogate pair"
                ) from error


def check_value(block: Any, value: Any) -> None:
    """See that a value is of the kind that a component of the page sends.

    Raises:
        DreamError: if it is of another.
    """
    is_valid = True
    match block:
        case gr.Dataset():  # Of examples: the place of one.
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
        raise DreamError(f"{INVALID_VALUE}: {block.label or block.get_block_name()} cannot be that")


def check_event(fn: Any, event: Any, state: Any) -> None:
    """See that an event is one that its component has: of a choice, with the place that was chosen.

    `state` is the session's, which may have components of its own.

    Raises:
        DreamError: if it is not.
    """
    check_text(event._data)
    session_blocks = state.blocks_config.blocks if state else {}
    target = event.target
    kinds = {kind for number, kind in fn.targets if target and session_blocks.get(number) is target}
    data = event._data
    if not kinds:
        raise DreamError(f"{INVALID_VALUE}: this event belongs to another component")
    if "select" in kinds:
        index: Any = data.get("index") if isinstance(data, dict) else None
        if isinstance(target, gr.Gallery):
            is_valid = isinstance(index, int) and index >= 0
        else:
            is_valid = isinstance(index, list) and len(index) == 2 and all(map(_is_number, index))
        if not (is_valid and "value" in data):
            raise DreamError(f"{INVALID_VALUE}: there is nothing at such a place")


def _is_number(value: Any) -> bool:
    """Return whether a value is a number that a float can hold; not so NaN."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and abs(value) <= sys.float_info.max
