"""Steps: permission before, the function called where it is given, the outcome on record after."""

from __future__ import annotations

import base64
import contextlib
import inspect
import os
import random
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .errors import Denied, Failed, InDoubt, LedgerdError, Problem, Waiting
from .operation import ABSENT, Invoke, Operation, Sleep, asked, exchange, given, optional
from .outcome import RETRIED, outcome_of
from .transport import Request
from .values import check_name, copied, decode, encode

_asker_lock = threading.Lock()
_asker: tuple[int, str] = (0, "")  # guarded by _asker_lock


def asker() -> str:
    """A name for this process, which no other process has: a fork has another."""
    global _asker
    with _asker_lock:
        if _asker[0] != os.getpid():
            _asker = (os.getpid(), f"py-{os.getpid()}-{secrets.token_hex(8)}")
        return _asker[1]


@dataclass(frozen=True)
class Finding:
    """What a probe found out: status is "success", "failure" or "not_run"."""

    status: str
    output: Any = ABSENT
    failure_class: str | None = None
    error: str | None = None


@dataclass(frozen=True)
class Call:
    """What a function, or a probe, gets that has a parameter `call`."""

    idempotency_key: str
    """For the tool: the same for every attempt under one authorization, and for no other."""
    attempt: int
    authorization: str


@dataclass
class _Begun:
    """Which calls this process began, and what came of those whose report did not arrive.

    The same process gets the same permission again. What it was permitted it does once.
    """

    lock: threading.Lock = field(default_factory=threading.Lock)
    reports: dict[tuple[str, int], bytes | None] = field(default_factory=dict)  # guarded by lock
    at_work: set[str] = field(default_factory=set)  # steps; guarded by lock


_begun = _Begun()


def _forget() -> None:
    global _begun
    _begun = _Begun()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)  # a child began nothing


def _alone(run: str, step: str) -> Operation[str]:
    """Takes a step for one caller of this process at a time."""
    place = f"{run}/{step}"
    while True:
        with _begun.lock:
            if place not in _begun.at_work:
                _begun.at_work.add(place)
                return place
        yield Sleep(0.02)


@contextlib.contextmanager
def _left(place: str) -> Iterator[None]:
    try:
        yield
    finally:
        with _begun.lock:
            _begun.at_work.discard(place)


_LONGEST_WAIT_MS = 60_000


@dataclass
class Step:
    """One call of `Run.step`."""

    key: str
    run: str
    name: str
    function: Callable[..., Any]
    input: object
    action: str | None
    tool: str | None
    resource: str | None
    idempotent: bool
    wait: float | None
    probe: Callable[..., Any] | None
    decision: str | None
    params: Sequence[str]
    refs: Sequence[str]
    estimate: Mapping[str, int] | None
    cost: Callable[[Any], Mapping[str, int]] | None
    description: str | None
    schema: object

    def do(self) -> Operation[Any]:
        check_name("step", self.name)
        body = encode(self._question())
        # The function gets what was checked, whatever becomes of the caller's object.
        exactly = encode(self.input)
        place = yield from _alone(self.run, self.name)
        with _left(place):
            return (yield from self._until_it_ends(body, exactly))

    def _question(self) -> dict[str, object]:
        question = {
            "action": self.action or self.name, "tool": given(self.tool), "resource": given(self.resource), "input": self.input,
            "decision": given(self.decision), "asker": asker(), "description": given(self.description),
            "schema": optional(self.schema), "params": given(list(self.params)),
            "estimate": given(dict(self.estimate or {})), "idempotent": True if self.idempotent else ABSENT,
        }  # fmt: skip
        return {name: value for name, value in question.items() if value is not ABSENT}

    def _until_it_ends(self, body: bytes, exactly: bytes) -> Operation[Any]:
        until = None if self.wait is None else time.monotonic() + self.wait
        left_ms = int((self.wait or 0) * 1000)
        probed, failures = False, 0
        raised: BaseException | None = None
        while True:
            wait_ms = min(left_ms, _LONGEST_WAIT_MS)
            path = f"/v1/runs/{self.key}/steps/{self.name}" + (f"?wait={wait_ms}ms" if wait_ms > 0 else "")
            reply = yield from exchange(Request("PUT", path, body, 60 + wait_ms / 1000))
            answer = decode(reply.body)
            state = answer["state"]
            if until is not None:
                left_ms = int((until - time.monotonic()) * 1000)
            if state == "succeeded":
                return _recorded(answer)
            if answer.get("runs_here") and state in ("allowed", "in_doubt"):
                raise ValueError(f"step {self.name!r}: the daemon runs the tool {answer['tool']!r} itself: use run_here")
            if state == "allowed":
                output, raised, again = yield from self._attempt(answer, exactly, failures)
                if output is not ABSENT:
                    return output
                failures += 1
                if again > 0:
                    yield Sleep(again)
            elif state == "in_doubt" and self.probe is not None and not probed:
                probed = True
                output = yield from self._probe(answer, exactly)
                if output is not ABSENT:
                    return output
            elif state == "waiting" and left_ms > 0:
                yield Sleep(0.1)
            else:
                raise _error(answer) from raised

    def _attempt(
        self, answer: Mapping[str, Any], exactly: bytes, failures: int
    ) -> Operation[tuple[Any, BaseException | None, float]]:
        """Makes one attempt and reports it. Returns the output; or what was raised, and how long to wait before the next question."""
        at = (answer["authorization"], answer["attempt"])
        with _begun.lock:
            before: Any = _begun.reports.get(at, ABSENT)
            if before is ABSENT:
                _begun.reports[at] = None
        if before is not ABSENT:
            # Called already; what came of it did not get through, or was never known.
            lost = {"attempt": at[1], "status": "unknown", "error": "the call was interrupted in the process that made it"}
            yield from self._report(at, before or encode(lost))
            return _reported(before), None, 0
        output: Any = None
        raised: BaseException | None = None
        retry_after = 0.0
        began = time.monotonic()
        try:
            output = yield _invoke(self.function, answer, exactly)
            report, raised = _success(output, self.refs, self.cost)
        except GeneratorExit:
            raise  # nobody is left to report by: in doubt
        except BaseException as e:
            outcome = outcome_of(e, self.idempotent)
            raised, retry_after = e, outcome.retry_after
            report = {"status": outcome.status, "class": given(outcome.failure_class), "error": _text(e), "cost": given(dict(outcome.cost or {}))}
        timed = {"attempt": at[1], "took_ms": int((time.monotonic() - began) * 1000)}
        try:
            yield from self._record(at, {**report, **timed})
        except Problem as e:
            if report["status"] != "success" or e.status not in (400, 413, 422):
                raise
            report, raised = _unknown(f"its result cannot be recorded: {e.reason}"), e
            yield from self._record(at, {**report, **timed})
        except LedgerdError as e:
            if raised is not None and not isinstance(raised, Exception):
                raise raised from e
            raise
        if raised is None:
            return output if isinstance(output, bytes) else copied(output), None, 0
        if not isinstance(raised, Exception):
            raise raised
        if report["class"] not in RETRIED:
            return ABSENT, raised, 0
        longest = min(0.2 * 2**failures, 10)
        return ABSENT, raised, max(random.uniform(longest / 2, longest), retry_after)

    def _record(self, at: tuple[str, int], report: Mapping[str, Any]) -> Operation[None]:
        body = encode({name: value for name, value in report.items() if value is not ABSENT})
        with _begun.lock:
            _begun.reports[at] = body
        yield from self._report(at, body)

    def _report(self, at: tuple[str, int], report: bytes) -> Operation[None]:
        yield from exchange(Request("PUT", f"/v1/runs/{self.key}/steps/{self.name}/outcome", report))
        with _begun.lock:
            _begun.reports.pop(at, None)

    def _probe(self, answer: Mapping[str, Any], exactly: bytes) -> Operation[Any]:
        assert self.probe is not None
        doubt = InDoubt(answer)
        try:
            found: Finding | None = yield _invoke(self.probe, answer, exactly)
        except Exception as e:
            raise doubt from e
        if found is None:
            raise doubt
        report = {"status": found.status, "class": given(found.failure_class), "error": given(found.error)}
        if found.output is not ABSENT:
            of, wrong = _success(found.output, self.refs, None)
            if wrong is not None:
                raise wrong
            report.update(of, status=found.status)
        body = {name: value for name, value in report.items() if value is not ABSENT}
        yield from self._report((doubt.authorization, doubt.attempt), encode({"attempt": doubt.attempt, **body}))
        if found.status != "success":
            return ABSENT
        return None if found.output is ABSENT else _reported(encode(body))


def _invoke(function: Callable[..., Any], answer: Mapping[str, Any], exactly: bytes) -> Invoke:
    if not _takes_call(function):
        return Invoke(function, (decode(exactly),))
    call = Call(answer["idempotency_key"], answer["attempt"], answer["authorization"])
    return Invoke(function, (decode(exactly),), {"call": call})


def _takes_call(function: Callable[..., Any]) -> bool:
    try:
        return "call" in inspect.signature(function).parameters
    except (TypeError, ValueError):
        return False


def _text(error: BaseException) -> str:
    """What went wrong, in words that a report can hold."""
    return (str(error) or type(error).__name__)[:8192].encode("utf-8", "replace").decode()


def _success(
    output: Any, refs: Sequence[str], cost: Callable[[Any], Mapping[str, int]] | None
) -> tuple[dict[str, Any], Exception | None]:
    """The report of what a function gave; or, and what is wrong with it, of a call whose result whoever resumes the run could not get."""
    if inspect.isawaitable(output):
        if inspect.iscoroutine(output):
            output.close()
        return _unknown("the function gave an awaitable, which nobody waited for"), TypeError(
            "want the output of a step, found an awaitable: an async function wants AsyncLedgerd"
        )
    report: dict[str, Any] = {"status": "success"}
    try:
        if isinstance(output, bytes):
            report.update(output_base64=base64.b64encode(output).decode(), media="application/octet-stream")
        else:
            encode(output)
            report.update(output=output, refs=given(list(refs)))
        report["cost"] = given(dict(cost(output))) if cost is not None else ABSENT
    except Exception as e:
        return _unknown(f"its result is no JSON, or has no cost: {_text(e)}"), e
    return report, None


def _unknown(why: str) -> dict[str, Any]:
    return {"status": "unknown", "class": ABSENT, "error": why}


def _recorded(answer: Mapping[str, Any]) -> Any:
    return _output(answer.get("outcome", {}))


def _reported(report: bytes | None) -> Any:
    """The output of a report that it happened."""
    said = decode(report) if report is not None else {}
    return _output(said) if said.get("status", "success") == "success" and report is not None else ABSENT


def _output(of: Mapping[str, Any]) -> Any:
    return base64.b64decode(of["output_base64"]) if "output_base64" in of else of.get("output")


def _error(answer: Mapping[str, Any]) -> Exception:
    errors = {"denied": Denied, "waiting": Waiting, "accepted": Waiting, "failed": Failed, "in_doubt": InDoubt}
    return errors[answer["state"]](answer)


def run_here(
    key: str, step: str, tool: str, input: object, resource: str | None, decision: str | None, wait: float | None
) -> Operation[Any]:
    path = f"/v1/runs/{key}/steps/{check_name('step', step)}"
    body = {"tool": tool, "input": input, "resource": given(resource), "decision": given(decision)}
    until, left_ms = time.monotonic() + (wait or 0), int((wait or 0) * 1000)
    while True:
        answer = yield from asked("POST", path + "/run", body, patience=600)
        if answer["state"] == "succeeded":
            return _recorded(answer)
        if answer["state"] != "waiting" or left_ms <= 0:
            raise _error(answer)
        held_ms = min(left_ms, _LONGEST_WAIT_MS)
        yield from asked("PUT", f"{path}?wait={held_ms}ms", {**body, "asker": asker()}, 60 + held_ms / 1000)
        left_ms = int((until - time.monotonic()) * 1000)


def report(key: str, step: str, attempt: int, found: Finding) -> Operation[None]:
    body = {
        "attempt": attempt, "status": found.status, "output": found.output, "class": given(found.failure_class),
        "error": given(found.error),
    }  # fmt: skip
    yield from asked("PUT", f"/v1/runs/{key}/steps/{check_name('step', step)}/outcome", body)
