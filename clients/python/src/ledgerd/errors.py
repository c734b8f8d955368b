"""What a request can come to, other than an answer. Each error carries its evidence:
the IDs of the records from which anyone can see that it was so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .answers import Verdict


def shown(text: str) -> str:
    """Text of somebody else's, so that no terminal obeys it."""
    return "".join(c if c.isprintable() and c != "\\" else "\\\\" if c == "\\" else f"\\u{{{ord(c):x}}}" for c in text)


class LedgerdError(Exception):
    """Any error of this package about a request."""


class NoAnswer(LedgerdError):
    """The daemon gave no answer, however often it was asked. What was asked for may have
    been recorded: the same request again finds out."""


class Problem(LedgerdError):
    """The daemon did not do what it was asked (RFC 9457). Go by reason, which stays the same."""

    def __init__(self, problem: Mapping[str, Any]) -> None:
        self.status: int = problem.get("status", 0)
        self.reason: str = problem.get("reason", "")
        self.detail: str = problem.get("detail", "")
        self.stands: str | None = problem.get("stands")
        """The record that a conflict was lost to."""
        self.evidence: Sequence[str] = problem.get("evidence", [])
        self.verdict: Verdict | None = problem.get("verdict")
        """What speaks against a claim."""
        self.until: str | None = problem.get("until")
        """When the lease ends that another driver has of the run."""
        super().__init__(shown(f"{self.status} {self.reason}: {self.detail}"))


class StepError(LedgerdError):
    """A step came to something else than a result."""

    def __init__(self, answer: Mapping[str, Any], text: str) -> None:
        self.step: str = answer["step"]
        self.action: str = answer["action"]
        self.authorization: str = answer["authorization"]
        """The record of the permission check."""
        self.policies: Sequence[str] = answer["policies"]
        self.idempotency_key: str = answer["idempotency_key"]
        self.escalation: str | None = answer.get("escalation")
        """The record that a human was asked."""
        self.errors: Sequence[str] = answer.get("errors", [])
        super().__init__(shown(f"step {self.step!r}: {text} ({self.authorization})"))


class Denied(StepError):
    """Not permitted, by policies or by a human. Nothing was done."""

    def __init__(self, answer: Mapping[str, Any]) -> None:
        self.refusal: str | None = answer.get("refusal")
        """The human's answer, where it was one who said no."""
        why = "by " + ", ".join(answer["policies"]) if answer["policies"] else "for no policy permits it"
        if self.refusal:
            why = f"by a human, {self.refusal}"
        super().__init__(answer, f"{answer['action']} is denied {why}{_words(answer)}")


class Waiting(StepError):
    """A human was asked, or the tool finishes later. The same step again finds out."""

    def __init__(self, answer: Mapping[str, Any]) -> None:
        self.team: str | None = answer.get("team")
        """Who is asked; None: the tool is at work."""
        what = f"waits for an approval by {self.team}" if self.team else "was accepted, and is not finished"
        super().__init__(answer, f"{answer['action']} {what}")


class Failed(StepError):
    """Failed for good. The last exception of the function, where it was called now, is its cause."""

    def __init__(self, answer: Mapping[str, Any]) -> None:
        self.failure_class: str = answer.get("class", "")
        self.attempts: int = answer["attempt"]
        self.execution: str | None = (answer.get("outcome") or {}).get("execution")
        super().__init__(answer, f"{answer['action']} failed, attempt {self.attempts}: {self.failure_class}{_words(answer)}")


class InDoubt(StepError):
    """Nobody knows whether it happened, or what came of it. It is not done again before somebody
    says so: a probe, `Run.report`, or a human."""

    def __init__(self, answer: Mapping[str, Any]) -> None:
        self.doubt: str | None = answer.get("doubt")
        """The authorization or execution without an outcome."""
        self.attempt: int = answer["attempt"]
        """The attempt whose outcome is wanted."""
        super().__init__(answer, f"whether {answer['action']} happened is not known{_words(answer)}")


class Unsupported(LedgerdError):
    """The evidence does not support a claim. What it says is no completion."""

    def __init__(self, verdict: Verdict) -> None:
        self.claim = verdict["claim"]
        self.verdict = verdict
        said = f"the claim {self.claim} is {verdict['result']} ({verdict['id']})"
        super().__init__(shown("; ".join([said, *verdict["why"], *verdict.get("notes", [])])))


class ToolError(Exception):
    """What a step's function raises to say what became of the call.

    failure_class is one of docs/runtime.md's: "tool_failed" (it ran, and said no), "tool_unavailable" (it was
    certainly not reached), "rate_limited", "invalid_tool_payload", "tool_timeout" (of an idempotent tool alone);
    or "outcome_unknown": nobody knows whether it happened.
    """

    def __init__(
        self, failure_class: str, message: str, *, retry_after: float = 0, cost: Mapping[str, int] | None = None
    ) -> None:
        super().__init__(message)
        self.failure_class = failure_class
        self.retry_after = retry_after
        """For how many seconds the tool asked to be left alone."""
        self.cost = cost


def _words(answer: Mapping[str, Any]) -> str:
    errors = answer.get("errors", [])
    return ": " + "; ".join(errors) if errors else ""
