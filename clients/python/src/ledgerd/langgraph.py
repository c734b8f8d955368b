"""LangGraph and LangChain: tools that ask before they act.

    wrap = tool_calls(run)                                   # of a Run; async_tool_calls of an AsyncRun
    node = ToolNode([send_email], wrap_tool_call=wrap)

Each tool call of the model is a step, named by the tool and the call's ID, which is the same when the graph is
resumed from its checkpoint: a call that is on record is not made again. What is denied, or failed, is told to the model as an
error message. What waits for a human or is in doubt is raised, and ends the graph's run until it is run again.

Leave handle_tool_errors of the ToolNode as it is by default: with True, a timeout would look like a refusal. Ask
humans by policy; a tool that calls interrupt() is in doubt.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from langchain_core.messages import ToolMessage
from langchain_core.tools import BaseTool, StructuredTool, ToolException
from langgraph.errors import GraphBubbleUp

from .aio import AsyncRun
from .client import Run
from .errors import Denied, Failed, ToolError
from .governed import call_step, next_step

Options = Callable[[str, dict[str, Any]], Mapping[str, Any]]
"""Options of `Run.step` for a call, by the tool's name and its arguments: its resource, whether it is idempotent."""


def tool_calls(run: Run, options: Options | None = None) -> Callable[[Any, Callable[[Any], Any]], Any]:
    """wrap_tool_call of a ToolNode."""

    def wrap(request: Any, execute: Callable[[Any], Any]) -> Any:
        call, made = request.tool_call, _Made()

        def function(args: dict[str, Any]) -> Any:
            try:
                return made.recorded(execute(_with(request, args)))
            except GraphBubbleUp as e:
                raise _interrupted(e) from e

        try:
            return made.message(call, run.step(*_named(call), function, call["args"], **_more(call, options)))
        except (Denied, Failed) as e:
            return _error(call, e)

    return wrap


def async_tool_calls(run: AsyncRun, options: Options | None = None) -> Callable[[Any, Callable[[Any], Awaitable[Any]]], Awaitable[Any]]:
    """awrap_tool_call of a ToolNode."""

    async def wrap(request: Any, execute: Callable[[Any], Awaitable[Any]]) -> Any:
        call, made = request.tool_call, _Made()

        async def function(args: dict[str, Any]) -> Any:
            try:
                return made.recorded(await execute(_with(request, args)))
            except GraphBubbleUp as e:
                raise _interrupted(e) from e

        try:
            return made.message(call, await run.step(*_named(call), function, call["args"], **_more(call, options)))
        except (Denied, Failed) as e:
            return _error(call, e)

    return wrap


def governed(run: Run | AsyncRun, tool: BaseTool, **options: Any) -> StructuredTool:
    """One tool as one that asks, wherever LangChain takes a tool. Its steps are NAME:1, NAME:2 and so on: where a
    model calls it several times at once, take `tool_calls`. A tool with injected arguments wants that, too."""
    more: dict[str, Any] = {"action": tool.name, "tool": tool.name, **options}

    def call(args: dict[str, Any]) -> dict[str, Any]:
        return {"type": "tool_call", "name": tool.name, "args": args, "id": tool.name}

    def asks(**args: Any) -> Any:
        assert isinstance(run, Run)
        try:
            return run.step(next_step(run, tool.name), lambda args: _recorded(tool.invoke(call(args))), args, **more)
        except (Denied, Failed) as e:
            raise ToolException(str(e)) from e

    async def asks_async(**args: Any) -> Any:
        assert isinstance(run, AsyncRun)

        async def function(args: dict[str, Any]) -> Any:
            return _recorded(await tool.ainvoke(call(args)))

        try:
            return await run.step(next_step(run, tool.name), function, args, **more)
        except (Denied, Failed) as e:
            raise ToolException(str(e)) from e

    schema = tool.tool_call_schema
    return StructuredTool.from_function(
        func=asks if isinstance(run, Run) else None, coroutine=asks_async if isinstance(run, AsyncRun) else None,
        name=tool.name, description=tool.description, handle_tool_error=True,
        # As JSON Schema, so that the arguments come as the model wrote them.
        args_schema=schema if isinstance(schema, dict) else schema.model_json_schema(),
    )  # fmt: skip


class _Made:
    """The message that the tool gave, where it was called now: it may hold more than is recorded."""

    def __init__(self) -> None:
        self._message: Any = None

    def recorded(self, message: Any) -> Any:
        self._message = message
        return _recorded(message)

    def message(self, call: Mapping[str, Any], output: Any) -> Any:
        if self._message is not None:
            return self._message
        if output is None:
            raise TypeError(f"the tool {call['name']!r} gave no ToolMessage when it was called, and what it gave is not on record")
        return ToolMessage(content=output, name=call["name"], tool_call_id=call["id"])


def _recorded(message: Any) -> Any:
    if not isinstance(message, ToolMessage):
        return None
    if message.status == "error":
        raise ToolError("tool_failed", str(message.content))
    return message.content


def _interrupted(e: BaseException) -> ToolError:
    return ToolError("outcome_unknown", f"the graph was interrupted in the tool: {type(e).__name__}")


def _with(request: Any, args: dict[str, Any]) -> Any:
    return request.override(tool_call={**request.tool_call, "args": args})


def _named(call: Mapping[str, Any]) -> tuple[str]:
    return (call_step(call["name"], call["id"]),)


def _more(call: Mapping[str, Any], options: Options | None) -> dict[str, Any]:
    more = options(call["name"], dict(call["args"])) if options is not None else {}
    return {"action": call["name"], "tool": call["name"], **more}


def _error(call: Mapping[str, Any], e: Exception) -> Any:
    return ToolMessage(content=str(e), name=call["name"], tool_call_id=call["id"], status="error")
