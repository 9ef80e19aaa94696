"""Library internals that the app relies on, and what libraries log."""

from __future__ import annotations

import logging

import gradio as gr
import pytest
from gradio.queueing import Queue

from dream import DreamError
from dream.page.server.gradio_internals import INTERNALS, check_gradio, missing_internals
from dream.page.server.log_limits import INPUT_LOGGERS, RateLimitFilter


def test_the_installed_gradio_has_what_the_bounds_rest_on() -> None:
    assert list(missing_internals()) == []
    assert len(INTERNALS) > 20
    check_gradio()


def test_a_gradio_that_lost_some_of_it_ends_the_start_in_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def push(self: object, event: object) -> None: ...

    with monkeypatch.context() as change:
        change.delattr(gr.Blocks, "get_config_file")
        with pytest.raises(DreamError, match=r"lacks Blocks.get_config_file") as refusal:
            check_gradio()
        assert str(refusal.value).isprintable() and "pip install gradio==" in str(refusal.value)
    with monkeypatch.context() as change:
        change.setattr(Queue, "push", push)
        assert "Queue.push: pending_messages_per_session" in list(missing_internals())


def test_a_strangers_warnings_silence_no_other_library() -> None:
    once = RateLimitFilter(loggers=INPUT_LOGGERS)

    def passes(name: str, level: int = logging.WARNING) -> bool:
        return once.filter(logging.LogRecord(name, level, "", 0, "said", (), None))

    assert passes("python_multipart.multipart")
    assert not passes("python_multipart.multipart") and not passes("uvicorn.error")
    assert passes("torch.cuda") and passes("huggingface_hub.file_download") and passes("torch.cuda")
    assert passes("uvicorn.error", logging.ERROR)


def test_what_strangers_can_have_said_is_said_once_a_minute_in_a_line() -> None:
    said = logging.makeLogRecord(
        {"name": "asyncio", "msg": "Invalid\nsocket: 7", "args": (1,), "exc_info": (1,)}
    )
    once = RateLimitFilter("Invalid")
    assert once.filter(said) and said.getMessage() == "Invalid" and not said.exc_info
    assert not once.filter(said)
    assert once.filter(logging.makeLogRecord({"name": "x", "msg": "other"}))
