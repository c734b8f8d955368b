"""A function of a program as one that asks before it acts: what the adapters are made of."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
import threading
import weakref
from collections.abc import Callable
from typing import Any, Union

from .aio import AsyncRun
from .client import Run

_lock = threading.Lock()
_uses: weakref.WeakKeyDictionary[Union[Run, AsyncRun], dict[str, itertools.count[int]]] = weakref.WeakKeyDictionary()  # guarded by _lock


def governed(run: Run | AsyncRun, tool: str, function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    """A function whose each call is a step of the run: NAME:1, NAME:2 and so on, in the order of the calls.

    A program that does not make them in the same order when it is run again names each step itself, by the
    keyword step. options are those of `Run.step`; of an AsyncRun's the function is to be awaited.
    """
    more: dict[str, Any] = {"action": tool, "tool": tool, **options}

    def asks(input: object, *, step: str | None = None) -> Any:
        return run.step(step or next_step(run, tool), function, input, **more)

    return asks


def next_step(run: Run | AsyncRun, tool: str) -> str:
    """The name of the next step of a tool, by how often this program used it."""
    with _lock:
        uses = _uses.setdefault(run, {}).setdefault(tool, itertools.count(1))
        return f"{tool}:{next(uses)}"


def call_step(tool: str, call: str) -> str:
    """The name of the step of one call of a model, by the ID that the model gave it: for two calls, two names."""
    if not call:
        raise ValueError(f"tool {tool!r}: want the ID of the call, found none")
    name = f"{tool}:{call}"
    if re.fullmatch("[A-Za-z0-9._~-]+:[A-Za-z0-9._~-]+", name) and len(name) <= 160:
        return name
    plain = re.sub("[^A-Za-z0-9._~-]", "_", name)[:120]
    return f"{plain}+{hashlib.sha256(json.dumps([tool, call]).encode()).hexdigest()[:32]}"
