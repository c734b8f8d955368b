"""What the daemon answers, as docs/http-api.md and /openapi.json have it.

Python 3.10 has no NotRequired: what is always there stands in a class before.
"""

from __future__ import annotations

from typing import Any, TypedDict

Amounts = dict[str, int]
"""Limits and costs: micro-units of a currency (usd_micro), tokens, tool_calls, attempts, wall_ms."""


class Scope(TypedDict):
    """An action, and what it may be done to: a final * extends it to all that begin so."""

    action: str
    resource: str


class Continued(TypedDict):
    """A handoff that a run continues, or took up."""

    acceptance: str
    offer: str
    origin: str
    giver: str
    task: str
    scope: list[Scope]


class TakenUp(Continued):
    run: str
    context: str
    """The record of the run that takes it up: for the decisions that are made from it."""


class Doubt(TypedDict):
    step: str
    authorization: str
    doubt: str
    attempt: int


class Waits(TypedDict):
    step: str
    authorization: str
    team: str


class _StepSummary(TypedDict):
    step: str
    state: str
    action: str
    tool: str
    authorization: str
    attempts: int


class StepSummary(_StepSummary, total=False):
    resource: str
    execution: str


class _RunState(TypedDict):
    run: str
    key: str
    agent: str
    task: str
    principal: str
    state: str
    in_doubt: list[Doubt]
    waiting: list[Waits]
    steps: list[StepSummary]


class RunState(_RunState, total=False):
    """Where a run stands by its records."""

    subject: str
    end: str
    reason: str
    closed: str
    checkpoint: str
    continues: Continued
    took_up: list[Continued]
    claim: str
    verdict: str
    budget: Amounts
    spent: Amounts


class _Verdict(TypedDict):
    claim: str
    id: str
    result: str
    why: list[str]


class Verdict(_Verdict, total=False):
    """The result of checking a claim: supported, contradicted, unsupported, in_doubt, undisclosed or no_contract."""

    holds: bool
    """Whether the claim may leave as a completion."""
    notes: list[str]
    """What has to be shown with it, in words."""
    document: Any


class Claimed(TypedDict):
    run: str
    id: str
    verdict: Verdict


class Decided(TypedDict):
    run: str
    name: str
    id: str
    """Its record: what a step can rest on."""
    choice: Any


class _Saved(TypedDict):
    run: str
    name: str
    sequence: int
    id: str


class Saved(_Saved, total=False):
    """A checkpoint; with its state, where it was read."""

    state: Any


class _Delivery(TypedDict):
    state: str


class Delivery(_Delivery, total=False):
    tries: int
    next: str
    reason: str
    detail: str


class Offered(TypedDict):
    run: str
    offer: str
    expires: str
    delivery: Delivery


class Commitment(TypedDict):
    commit: str
    size: int
    media: str


class _Approval(TypedDict):
    authorization: str
    run: str
    step: str
    agent: str
    action: str
    tool: str
    team: str
    since: str
    policies: list[str]
    input: Commitment


class Approval(_Approval, total=False):
    """What waits for a human."""

    resource: str


class _Handoff(TypedDict):
    offer: str
    origin: str
    giver: str
    task: str
    expires: str
    scope: list[Scope]
    evidence: list[str]
    records: int


class Handoff(_Handoff, total=False):
    """An offer to an agent, verified anew by its daemon."""

    acceptance: str
    opens: str
    media: str
    artifact: Any
    artifact_base64: str
    unverified_note: str
