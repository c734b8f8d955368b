"""A stand-in: ../README.md."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass
class ToolContext:
    context: Any
    tool_name: str
    tool_call_id: str
    tool_arguments: str
