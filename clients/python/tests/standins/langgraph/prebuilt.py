"""A stand-in: ../README.md."""

from __future__ import annotations

import dataclasses
from typing import Any


@dataclasses.dataclass
class ToolCallRequest:
    tool_call: dict[str, Any]
    tool: Any
    state: Any = None
    runtime: Any = None

    def override(self, **changes: Any) -> ToolCallRequest:
        return dataclasses.replace(self, **changes)


class ToolNode:
    def __init__(self, tools: list[Any], *, wrap_tool_call: Any = None, awrap_tool_call: Any = None) -> None:
        self._tools = {tool.name: tool for tool in tools}
        self._wrap, self._awrap = wrap_tool_call, awrap_tool_call

    def run(self, message: Any) -> list[Any]:
        def execute(request: ToolCallRequest) -> Any:
            return request.tool.invoke({**request.tool_call, "type": "tool_call"})

        requests = [ToolCallRequest(call, self._tools[call["name"]]) for call in message.tool_calls]
        return [self._wrap(r, execute) if self._wrap else execute(r) for r in requests]

    async def arun(self, message: Any) -> list[Any]:
        async def execute(request: ToolCallRequest) -> Any:
            return await request.tool.ainvoke({**request.tool_call, "type": "tool_call"})

        requests = [ToolCallRequest(call, self._tools[call["name"]]) for call in message.tool_calls]
        return [await (self._awrap(r, execute) if self._awrap else execute(r)) for r in requests]
