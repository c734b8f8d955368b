"""The adapters, with the real packages where they are installed, and else with stand-ins (standins/README.md)."""

from __future__ import annotations

import asyncio
import importlib.util
import pathlib
import sys
import time
import unittest
from collections.abc import Callable
from typing import Any

from ledgerd import AsyncLedgerd, Problem, Run, Waiting
from ledgerd.governed import call_step
from ledgerd.values import check_name
from town import Town

REAL = {name: importlib.util.find_spec(name) is not None for name in ("langgraph", "agents")}
if not all(REAL.values()):
    # Behind what is installed.
    sys.path.append(str(pathlib.Path(__file__).parent / "standins"))

import agents  # noqa: E402
from agents.tool_context import ToolContext  # noqa: E402
from langchain_core.messages import AIMessage  # noqa: E402
from langchain_core.tools import ToolException, tool  # noqa: E402
from langgraph.graph import START, MessagesState, StateGraph  # noqa: E402
from langgraph.prebuilt import ToolNode  # noqa: E402

from ledgerd import langgraph, openai_agents  # noqa: E402


class Installed(unittest.TestCase):
    """Says which of the packages these tests had."""

    def test_langgraph(self) -> None:
        if not REAL["langgraph"]:
            self.skipTest("langgraph is not installed: its adapter was tested with a stand-in")

    def test_openai_agents(self) -> None:
        if not REAL["agents"]:
            self.skipTest("openai-agents is not installed: its adapter was tested with a stand-in")


def call(name: str, id: str, /, **args: Any) -> dict[str, Any]:
    return {"name": name, "args": args, "id": id, "type": "tool_call"}


def graph(node: ToolNode) -> Any:
    builder = StateGraph(MessagesState)
    builder.add_node("tools", node)
    builder.add_edge(START, "tools")
    return builder.compile()


class Names(unittest.TestCase):
    def test_two_calls_two_names(self) -> None:
        calls = [("a", "b"), ("a", "x/y"), ("a", "x_y"), ("a:x", "y"), ("a", "x:y"), ("a", "b" * 300), ("a", "b" * 301), ("ü", "b"), ("a" * 300, "b"), ("a", "b+c")]
        names = [check_name("step", call_step(tool, id)) for tool, id in calls]
        self.assertEqual(len(set(names)), len(calls))
        self.assertEqual(names[0], "a:b")
        with self.assertRaises(ValueError):
            call_step("a", "")


class LangGraph(Town):
    def setUp(self) -> None:
        super().setUp()
        self.sent: list[str] = []
        self.error: Exception | None = None

        @tool
        def send_email(to: str) -> str:
            """Writes to a customer."""
            self.sent.append(to)
            if self.error is not None:
                raise self.error
            return f"sent to {to}"

        @tool
        def delete_customer(id: str) -> str:
            """Forgets a customer."""
            self.sent.append(id)
            return "deleted"

        @tool
        def issue_refund(cents: int) -> str:
            """Pays back."""
            self.sent.append(str(cents))
            return "paid"

        self.tools = [send_email, delete_customer, issue_refund]
        self.run_ = self.client().open(self.key(), task="errand")

    def node(self, *calls: dict[str, Any], run: Run | None = None, options: Any = None) -> list[Any]:
        node = ToolNode(self.tools, wrap_tool_call=langgraph.tool_calls(run or self.run_, options))
        messages: list[Any] = graph(node).invoke({"messages": [AIMessage(content="", tool_calls=list(calls))]})["messages"]
        return messages[1:]

    def test_once(self) -> None:
        """The graph is run again from its checkpoint, in another process: the same calls have the same IDs."""
        for run in (self.run_, self.client().open(self.run_.key, task="errand")):
            messages = self.node(call("send_email", "call_1", to="lea"), call("send_email", "call_2", to="lea"), run=run)
            self.assertEqual([(m.content, m.tool_call_id, m.status) for m in messages], [("sent to lea", "call_1", "success"), ("sent to lea", "call_2", "success")])
        self.assertEqual(self.sent, ["lea", "lea"])
        self.assertEqual([s["step"] for s in self.run_.state()["steps"]], ["send_email:call_1", "send_email:call_2"])

    def test_denied_is_told_to_the_model(self) -> None:
        (message,) = self.node(call("delete_customer", "call_1", id="7"))
        self.assertEqual((message.status, self.sent), ("error", []))
        self.assertIn("denied by never", message.content)

    def test_failed_is_told_to_the_model(self) -> None:
        self.error = ValueError("no such mailbox")
        for _ in range(2):
            (message,) = self.node(call("send_email", "call_1", to="lea"))
            self.assertEqual(message.status, "error")
            self.assertIn("no such mailbox", message.content)
        self.assertEqual(self.sent, ["lea"])

    def test_handled_errors_are_no_success(self) -> None:
        self.error = ToolException("no such mailbox")
        self.tools[0].handle_tool_error = True
        (message,) = self.node(call("send_email", "call_1", to="lea"))
        self.assertEqual((message.status, self.run_.state()["steps"][0]["state"]), ("error", "failed"))

    def test_waiting_ends_the_graph(self) -> None:
        with self.assertRaises(Waiting):
            self.node(call("issue_refund", "call_1", cents=30000), options=lambda name, args: {"resource": f"cents:{args['cents']}"})
        (step,) = self.run_.state()["steps"]
        self.assertEqual((step["resource"], self.sent), ("cents:30000", []))
        self.answer("approve", step["authorization"])
        (message,) = self.node(call("issue_refund", "call_1", cents=30000), options=lambda name, args: {"resource": f"cents:{args['cents']}"})
        self.assertEqual((message.content, self.sent), ("paid", ["30000"]))

    def test_one_tool(self) -> None:
        for _ in range(2):
            run = self.client().open(self.run_.key, task="errand")
            asks = langgraph.governed(run, self.tools[0], resource="customer/7")
            self.assertEqual((asks.name, asks.description), ("send_email", "Writes to a customer."))
            self.assertEqual(asks.invoke({"to": "lea"}), "sent to lea")
            denied = langgraph.governed(run, self.tools[1]).invoke(call("delete_customer", "x", id="7"))
            self.assertEqual(denied.status, "error")
        self.assertEqual(self.sent, ["lea"])

    def test_async(self) -> None:
        async def main() -> None:
            async with AsyncLedgerd(self.settings["here"]["server"], self.settings["here"]["token"]) as client:
                run = await client.open(self.run_.key, task="errand")
                node = graph(ToolNode(self.tools, awrap_tool_call=langgraph.async_tool_calls(run)))
                calls = [call("send_email", "call_1", to="lea"), call("delete_customer", "call_2", id="7")]
                for _ in range(2):
                    messages = (await node.ainvoke({"messages": [AIMessage(content="", tool_calls=calls)]}))["messages"][1:]
                    self.assertEqual([m.status for m in messages], ["success", "error"])
                asks = langgraph.governed(run, self.tools[0])
                self.assertEqual(await asks.ainvoke({"to": "jun"}), "sent to jun")

        asyncio.run(main())
        self.assertEqual(self.sent, ["lea", "jun"])


class OpenAI(Town):
    def test_tools(self) -> None:
        sent: list[str] = []

        async def send_email(to: str) -> str:
            """Writes to a customer."""
            sent.append(to)
            if to == "nobody":
                raise ValueError("no such mailbox")
            return f"sent to {to}"

        async def delete_customer(id: str) -> str:
            """Forgets a customer."""
            sent.append(id)
            return "deleted"

        async def main() -> None:
            async with AsyncLedgerd(self.settings["here"]["server"], self.settings["here"]["token"]) as client:
                run = await client.open(self.key(), task="errand")
                mail, delete = openai_agents.governed(run, send_email), openai_agents.governed(run, delete_customer)
                self.assertEqual((mail.name, mail.description), ("send_email", "Writes to a customer."))

                async def invoke(tool: agents.FunctionTool, id: str, arguments: str) -> Any:
                    return await tool.on_invoke_tool(ToolContext(context=None, tool_name=tool.name, tool_call_id=id, tool_arguments=arguments), arguments)

                for _ in range(2):
                    self.assertEqual(await invoke(mail, "call_1", '{"to": "lea"}'), "sent to lea")
                    self.assertIn("no such mailbox", await invoke(mail, "call_2", '{"to": "nobody"}'))
                    self.assertIn("denied by never", await invoke(delete, "call_3", '{"id": "7"}'))
                    self.assertIn("want a JSON object", await invoke(mail, "call_4", '{"to": NaN}'))
                self.assertEqual(sent, ["lea", "nobody"])

        asyncio.run(main())

    def test_errors_that_are_hidden(self) -> None:
        """A tool that turns its errors into texts cannot be told from one that did it."""

        def send_email(to: str) -> str:
            """Writes to a customer."""
            raise TimeoutError

        async def main() -> None:
            async with AsyncLedgerd(self.settings["here"]["server"], self.settings["here"]["token"]) as client:
                run = await client.open(self.key(), task="errand")
                hides: Callable[..., Any] = lambda context, error: "sorry"
                for hidden in (agents.function_tool(send_email), agents.function_tool(send_email, failure_error_function=hides)):
                    with self.assertRaises(ValueError):
                        openai_agents.governed(run, hidden)
                openai_agents.governed(run, agents.function_tool(send_email, failure_error_function=None))

        asyncio.run(main())

    def test_handoff_is_an_offer(self) -> None:
        there = self.client("there")

        async def main() -> None:
            async with AsyncLedgerd(self.settings["here"]["server"], self.settings["here"]["token"]) as client:
                run = await client.open(self.key(), task="research")
                await run.step("search", lambda input: 7, {}, action="search")
                analyst: agents.Agent[Any] = agents.Agent(name="analyst")
                transfer = openai_agents.handoff(
                    run, analyst, to=self.settings["there"]["to"], task="analyse", scope=[{"action": "chart", "resource": "report/*"}]
                )
                context = ToolContext(context=None, tool_name=transfer.tool_name, tool_call_id="call_1", tool_arguments="")
                self.assertIs(await transfer.on_invoke_handoff(context, ""), analyst)
                (step,) = (await run.state())["steps"]
                reader = self.client(token="reader")
                records = reader.bundle(run=run.id)
                self.assertIn(b'"head"', records)
                offers = [h for h in self.handoffs(reader) if h["kind"] == "handoff.offered" and h["run"] == run.id]
                self.assertEqual([(o["task"], o["to"]["origin"]) for o in offers], [("analyse", "ledger.example/there")])
                self.assertEqual(self.until(lambda: there.handoff(offers[0]["offer"]))["evidence"], [step["execution"]])
                # The run goes on, and its program is run again from the top: it makes the same offer.
                await run.step("publish", lambda input: 1, {}, action="search")
                run = await client.open(run.key, task="research")
                transfer = openai_agents.handoff(
                    run, analyst, to=self.settings["there"]["to"], task="analyse", scope=[{"action": "chart", "resource": "report/*"}]
                )
                await transfer.on_invoke_handoff(context, "")
                again = [h["offer"] for h in self.handoffs(reader) if h["kind"] == "handoff.offered" and h["run"] == run.id]
                self.assertEqual(again, [offers[0]["offer"]])

        asyncio.run(main())

    def handoffs(self, reader: Any) -> list[dict[str, Any]]:
        from ledgerd.operation import asked

        handoffs: list[dict[str, Any]] = reader._do(asked("GET", "/v1/handoffs?limit=1000"))["handoffs"]
        return handoffs

    def until(self, ask: Callable[[], Any]) -> Any:
        for _ in range(1000):
            try:
                return ask()
            except Problem as e:
                if e.status != 404:
                    raise
            time.sleep(0.01)
        self.fail("it never came")
