"""A stand-in: ../README.md. A graph has one node here."""

from __future__ import annotations

from typing import Any

START = "__start__"


class MessagesState(dict[str, Any]):
    pass


class StateGraph:
    def __init__(self, state: type[Any]) -> None:
        self._node: Any = None

    def add_node(self, name: str, node: Any) -> None:
        self._node = node

    def add_edge(self, start: str, end: str) -> None: ...

    def compile(self) -> StateGraph:
        return self

    def invoke(self, state: dict[str, Any]) -> dict[str, Any]:
        return {"messages": state["messages"] + self._node.run(state["messages"][-1])}

    async def ainvoke(self, state: dict[str, Any]) -> dict[str, Any]:
        return {"messages": state["messages"] + await self._node.arun(state["messages"][-1])}
