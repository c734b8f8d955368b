"""What a client does, without doing it.

Each operation is a generator. It yields what has to be done, a `Request`, a `Sleep` or a
`Invoke` of the user's function, and is sent what came of it; so threads and asyncio share
every rule: what is asked before a call and reported after it, what is sent again, and
what is called at most once.
"""

from __future__ import annotations

import http.client
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar, Union
from urllib.parse import urlencode

from .errors import NoAnswer, Problem
from .transport import Answer, Request
from .values import decode, encode


@dataclass(frozen=True)
class Sleep:
    seconds: float


@dataclass(frozen=True)
class Invoke:
    """The user's function, with its arguments. Sent back is what it returned; thrown, what it raised."""

    function: Callable[..., Any]
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)


Effect = Union[Request, Sleep, Invoke]
T = TypeVar("T")
Operation = Generator[Effect, Any, T]


class _Absent:
    def __repr__(self) -> str:
        return "absent"


ABSENT: Any = _Absent()
"""Not given: None is a JSON value."""

RETRIES = 8
_FIRST_S, _LONGEST_S = 0.1, 5.0
_MAX_RETRY_AFTER_S = 60


def exchange(request: Request) -> Operation[Answer]:
    """Sends a request, again where that is safe: a request that is sent again is the same request."""
    delay, tries = _FIRST_S, 0
    while True:
        wait, delay = delay, min(2 * delay, _LONGEST_S)
        try:
            answer: Answer = yield request
        except (OSError, http.client.HTTPException) as e:
            if tries == RETRIES:
                raise NoAnswer(f"{request.method} {request.path}: no answer: {type(e).__name__}") from e
        else:
            if answer.status < 300:
                return answer
            problem = _problem(answer)
            again = answer.status == 503 or answer.status == 500 and problem.reason == "unknown"
            if not again or tries == RETRIES:
                raise problem
            after = answer.headers.get("retry-after", "")
            if after.isascii() and after.isdigit() and len(after) < 6:
                wait = min(int(after), _MAX_RETRY_AFTER_S)
        tries += 1
        yield Sleep(wait)


def _problem(answer: Answer) -> Problem:
    try:
        problem = decode(answer.body)
        if problem["status"] == answer.status and isinstance(problem["reason"], str):
            return Problem(problem)
    except (ValueError, TypeError, KeyError):
        pass
    # Something between us and the daemon, or no daemon at all.
    detail = f"want a problem as application/problem+json, found {answer.headers.get('content-type', 'nothing')!r}"
    return Problem({"status": answer.status, "reason": "no_problem", "detail": detail})


def asked(method: str, path: str, body: Mapping[str, object] | None = None, patience: float = 60.0) -> Operation[Any]:
    """Sends what was given of a body, and returns the JSON of the answer."""
    data = None if body is None else encode({name: value for name, value in body.items() if value is not ABSENT})
    answer = yield from exchange(Request(method, path, data, patience))
    return decode(answer.body)


def fetched(path: str, query: Mapping[str, str] | None = None, accept: str = "*/*") -> Operation[bytes]:
    target = path + ("?" + urlencode(query) if query else "")
    answer = yield from exchange(Request("GET", target, accept=accept))
    return answer.body


def given(value: Any) -> Any:
    """A member that is left out where it is empty."""
    return ABSENT if value is None or isinstance(value, (str, list, tuple, dict)) and not value else value


def optional(value: Any) -> Any:
    """A JSON value that is left out where it is None."""
    return ABSENT if value is None else value
