"""The OpenAI Agents SDK: function tools that ask before they act, and handoffs that are offers.

    tool = governed(run, send_email)                         # of an AsyncRun
    agent = Agent(name="support", tools=[tool], handoffs=[handoff(run, billing, to=..., task=..., scope=[...])])

Each tool call of the model is a step, named by the tool and the call's ID. What is denied, or failed, is told to the
model. What waits for a human or is in doubt is raised, and ends the SDK's run; a run that is resumed from its state has
the same call IDs, and what is on record is not done again.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import agents
from agents import FunctionTool, Handoff, function_tool

from .aio import AsyncRun
from .answers import Scope
from .errors import Denied, Failed
from .governed import call_step, next_step
from .values import decode, encode


def governed(run: AsyncRun, tool: FunctionTool | Callable[..., Any], **options: Any) -> FunctionTool:
    """A tool that asks. options are those of `Run.step`.

    A function becomes a tool here. A FunctionTool has to raise its errors, and so to be made with
    failure_error_function=None: by default the SDK turns an error into a text, which would be recorded as a success.
    """
    if not isinstance(tool, FunctionTool):
        tool = function_tool(tool, failure_error_function=None)
    elif _hides_errors(tool):
        raise ValueError(f"tool {tool.name!r}: want one that raises its errors: make it with failure_error_function=None")
    name, invoke = tool.name, tool.on_invoke_tool
    more: dict[str, Any] = {"action": name, "tool": name, "description": tool.description, "schema": tool.params_json_schema, **options}

    async def asks(context: Any, arguments: str) -> Any:
        async def function(input: Any) -> Any:
            return _recorded(await invoke(context, encode(input).decode()))

        try:
            input = decode(arguments or "{}")
        except ValueError:
            return f"want a JSON object as the arguments of {name}"
        try:
            return await run.step(call_step(name, context.tool_call_id), function, input, **more)
        except (Denied, Failed) as e:
            return str(e)

    asking = copy.copy(tool)
    asking.on_invoke_tool = asks
    return asking


def handoff(
    run: AsyncRun, agent: agents.Agent[Any], *, to: Mapping[str, str], task: str, scope: Sequence[Scope],
    steps: Sequence[str] | None = None, input_type: type[Any] | None = None, **options: Any,
) -> Handoff[Any, Any]:  # fmt: skip
    """A handoff that offers the work to another agent, of this ledger or another, before it goes on with agent.

    The offer rests on steps; on all that succeeded, where they are not given. What the model says as the
    handoff's input is its artifact. options are those of `agents.handoff`.
    """

    async def succeeded() -> list[str]:
        return [s["step"] for s in (await run.state())["steps"] if s["state"] == "succeeded"]

    async def offer(artifact: Any) -> None:
        rests = steps
        if rests is None:
            # What had succeeded when the offer was first made: on more it would be another offer, when the program is run again.
            decided = await run.decide(next_step(run, call_step("offer", task)), succeeded, model="handoff")
            rests = decided["choice"]
        await run.offer(to=to, task=task, scope=scope, steps=rests, artifact=artifact)

    async def without_input(context: Any) -> None:
        await offer(None)

    async def with_input(context: Any, input: Any) -> None:
        await offer(_recorded(input))

    if input_type is None:
        return agents.handoff(agent, on_handoff=without_input, **options)
    return agents.handoff(agent, on_handoff=with_input, input_type=input_type, **options)


def _hides_errors(tool: FunctionTool) -> bool:
    # The SDK says it nowhere in public. A tool that is built by hand raises what its on_invoke_tool raises.
    if not hasattr(tool.on_invoke_tool, "__agents_bind_function_tool__"):
        return False
    by_default = getattr(tool, "_use_default_failure_error_function", False)
    return bool(by_default) or getattr(tool, "_failure_error_function", None) is not None


def _recorded(output: Any) -> Any:
    """As JSON: the SDK's structured outputs as the objects that it takes for them; of the rest what it would show."""
    if hasattr(output, "model_dump"):
        return output.model_dump(mode="json", exclude_none=True)
    if isinstance(output, (list, tuple)):
        return [_recorded(item) for item in output]
    if output is None or isinstance(output, (str, bool, int, float, dict)):
        return output
    return str(output)
