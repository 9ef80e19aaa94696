"""Answers of a decoder, which are not believed: whatever is invalid becomes an `AnswerError`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
from PIL import Image

from dream.tensors import Size

Value = TypeVar("Value")
# What comes of using as an answer what is none.
INVALID_ANSWER = (ArithmeticError, LookupError, RecursionError, TypeError, ValueError)


class AnswerError(Exception):
    """A decoder that ended, took too long or sent an invalid answer; its text is for the log."""

    def __init__(self, text: str, is_timeout: bool = False) -> None:
        super().__init__(text)
        self.is_timeout = is_timeout


def next_answer(answers: Iterator[Any], convert: Callable[[Any], Value]) -> Value:
    """Return the next value that `read_in_decoder` yields, converted.

    Raises:
        AnswerError: if there is none, or it cannot be converted.
    """
    for answer in answers:
        with invalid_answer_errors():
            return convert(answer)
    raise AnswerError("ended its answers early")


def to_pixels(answer: Any, shape: tuple[int, ...]) -> Any:
    """Return an answer of that shape, RGB in 8 bits.

    Raises:
        TypeError, ValueError: if it is none.
    """
    if not isinstance(answer, np.ndarray):
        raise TypeError("pixels are an array")
    return answer.reshape(shape)


def to_rgb_image(answer: Any, size: Size) -> Image.Image:
    """Return an answer as an image of that (height, width). Raises as `to_pixels`."""
    if isinstance(answer, Image.Image):
        return answer
    return Image.fromarray(to_pixels(answer, (*size, 3)))


@contextmanager
def invalid_answer_errors() -> Iterator[None]:
    """Raise an `AnswerError` for what comes of using as an answer what is none."""
    try:
        yield
    except INVALID_ANSWER as error:
        raise AnswerError(f"sent an invalid answer ({type(error).__name__})") from error
