"""The web page; the only package that imports Gradio."""

import inspect
from typing import Any

_original_getfile = inspect.getfile


def _getfile(target: Any) -> str:
    """Raise OSError for Gradio's components: it then writes no stubs, half of its import time."""
    if isinstance(target, type) and target.__module__.startswith("gradio."):
        raise OSError("skip this stub")
    return _original_getfile(target)


inspect.getfile = _getfile  # type: ignore[assignment]
try:
    import gradio as gradio
finally:
    inspect.getfile = _original_getfile
