"""The web page; the only package that imports Gradio."""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def _no_stub_files() -> Iterator[None]:
    """Keep Gradio from writing a stub (.pyi) per component, which takes half of its import time."""
    original_getfile = inspect.getfile

    def getfile(target: Any) -> str:
        if isinstance(target, type) and target.__module__.startswith("gradio."):
            raise OSError("skip this stub")  # Gradio skips a class that has no source file.
        return original_getfile(target)

    inspect.getfile = getfile  # type: ignore[assignment]
    try:
        yield
    finally:
        inspect.getfile = original_getfile


with _no_stub_files():
    import gradio as gradio
