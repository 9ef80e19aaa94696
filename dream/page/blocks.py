"""A subclass of Gradio's Blocks that checks what clients send with an event; names of uploads.

Gradio's components check little. An error after these checks is a bug of ours and is logged.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.context import Context
from gradio.data_classes import BlocksConfigDict
from gradio.state_holder import SessionState
from gradio.utils import get_upload_folder

from dream.errors import DreamError
from dream.page.call_limits import CallLimits, CallQueue, call_limiter, check_session
from dream.page.ip_addresses import public_address

# Limit for an upload and for a file behind a link.
MAX_UPLOAD_BYTES = 50_000_000
# In one upload, and in "Several photos".
MAX_PHOTOS = 10
# The server deletes older uploads and results; the page says so beside each upload.
MAX_FILE_AGE_SECONDS = 86_400.0
INVALID_REQUEST = "invalid request"
FILE_META = {"_type": "gradio.FileData"}
NOT_UPLOADED_MESSAGE = "this file was not uploaded; upload it first, or give a link to it"
FILE_GONE_MESSAGE = "this file is no longer on the server; upload it again, or reload the page"
# Folder (a hash of the content, or random) and file name of an upload.
UPLOAD_NAME = re.compile(r"(?:[0-9a-f]{32}|[0-9a-f]{64})/[^/\0]{1,255}")


def find_files(data: Any) -> Iterator[dict[str, Any]]:
    """Yield each dict with a path or URL in nested request data."""
    pending = [data]
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            if value.get("path") or value.get("url"):
                yield value
            pending += value.values()
        elif isinstance(value, list):
            pending += value


def _strip_upload_folder(data: Any) -> Any:
    """Return a copy of a component config with uploads named as by `upload_name`."""
    if isinstance(data, dict):
        return {name: _strip_upload_folder(each) for name, each in data.items()}
    if isinstance(data, (list, tuple)):
        return [_strip_upload_folder(each) for each in data]
    return data.replace(f"{get_upload_folder()}/", "") if isinstance(data, str) else data


def _is_camera_frame(block: Any, value: Any) -> bool:
    """Return whether the value is a camera frame, which comes in the body and names no file."""
    return hasattr(block, "sends_pictures") and isinstance(value, dict) and not value.get("path")


def is_uploaded(path: Any) -> bool:
    """Return whether a path, with links resolved, is a regular file in the upload folder."""
    try:
        file = Path(path).resolve()
        return file.is_relative_to(Path(get_upload_folder()).resolve()) and file.is_file()
    except (OSError, TypeError, ValueError, RuntimeError):
        return False


def upload_name(path: Any) -> str:
    """Return "folder/file" of an upload; the upload folder itself changes with a restart."""
    return "/".join(Path(path).parts[-2:]) if isinstance(path, str) else ""


def upload_path(name: Any) -> str:
    """Return the path of an upload, which may be deleted; "" if the name is invalid."""
    is_valid = isinstance(name, str) and UPLOAD_NAME.fullmatch(name)
    return os.path.join(get_upload_folder(), name) if is_valid else ""


def _resolve_upload(path: Any) -> str:
    """Return the current path of an upload; a page opened before a restart sends an old path.

    Raises:
        DreamError: if the file does not exist or is no upload.
    """
    for candidate in (path, local_path := upload_path(upload_name(path))):
        if is_uploaded(candidate):
            return str(candidate)
    raise DreamError(FILE_GONE_MESSAGE if local_path else NOT_UPLOADED_MESSAGE)


def _check_text(data: Any) -> None:
    """Raise DreamError if request data has half of a surrogate pair, which UTF-8 cannot spell."""
    try:
        json.dumps(data, ensure_ascii=False, default=repr).encode()
    except UnicodeEncodeError as error:
        raise DreamError(f"{INVALID_REQUEST}: a text has half of a surrogate pair") from error


def _check_value(block: Any, value: Any) -> None:
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


def _check_event(fn: Any, event: Any, state: Any) -> None:
    """Check that an event belongs to its component, and that a selection has a valid index.

    `fn` is the page's event; the session's `state` may have its own components.

    Raises:
        DreamError: if it does not.
    """
    _check_text(event._data)
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


def check_before_queue(event: Any, check: Callable[..., Any]) -> None:
    """Register `check` to validate the raw inputs of an event before the event is queued.

    The client receives the text of a DreamError that `check` raises.
    """
    page = Context.root_block
    assert isinstance(page, ValidatedBlocks)
    page.checks[event["id"]] = check


class ValidatedBlocks(gr.Blocks):
    """Blocks whose handlers receive only uploaded files; `checks` are by event number."""

    _queue: CallQueue

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.checks: dict[int, Callable[..., Any]] = {}
        self.limits = CallLimits()

    @property
    def limiter(self) -> Any:
        """Thread limiter of the current call, which Gradio reads."""
        return call_limiter.get()

    @limiter.setter
    def limiter(self, limiter: Any) -> None:
        """Ignore Gradio's limiter, which is shared by all calls."""

    def get_config_file(self) -> BlocksConfigDict:
        """Return the page config, without the heartbeat connection.

        A browser opens six connections per host, so a seventh page would stay blank. Gradio uses
        the heartbeat to drop the state of closed pages after an hour; here newer sessions replace
        old ones (see `sessions`), and `AnswerReaders` ends streams without a reader.
        """
        config = super().get_config_file()
        config["connect_heartbeat"] = False
        config["components"] = _strip_upload_folder(config["components"])
        return config

    def queue(self, *args: Any, **kwargs: Any) -> Any:
        """Replace Gradio's queue by a `CallQueue` with the same settings."""
        super().queue(*args, **kwargs)
        self._queue = CallQueue(self._queue)
        return self

    async def process_api(self, block_fn: Any, inputs: list[Any], *args: Any, **kwargs: Any) -> Any:
        """Return the result of an event; calls outside Gradio's queue wait for `CallLimits`.

        Raises:
            gr.Error: with the text of a DreamError, which is shown to the client and not logged.
        """
        fn = self.fns[block_fn] if isinstance(block_fn, int) else block_fn
        try:
            if not fn.fn:
                raise DreamError(f"{INVALID_REQUEST}: this event runs in the browser only")
            check_session(kwargs.get("session_hash"))
            _check_text([kwargs.get("session_hash"), inputs])
            if kwargs.get("event_id"):
                return await super().process_api(fn, inputs, *args, **kwargs)
            client = getattr(kwargs.get("request"), "client", None)  # Only HTTP calls have one.
            address = public_address(client.host) if client else ""
            session = kwargs.get("session_hash")
            async with self.limits.admit(session, fn.concurrency_id, address):
                return await super().process_api(fn, inputs, *args, **kwargs)
        except DreamError as error:
            raise gr.Error(str(error), print_exception=False) from error

    async def preprocess_data(self, block_fn: Any, inputs: list[Any], *args: Any) -> list[Any]:
        """Return the arguments of the handler; raise DreamError if one is invalid."""
        try:
            values = list(zip(block_fn.inputs, inputs, strict=False))
            values = [
                (block, value) for block, value in values if not _is_camera_frame(block, value)
            ]
            for block, value in values:
                has_path = isinstance(value, dict) and value.get("path")
                if isinstance(block, gr.Image) and not (has_path or value is None):
                    raise DreamError(f'{block.label} must be a file, as {{"path": "https://…"}}')
                if block_fn.api_visibility != "public":  # Recipes check API values.
                    _check_value(block, value)
            for file in find_files([value for _, value in values]):
                file |= {"path": _resolve_upload(file.get("path")), "meta": FILE_META}
            arguments: list[Any] = await super().preprocess_data(block_fn, inputs, *args)
        except gr.Error as error:
            raise DreamError(str(error.message)) from error
        except DreamError:
            raise
        except Exception as error:  # Gradio's components raise anything for wrong types.
            raise DreamError(f"{INVALID_REQUEST}: {str(error).strip()[:200]}") from error
        return arguments

    async def call_function(self, block_fn: Any, *args: Any, **kwargs: Any) -> Any:
        """Return the handler's result; raise DreamError if an event or its file is invalid."""
        state = next((each for each in args if isinstance(each, SessionState)), None)
        for event in [each for each in args if isinstance(each, gr.EventData)]:
            if block_fn.collects_event_data:
                _check_event(block_fn, event, state)
            # A click in a gallery names the file of an image; a camera frame names none.
            for file in find_files(event._data):
                if path := file.get("path"):
                    file["path"] = _resolve_upload(path)
        return await super().call_function(block_fn, *args, **kwargs)
