"""The complaint of examples/complaint.py, worked through by a model whose tools an adapter governs.

    python3 complaint_adapters.py langgraph|agents complaint.json

What the model answers is a decision of the run, so a program that is run again gets the same calls with the same
IDs, and each of them is one step. With the real packages where they are installed, and else with stand-ins.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import pathlib
import sys
import uuid
from typing import Any

HERE = pathlib.Path(__file__).parent
sys.path.append(str(HERE.parent / "examples"))
if any(importlib.util.find_spec(name) is None for name in ("langgraph", "agents")):
    sys.path.append(str(HERE / "standins"))

import complaint as shop  # noqa: E402
from ledgerd import AsyncLedgerd, Call, Finding, Ledgerd  # noqa: E402
from ledgerd.governed import call_step  # noqa: E402


class Model:
    """Stands for a language model, which calls one tool after the other and gives each call a new ID."""

    def __init__(self, complaint: dict[str, Any]) -> None:
        text = f"Dear {complaint['customer']}, we are sorry."
        self.turns = [
            {"name": "issue_refund", "args": {"order": complaint["order"], "cents": complaint["cents"]}},
            {"name": "send_email", "args": {"to": complaint["email"], "subject": "Your complaint", "text": text}},
        ]

    def __call__(self, turn: int) -> dict[str, Any]:
        return {**self.turns[turn], "id": "call_" + uuid.uuid4().hex, "type": "tool_call"}


class Tools:
    """What the model may call. A framework hands a tool no idempotency key, so these have keys of the complaint's."""

    def __init__(self, complaint: dict[str, Any]) -> None:
        self._id = complaint["id"]

    def key(self, of: str) -> Call:
        return Call(f"{self._id}/{of}", 1, "")

    def pay(self, order: str, cents: int) -> str:
        shop.pay({"order": order, "cents": cents}, call=self.key("refund"))
        return "paid"

    def send(self, to: str, subject: str, text: str) -> str:
        shop.send({"to": to, "subject": subject, "text": text}, call=self.key("reply"))
        return "sent"

    def arrived(self, mail: dict[str, Any]) -> Finding:
        found = shop.arrived(mail, call=self.key("reply"))
        return Finding("success", output="sent") if found.status == "success" else found


def opening(complaint: dict[str, Any]) -> dict[str, Any]:
    return {"task": "refund", "subject": "order:" + complaint["order"], "intent": complaint["text"], "input": complaint}


def langgraph(complaint: dict[str, Any]) -> None:
    from langchain_core.messages import AIMessage
    from langchain_core.tools import tool
    from langgraph.graph import START, MessagesState, StateGraph
    from langgraph.prebuilt import ToolNode

    from ledgerd.langgraph import tool_calls

    tools, model = Tools(complaint), Model(complaint)

    @tool
    def issue_refund(order: str, cents: int) -> str:
        """Pays back."""
        return tools.pay(order, cents)

    @tool
    def send_email(to: str, subject: str, text: str) -> str:
        """Writes to a customer."""
        return tools.send(to, subject, text)

    def options(name: str, args: dict[str, Any]) -> dict[str, Any]:
        if name == "issue_refund":
            return {"resource": args["order"], "idempotent": True}
        return {"resource": args["to"], "probe": tools.arrived}

    with Ledgerd(os.environ["LEDGERD_SERVER"], os.environ["LEDGERD_TOKEN"]) as client:
        run = client.open("langgraph-" + complaint["id"], **opening(complaint))
        builder = StateGraph(MessagesState)
        builder.add_node("tools", ToolNode([issue_refund, send_email], wrap_tool_call=tool_calls(run, options)))
        builder.add_edge(START, "tools")
        graph, steps = builder.compile(), []
        for turn in range(2):
            call = run.decide(f"turn-{turn + 1}", lambda turn=turn: model(turn), model="scripted-model")["choice"]  # type: ignore[misc]
            message = graph.invoke({"messages": [AIMessage(content="", tool_calls=[call])]})["messages"][-1]
            print(message.content)
            steps.append(call_step(call["name"], call["id"]))
        run.claim("The refund is paid, and the customer knows.", steps=steps)
        run.close()


async def agents(complaint: dict[str, Any]) -> None:
    from agents.tool_context import ToolContext

    from ledgerd.openai_agents import governed

    tools, model = Tools(complaint), Model(complaint)

    async def issue_refund(order: str, cents: int) -> str:
        """Pays back."""
        return tools.pay(order, cents)

    async def send_email(to: str, subject: str, text: str) -> str:
        """Writes to a customer."""
        return tools.send(to, subject, text)

    async with AsyncLedgerd(os.environ["LEDGERD_SERVER"], os.environ["LEDGERD_TOKEN"]) as client:
        run = await client.open("agents-" + complaint["id"], **opening(complaint))
        governs = {
            "issue_refund": governed(run, issue_refund, resource=complaint["order"], idempotent=True),
            "send_email": governed(run, send_email, resource=complaint["email"], probe=tools.arrived),
        }
        steps = []
        for turn in range(2):
            decided = await run.decide(f"turn-{turn + 1}", lambda turn=turn: model(turn), model="scripted-model")  # type: ignore[misc]
            call = decided["choice"]
            arguments = json.dumps(call["args"])
            context: Any = ToolContext(context=None, tool_name=call["name"], tool_call_id=call["id"], tool_arguments=arguments)
            print(await governs[call["name"]].on_invoke_tool(context, arguments))
            steps.append(call_step(call["name"], call["id"]))
        await run.claim("The refund is paid, and the customer knows.", steps=steps)
        await run.close()


if __name__ == "__main__":
    what = json.loads(pathlib.Path(sys.argv[2]).read_text("utf-8"))
    if sys.argv[1] == "langgraph":
        langgraph(what)
    else:
        asyncio.run(agents(what))
