"""Validation of a decoder's answers, which are untrusted: invalid ones raise an `AnswerError`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
from PIL import Image

from dream.tensors import Size

Value = TypeVar("Value")
# Errors that using an invalid answer may raise.
INVALID_ANSWER_ERRORS = (ArithmeticError, LookupError, RecursionError, TypeError, ValueError)


class AnswerError(Exception):
    """A decoder ended, took too long or sent an invalid answer; the text is for the log."""

    def __init__(self, text: str, is_timeout: bool = False) -> None:
        super().__init__(text)
        self.is_timeout = is_timeout


def next_answer(answers: Iterator[Any], convert: Callable[[Any], Value]) -> Value:
    """Return the next answer of `read_in_decoder`, converted.

    Raises:
        AnswerError: if there is no next answer, or `convert` fails on it.
    """
    for answer in answers:
        with convert_invalid_answers():
            return convert(answer)
    raise AnswerError("ended its answers early")


def to_pixels(answer: Any, shape: tuple[int, ...]) -> Any:
    """Return an array of 8-bit RGB, reshaped.

    Raises:
        TypeError, ValueError: if the answer is not an array, or has another size.
    """
    if not isinstance(answer, np.ndarray):
        raise TypeError("pixels are an array")
    return answer.reshape(shape)


def to_rgb_image(answer: Any, size: Size) -> Image.Image:
    """Return an answer as an image of `size` (height, width). Raises as `to_pixels`."""
    if isinstance(answer, Image.Image):
        return answer
    return Image.fromarray(to_pixels(answer, (*size, 3)))


@contextmanager
def convert_invalid_answers() -> Iterator[None]:
    """Raise an `AnswerError` in place of the errors that an invalid answer causes."""
    try:
        yield
    except INVALID_ANSWER_ERRORS as error:
        raise AnswerError(f"sent an invalid answer ({type(error).__name__})") from error
