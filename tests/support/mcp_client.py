"""An MCP client that `test_mcp` runs as a subprocess with gradio's extra "mcp".

    python -m tests.support.mcp_client ADDRESS <calls.jsonl >answers.jsonl

Each line holds the calls of one session, each as [tool, arguments, whether to ask for progress].
The answer holds the tools that the server lists and the result of each call.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any


async def call_tools(address: str, calls: list[tuple[str, dict[str, Any], bool]]) -> dict[str, Any]:
    """List the tools, make the calls in turn, and return both as plain data."""
    # Imported here, since pytest imports this file without mcp.
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
