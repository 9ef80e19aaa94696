"""Tabs without an app, whose handlers a test calls."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

import gradio as gr

from dream.page.blocks import ValidatedBlocks
from dream.page.tabs.deep_dream import DreamTab
from dream.service.job_runner import JobRunner

Made = TypeVar("Made")


def build_in_loop(make: Callable[[], Made]) -> Made:
    """Call `make` in an event loop, since Gradio would else start one and leave it open."""

    async def call() -> Made:
        return make()

    return asyncio.run(call())


def build_tab(make: Callable[[gr.Blocks], Made]) -> Made:
    """Build a tab on a page of its own."""

    def build() -> Made:
        with ValidatedBlocks() as page:
            return make(page)

    return build_in_loop(build)


def build_dream_tab(runner: JobRunner) -> DreamTab:
    """Build the "Deep Dream" tab."""
    return build_tab(lambda page: DreamTab(runner))
