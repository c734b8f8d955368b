"""A stand-in: ../README.md."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class AIMessage:
    content: Any
    tool_calls: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class ToolMessage:
    content: Any
    tool_call_id: str
    name: str | None = None
    status: str = "success"
    artifact: Any = None
