"""Store for each visit only what it changed, within a memory limit.

Gradio stores a session with the configuration of every component for each caller, and drops the
least recently used one.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any
from weakref import WeakValueDictionary

import gradio as gr
import gradio.mcp
import gradio.route_utils
from gradio.state_holder import SessionState, StateHolder

# Sessions take some tens of kilobytes; a stranger's state may take two megabytes.
MAX_SESSIONS, MAX_STATE_BYTES = 500, 50_000_000


def state_bytes(value: Any) -> int:
    """Return roughly how many bytes a JSON state takes in memory."""
    if isinstance(value, dict):
        return 100 + sum(map(state_bytes, (*value, *value.values())))
    if isinstance(value, list | tuple):
        return 100 + sum(map(state_bytes, value))
    return 50 + (len(value) if isinstance(value, str | bytes) else 0)


def _config_arguments(component: Any) -> dict[str, Any]:
    """Return a component's arguments except its value, which the browser has."""
    arguments = component.constructor_args.items()
    return {name: value for name, value in arguments if name not in ("value", "render")}


class Session(SessionState):
    """The state of a visit, and its components that differ from the page as it opens.

    It calls `keep` with itself when something is stored in it.
    """

    def __init__(self, blocks: gr.Blocks, keep: Callable[[Session], None]) -> None:
        # Without blocks: Gradio would store the configuration of each of them, for deep links.
        page: Any = SimpleNamespace(default_config=blocks.default_config, blocks=())
        super().__init__(page)
        self.keep, self.size = keep, 0

    def __setitem__(self, key: int, value: Any) -> None:
        block = self.blocks_config.blocks.get(key)
        # Gradio rebuilds a component for each update, even if only its value changes, or nothing.
        if block and not block.stateful and _config_arguments(block) == _config_arguments(value):
            return
        super().__setitem__(key, value)
        self.config_values.clear()
        self.size = state_bytes(self.state_data)
        self.keep(self)

    def _update_config(self, key: int) -> None:
        pass

    def _update_value_in_config(self, key: int, value: Any) -> None:
        pass


class Sessions(StateHolder):
    """The sessions of visits that changed something, the latest last."""

    def __init__(self, blocks: gr.Blocks) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.set_blocks(blocks)
        # Unchanged sessions that an event uses, so that concurrent events share one.
        self._in_use: WeakValueDictionary[str, Session] = WeakValueDictionary()

    def __getitem__(self, session_id: str) -> SessionState:
        session = self.session_data.get(session_id) or self._in_use.get(session_id)
        if session is None:
            session = Session(self.blocks, partial(self._keep, session_id))
            self._in_use[session_id] = session
        session.is_closed = False  # A visitor whose connection broke is back.
        self.update(session_id)
        return session

    def _keep(self, session_id: str, session: Session) -> None:
        self.session_data[session_id] = session
        self.update(session_id)

    def update(self, session_id: str) -> None:
        """Record that a session is used now, and drop others above the limits.

        Of too many, the oldest with empty states is dropped, else the oldest. Above the memory
        limit, the largest is dropped.
        """
        with self.lock:
            if session_id in self.session_data:
                self.session_data.move_to_end(session_id)
            if len(self.session_data) > self.capacity:
                *others, _ = self.session_data.items()
                empty = (name for name, each in others if not any(each.state_data.values()))
                del self.session_data[next(empty, others[0][0])]
            sizes = {name: getattr(each, "size", 0) for name, each in self.session_data.items()}
            while sum(sizes.values()) > MAX_STATE_BYTES:
                largest = max(sizes, key=sizes.__getitem__)
                del self.session_data[largest], sizes[largest]


def replace_session_store(app: Any) -> None:
    """Make the server use `Sessions` as its session store."""
    app.state_holder = Sessions(app.get_blocks())
    # Calls without a session get a temporary `Session`; Gradio's own would stall the server 0.1 s.
    for module in (gradio.route_utils, gradio.mcp):
        vars(module)["SessionState"] = lambda blocks: Session(blocks, lambda session: None)
