"""A stand-in: ../README.md. The schema of a function's arguments is not made."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

T = TypeVar("T")
A = TypeVar("A")
_BY_DEFAULT: Any = object()


@dataclass
class Agent(Generic[T]):
    name: str
    tools: list[Any] = field(default_factory=list)
    handoffs: list[Any] = field(default_factory=list)


@dataclass
class FunctionTool:
    name: str
    description: str
    params_json_schema: dict[str, Any]
    on_invoke_tool: Callable[[Any, str], Awaitable[Any]]
    _use_default_failure_error_function: bool = True
    _failure_error_function: Any = None


class _Invoker:
    """Calls a function, and hides its errors from who calls it, as the SDK does by default."""

    def __init__(self, function: Callable[..., Any], failed: Any) -> None:
        self._function, self._failed = function, failed

    def __agents_bind_function_tool__(self, tool: FunctionTool) -> _Invoker:
        return self

    async def __call__(self, context: Any, arguments: str) -> Any:
        try:
            result = self._function(**json.loads(arguments))
            return await result if isinstance(result, Awaitable) else result
        except Exception as e:
            if self._failed is None:
                raise
            return f"An error occurred: {e}" if self._failed is _BY_DEFAULT else self._failed(context, e)


def function_tool(function: Callable[..., Any], *, failure_error_function: Any = _BY_DEFAULT) -> FunctionTool:
    by_default = failure_error_function is _BY_DEFAULT
    return FunctionTool(
        function.__name__, function.__doc__ or "", {"type": "object"}, _Invoker(function, failure_error_function),
        by_default, None if by_default else failure_error_function,
    )  # fmt: skip


@dataclass
class Handoff(Generic[T, A]):
    tool_name: str
    on_invoke_handoff: Callable[[Any, str], Awaitable[Any]]


def handoff(agent: Agent[Any], *, on_handoff: Any = None, input_type: Any = None) -> Handoff[Any, Any]:
    async def invoke(context: Any, arguments: str) -> Any:
        if input_type is not None:
            await on_handoff(context, input_type(**json.loads(arguments)))
        elif on_handoff is not None:
            await on_handoff(context)
        return agent

    return Handoff("transfer_to_" + agent.name, invoke)
