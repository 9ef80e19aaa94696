"""What the server keeps of a visit: what was changed in it, as long as there is room.

Gradio keeps a session, with the configuration of every component, for whoever calls anything, and
lets the one that was used longest ago give way to the next.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from types import SimpleNamespace
from typing import Any
from weakref import WeakValueDictionary

import gradio as gr
import gradio.mcp
import gradio.route_utils
from gradio.state_holder import SessionState, StateHolder

# Some tens of kilobytes each; what a stranger sends as a state may be two million.
MAX_SESSIONS, MAX_STATE_BYTES = 500, 50_000_000


def state_bytes(value: Any) -> int:
    """What a state of JSON takes in memory, roughly."""
    if isinstance(value, dict):
        return 100 + sum(map(state_bytes, (*value, *value.values())))
    if isinstance(value, list | tuple):
        return 100 + sum(map(state_bytes, value))
    return 50 + (len(value) if isinstance(value, str | bytes) else 0)


def _looks(component: Any) -> dict[str, Any]:
    """What a component was made with, but for its value, which the browser holds."""
    about = component.constructor_args.items()
    return {name: each for name, each in about if name not in ("value", "render")}


class Session(SessionState):
    """The states of a visit, and the components that look otherwise than on the page as it opens.

    `keep` is called with it when something is put into it.
    """

    def __init__(self, blocks: gr.Blocks, keep: Callable[[Session], None]) -> None:
        # Of no blocks: Gradio would take down how each of them is configured, for deep links.
        page: Any = SimpleNamespace(default_config=blocks.default_config, blocks=())
        super().__init__(page)
        self.keep, self.size = keep, 0

    def __setitem__(self, key: int, value: Any) -> None:
        block = self.blocks_config.blocks.get(key)
        # Gradio makes a component anew for each change, even if only its value changes, or nothing.
        if block and not block.stateful and _looks(block) == _looks(value):
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
    """The sessions of those visits in which something was changed, the latest last."""

    def __init__(self, blocks: gr.Blocks) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.set_blocks(blocks)
        # Of the others, as long as an event uses one, so that two at a time use the same.
        self._in_use: WeakValueDictionary[str, Session] = WeakValueDictionary()

    def __getitem__(self, session_id: str) -> SessionState:
        session = self.session_data.get(session_id) or self._in_use.get(session_id)
        if session is None:
            session = Session(self.blocks, partial(self._keep, session_id))
            self._in_use[session_id] = session
        session.is_closed = False  # One whose line was cut is back.
        self.update(session_id)
        return session

    def _keep(self, session_id: str, session: Session) -> None:
        self.session_data[session_id] = session
        self.update(session_id)

    def update(self, session_id: str) -> None:
        """Note that it is used now; where there are too many, the oldest gives way in which there
        is nothing that a visitor made, or else the oldest; where they take too much, the largest.
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


@asynccontextmanager
async def keep_sessions(app: Any) -> AsyncIterator[None]:
    """For the life of a server, in the place of Gradio's own holder: its `lifespan`."""
    app.state_holder = Sessions(app.get_blocks())
    # A call of no session has one of its own; Gradio's takes a tenth of a second of everybody's.
    for module in (gradio.route_utils, gradio.mcp):
        vars(module)["SessionState"] = lambda blocks: Session(blocks, lambda session: None)
    yield
