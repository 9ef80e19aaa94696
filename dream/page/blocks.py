"""Gradio's Blocks, made to give handlers no file but uploaded ones, and how uploads are named."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.context import Context
from gradio.data_classes import BlocksConfigDict
from gradio.state_holder import SessionState
from gradio.utils import get_upload_folder

from dream.errors import DreamError, to_printable_line
from dream.page.addresses import public_address
from dream.page.call_limits import CallLimits, CallQueue, check_session, thread_limiter
from dream.page.event_values import INVALID_VALUE, check_event, check_text, check_value

# What may be uploaded, or lie at the end of a link.
MAX_UPLOAD_BYTES = 50_000_000
FILE_META = {"_type": "gradio.FileData"}
NOT_UPLOADED_MESSAGE = "only pictures that were uploaded here, or links to some, can be used"
FILE_GONE_MESSAGE = "this file is no longer kept here; upload it again, or reload the page"
# An upload by its folder, which is named for its content or at random, and its own name.
UPLOAD_NAME = re.compile(r"(?:[0-9a-f]{32}|[0-9a-f]{64})/[^/\0]{1,255}")


def find_files(data: Any) -> Iterator[dict[str, Any]]:
    """All that names a file in what was sent, however deep."""
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
    """Return a copy of what describes components, which names uploads as `upload_name` does."""
    if isinstance(data, dict):
        return {name: _strip_upload_folder(each) for name, each in data.items()}
    if isinstance(data, (list, tuple)):
        return [_strip_upload_folder(each) for each in data]
    return data.replace(f"{get_upload_folder()}/", "") if isinstance(data, str) else data


def _is_camera_frame(block: Any, value: Any) -> bool:
    """Whether that is a camera's picture, which comes in the body and names no file."""
    return hasattr(block, "sends_pictures") and isinstance(value, dict) and not value.get("path")


def is_uploaded(path: Any) -> bool:
    """Whether that is the path of a regular file in the folder of uploads, links resolved."""
    try:
        file = Path(path).resolve()
        return file.is_relative_to(Path(get_upload_folder()).resolve()) and file.is_file()
    except (OSError, TypeError, ValueError, RuntimeError):
        return False


def upload_name(path: Any) -> str:
    """What an upload is called wherever the folder of uploads is: after a restart it is another."""
    return "/".join(Path(path).parts[-2:]) if isinstance(path, str) else ""


def upload_path(name: Any) -> str:
    """Where an upload of that name lies here, if it still does; "" if none has such a name."""
    is_valid = isinstance(name, str) and UPLOAD_NAME.fullmatch(name)
    return os.path.join(get_upload_folder(), name) if is_valid else ""


def _resolve_upload(path: Any) -> str:
    """The path of that upload here: a page that was opened before a restart names a folder of then.

    Raises:
        DreamError: if there is none.
    """
    for candidate in (path, local_path := upload_path(upload_name(path))):
        if is_uploaded(candidate):
            return str(candidate)
    raise DreamError(FILE_GONE_MESSAGE if local_path else NOT_UPLOADED_MESSAGE)


def check_before_queue(event: Any, check: Callable[..., Any]) -> None:
    """Before an event of the page being built waits in line, `check` what was sent, as it came.

    What it raises, if that is a DreamError, is the answer.
    """
    page = Context.root_block
    assert isinstance(page, ValidatedBlocks)
    page.checks[event["id"]] = check


class ValidatedBlocks(gr.Blocks):
    """Blocks whose handlers get no file but uploaded ones, whoever calls them.

    `checks` are those of events, by their numbers.
    """

    _queue: CallQueue

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.checks: dict[int, Callable[..., Any]] = {}
        self._limits = CallLimits()

    @property
    def limiter(self) -> Any:
        """What limits the threads of the call under way, as Gradio asks for it."""
        return thread_limiter()

    @limiter.setter
    def limiter(self, limiter: Any) -> None:
        """Gradio has one for all, which is not taken."""

    def get_config_file(self) -> BlocksConfigDict:
        """What browsers are told of the page: to hold no connection while nothing runs.

        They have six to a host, so that a seventh page would stay blank. By the one of each page
        Gradio knows who has gone, whose state it forgets in an hour; here the latest visits push
        it out (see `sessions`), and `_end_streams` ends what nobody looks at.
        """
        config = super().get_config_file()
        config["connect_heartbeat"] = False
        config["components"] = _strip_upload_folder(config["components"])
        return config

    def queue(self, *args: Any, **kwargs: Any) -> Any:
        """Have events wait in a `CallQueue`, with these settings of Gradio's queue."""
        super().queue(*args, **kwargs)
        self._queue = CallQueue.from_queue(self._queue)
        return self

    async def process_api(self, block_fn: Any, inputs: list[Any], *args: Any, **kwargs: Any) -> Any:
        """What an event answers: at once if Gradio's queue sends it, else when its turn comes.

        Raises:
            gr.Error: in one line, if it is none of the page's events, or too many wait.
        """
        fn = self.fns[block_fn] if isinstance(block_fn, int) else block_fn
        try:
            if not fn.fn:
                raise DreamError(f"{INVALID_VALUE}: this event runs in the browser alone")
            check_session(kwargs.get("session_hash"))
            check_text([kwargs.get("session_hash"), inputs])
            if kwargs.get("event_id"):
                return await super().process_api(fn, inputs, *args, **kwargs)
            client = getattr(kwargs.get("request"), "client", None)  # Of a call over HTTP.
            address = public_address(client.host) if client else ""
            session = kwargs.get("session_hash")
            async with self._limits.admit(session, fn.concurrency_id, address):
                return await super().process_api(fn, inputs, *args, **kwargs)
        except DreamError as error:
            raise gr.Error(str(error), print_exception=False) from error

    async def preprocess_data(self, block_fn: Any, inputs: list[Any], *args: Any) -> list[Any]:
        """What the handler is given.

        Raises:
            gr.Error: in one line, if it names other files, or does not fit the fields.
        """
        try:
            values = list(zip(block_fn.inputs, inputs, strict=False))
            values = [
                (block, value) for block, value in values if not _is_camera_frame(block, value)
            ]
            for block, value in values:
                has_path = isinstance(value, dict) and value.get("path")
                if isinstance(block, gr.Image) and not (has_path or value is None):
                    raise DreamError(f'{block.label} must be a file, as {{"path": "https://…"}}')
                if block_fn.api_visibility != "public":  # Recipes say what is wrong with others.
                    check_value(block, value)
            for file in find_files([value for _, value in values]):
                file |= {"path": _resolve_upload(file.get("path")), "meta": FILE_META}
            arguments: list[Any] = await super().preprocess_data(block_fn, inputs, *args)
        except gr.Error as error:
            raise gr.Error(to_printable_line(str(error.message)), print_exception=False) from error
        except DreamError as error:
            raise gr.Error(str(error), print_exception=False) from error
        except Exception as error:  # Gradio's components raise anything on values of other kinds.
            reason = DreamError(f"{INVALID_VALUE}: {str(error).strip()[:200]}")
            raise gr.Error(str(reason), print_exception=False) from error
        return arguments

    async def call_function(self, block_fn: Any, *args: Any, **kwargs: Any) -> Any:
        """What the handler answers; what is wrong with a recipe is an answer, no fault of ours."""
        try:
            state = next((each for each in args if isinstance(each, SessionState)), None)
            for event in [each for each in args if isinstance(each, gr.EventData)]:
                if block_fn.collects_event_data:
                    check_event(block_fn, event, state)
                # A click on a picture of a gallery names its file; a camera's frame names none.
                for file in find_files(event._data):
                    if path := file.get("path"):
                        file["path"] = _resolve_upload(path)
            return await super().call_function(block_fn, *args, **kwargs)
        except DreamError as error:
            raise gr.Error(str(error), print_exception=False) from error
