"""A stand-in for `spaces.GPU`."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from typing import Any


class Lender:
    """A `spaces.GPU` that lends at once, records durations, and pickles arguments and answers."""

    def __init__(self) -> None:
        self.durations: list[int] = []

    def __call__(self, duration: Callable[..., int]) -> Callable[..., Any]:
        def decorated(run: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
            def elsewhere(*given: Any) -> Iterator[Any]:
                self.durations.append(duration(*given))
                for answer in run(*pickle.loads(pickle.dumps(given))):
                    yield pickle.loads(pickle.dumps(answer))

            return elsewhere

        return decorated
