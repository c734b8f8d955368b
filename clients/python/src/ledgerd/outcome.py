"""What became of a call, by what its function raised."""

from __future__ import annotations

import asyncio
import email.utils
import errno
import http.client
import re
import socket
import ssl
import subprocess
import time
import urllib.error
from collections.abc import Mapping
from dataclasses import dataclass

from .errors import ToolError

_UNKNOWN = "outcome_unknown"
RETRIED = ("tool_timeout", "tool_unavailable", "rate_limited")


@dataclass(frozen=True)
class Outcome:
    """failure_class "": nobody knows."""

    failure_class: str
    retry_after: float = 0
    cost: Mapping[str, int] | None = None

    @property
    def status(self) -> str:
        return "failure" if self.failure_class else "unknown"


_NOBODY_KNOWS = Outcome("")

# The function broke where its author did not think of it, before the effect or after.
_BUGS = (
    TypeError, AttributeError, NameError, LookupError, ArithmeticError, AssertionError, ImportError, MemoryError,
    RecursionError, StopIteration, StopAsyncIteration, SystemError, UnicodeError, NotImplementedError,
)  # fmt: skip

_NOT_REACHED = (errno.EHOSTUNREACH, errno.ENETUNREACH)
_LOST = (
    TimeoutError, asyncio.TimeoutError, ConnectionError, EOFError, http.client.HTTPException,
    subprocess.TimeoutExpired, ssl.SSLError,
)  # fmt: skip

# Libraries have classes of their own for a connection that broke.
_LOST_NAMES = re.compile("timeout|connect|transport|protocol|network", re.IGNORECASE)


def outcome_of(error: BaseException, idempotent: bool) -> Outcome:
    """docs/runtime.md, "Failures". An exception that leaves open whether it happened is never called a failure."""
    if isinstance(error, ToolError):
        lost = error.failure_class == _UNKNOWN or error.failure_class == "tool_timeout" and not idempotent
        return Outcome("" if lost else error.failure_class, error.retry_after, error.cost)
    if not isinstance(error, Exception) or isinstance(error, _BUGS):
        return _NOBODY_KNOWS
    if isinstance(error, (ConnectionRefusedError, socket.gaierror)) or isinstance(error, OSError) and error.errno in _NOT_REACHED:
        return Outcome("tool_unavailable")
    if isinstance(error, urllib.error.HTTPError):
        return _of_http(error, idempotent)
    if isinstance(error, urllib.error.URLError) and isinstance(error.reason, BaseException):
        return outcome_of(error.reason, idempotent)
    if _lost(error):
        return Outcome("tool_timeout") if idempotent else _NOBODY_KNOWS
    return Outcome("tool_failed")


def _lost(error: BaseException) -> bool:
    """Whether the connection to the tool broke, or the time was up, on the way."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return False  # nothing was sent
    if isinstance(error, _LOST) or isinstance(error, OSError) and error.errno is None:
        return True
    if any(_LOST_NAMES.search(c.__name__) for c in type(error).__mro__):
        return True
    return error.__cause__ is not None and _lost(error.__cause__)


def _of_http(error: urllib.error.HTTPError, idempotent: bool) -> Outcome:
    after = _retry_after(error.headers.get("Retry-After", "") if error.headers else "")
    if error.code == 429:
        return Outcome("rate_limited", after)
    if error.code == 503:
        return Outcome("tool_unavailable", after)
    if error.code in (408, 502, 504):  # somebody behind the gateway may have done it
        return Outcome("tool_timeout") if idempotent else _NOBODY_KNOWS
    if error.code in (400, 413, 415, 422):
        return Outcome("invalid_tool_payload")
    return Outcome("tool_failed")


def _retry_after(value: str) -> float:
    """Seconds, or a date (RFC 9110, section 10.2.3); at most an hour."""
    if re.fullmatch("[0-9]{1,9}", value):
        return min(float(value), 3600)
    try:
        return min(max(email.utils.parsedate_to_datetime(value).timestamp() - time.time(), 0), 3600)
    except (TypeError, ValueError):
        return 0
