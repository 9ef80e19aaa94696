"""Check the internals of Gradio and uvicorn that the app's limits rely on.

No version guarantees them. Without one of them a limit would silently fail, so the app does not
start.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import version
from operator import attrgetter
from types import FunctionType
from typing import Any

from dream.errors import DreamError

TESTED_VERSION = "6.31.0"
_QUEUE_ATTRIBUTES = (
    *("pending_messages_per_session", "pending_event_ids_session", "event_ids_to_events"),
    *("event_queue_per_concurrency_id", "ANALYTICS_MAX_EVENTS", "max_size", "blocks"),
)
# The overridden or replaced functions, and the names that they or their callers use there.
INTERNALS: dict[str, tuple[str, ...]] = {
    "gradio.queueing:Queue.__init__": _QUEUE_ATTRIBUTES,
    "gradio.queueing:Queue.push": ("body", "request", "username", *_QUEUE_ATTRIBUTES[:4]),
    "gradio.queueing:Queue.send_message": _QUEUE_ATTRIBUTES[:1],
    "gradio.queueing:Queue.clean_events": ("session_hash", "event_id"),
    "gradio.queueing:Event.__init__": ("session_hash", "fn", "closed", "signal", "data"),
    "gradio.blocks:Blocks.process_api": ("block_fn", "inputs", "session_hash", "event_id"),
    "gradio.blocks:Blocks.preprocess_data": ("block_fn", "inputs", "limiter"),
    "gradio.blocks:Blocks.call_function": ("block_fn", "limiter"),
    "gradio.blocks:Blocks.queue": ("_queue",),
    "gradio.blocks:Blocks.launch": ("_frontend", "app_kwargs", "_queue"),
    "gradio.blocks:Blocks.get_config_file": (),
    "gradio.state_holder:SessionState.__init__": ("blocks_config", "state_data", "config_values"),
    "gradio.state_holder:SessionState._update_config": (),
    "gradio.state_holder:SessionState._update_value_in_config": (),
    "gradio.state_holder:StateHolder.__getitem__": ("session_data",),
    "gradio.state_holder:StateHolder.update": ("session_data",),
    "gradio.route_utils:restore_session_state": ("SessionState", "state_holder"),
    "gradio.route_utils:call_process_api": ("process_api", "session_hash"),
    "gradio.route_utils:upload_fn": ("GradioMultiPartParser",),
    "gradio.route_utils:GradioMultiPartParser.__init__": ("max_files", "max_file_size"),
    "gradio.route_utils:FileUploadProgress.__init__": ("_statuses", "_signals"),
    "gradio.http_server:start_server": ("uvicorn", "Config"),
    "uvicorn.config:Config.__init__": ("http", "ws", "backlog"),
    "uvicorn.protocols.http.h11_impl:H11Protocol.connection_made": ("client", "transport"),
    "uvicorn.protocols.http.h11_impl:H11Protocol.data_received": (),
    "uvicorn.protocols.http.h11_impl:H11Protocol.on_response_complete": (),
    "uvicorn.protocols.http.h11_impl:H11Protocol._should_upgrade": (),
}


def missing_internals() -> Iterator[str]:
    """Yield those of `INTERNALS` that the installed versions lack or do not use."""
    for place, names in INTERNALS.items():
        module, _, path = place.partition(":")
        try:
            function: Any = inspect.unwrap(attrgetter(path)(import_module(module)))
        except (ImportError, AttributeError):
            yield path
            continue
        used = _names_in(function)
        yield from (f"{path}: {name}" for name in names if name not in used)


def _names_in(function: Any) -> set[str]:
    """Return a function's parameters, and the variables and attributes that it uses."""
    code = function.__code__ if isinstance(function, FunctionType) else None
    return {*code.co_names, *code.co_varnames, *code.co_freevars} if code else set()


def check_gradio() -> None:
    """Check that the installed Gradio and uvicorn have the internals that the app needs.

    Raises:
        DreamError: If they do not; the message names the version to install.
    """
    for missing in missing_internals():
        raise DreamError(
            f"Gradio {version('gradio')} with uvicorn {version('uvicorn')} lacks {missing}, "
            f"which the app's limits need; pip install gradio=={TESTED_VERSION} -c constraints.txt"
        )
