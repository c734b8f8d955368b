"""A stand-in: ../README.md. The schema of a function's arguments is not made."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from .messages import ToolMessage


class ToolException(Exception):
    pass


class BaseTool:
    name: str
    description: str
    tool_call_schema: Any
    handle_tool_error: bool

    def invoke(self, input: dict[str, Any]) -> Any: ...

    async def ainvoke(self, input: dict[str, Any]) -> Any: ...


class StructuredTool(BaseTool):
    def __init__(
        self, func: Callable[..., Any] | None, coroutine: Callable[..., Awaitable[Any]] | None, name: str, description: str,
        args_schema: Any, handle_tool_error: bool,
    ) -> None:  # fmt: skip
        self.func, self.coroutine, self.name, self.description = func, coroutine, name, description
        self.tool_call_schema, self.handle_tool_error = args_schema, handle_tool_error

    @classmethod
    def from_function(
        cls, func: Callable[..., Any] | None = None, coroutine: Callable[..., Awaitable[Any]] | None = None, name: str = "",
        description: str = "", args_schema: Any = None, handle_tool_error: bool = False,
    ) -> StructuredTool:  # fmt: skip
        return cls(func, coroutine, name, description, args_schema or {"type": "object"}, handle_tool_error)

    def invoke(self, input: dict[str, Any]) -> Any:
        if self.func is None:
            raise NotImplementedError("StructuredTool does not support sync invocation.")
        try:
            return _formatted(input, self.func(**_args(input)), "success")
        except ToolException as e:
            if not self.handle_tool_error:
                raise
            return _formatted(input, str(e), "error")

    async def ainvoke(self, input: dict[str, Any]) -> Any:
        if self.coroutine is None:
            return self.invoke(input)
        try:
            return _formatted(input, await self.coroutine(**_args(input)), "success")
        except ToolException as e:
            if not self.handle_tool_error:
                raise
            return _formatted(input, str(e), "error")


def tool(function: Callable[..., Any]) -> StructuredTool:
    return StructuredTool.from_function(function, name=function.__name__, description=function.__doc__ or "")


def _args(input: dict[str, Any]) -> dict[str, Any]:
    args: dict[str, Any] = input["args"] if input.get("type") == "tool_call" else input
    return args


def _formatted(input: dict[str, Any], content: Any, status: str) -> Any:
    if input.get("type") != "tool_call" or not isinstance(content, (str, list)):
        return content
    return ToolMessage(content, input["id"], input["name"], status)
