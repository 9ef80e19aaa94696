"""An MCP client for `test_mcp`, which runs it as a process of its own, with gradio's extra "mcp".

    python -m tests.support.mcp_client ADDRESS <calls.jsonl >answers.jsonl

Each line has calls for a session of their own, a call is [tool, arguments, whether to ask for
progress]. The answer holds the tools that the server lists, and what each call brought.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any


async def call_tools(address: str, calls: list[tuple[str, dict[str, Any], bool]]) -> dict[str, Any]:
    """List the tools, make the calls one after the other, and give all of it as plain data."""
    # Here, since pytest imports this file where there is no mcp.
    from mcp import ClientSession
    from mcp.client.streamable_http import streamable_http_client

    async def progressed(done: float, total: float | None, message: str | None) -> None:
        pass

    async with (
        streamable_http_client(f"{address}/gradio_api/mcp/") as (incoming, outgoing, *_),
        ClientSession(incoming, outgoing) as session,
    ):
        server = (await session.initialize()).serverInfo.name
        tools = (await session.list_tools()).tools
        results = [
            await session.call_tool(
                tool, arguments, progress_callback=progressed if progress else None
            )
            for tool, arguments, progress in calls
        ]
    return {
        "server": server,
        "tools": [tool.model_dump() for tool in tools],
        "results": [result.model_dump() for result in results],
    }


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(asyncio.run(call_tools(sys.argv[1], json.loads(line)))), flush=True)
