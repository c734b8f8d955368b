"""Everything about a run but its steps; and what is read of the ledger."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .answers import Claimed, Decided, Offered, RunState, Saved, Scope, TakenUp
from .errors import Problem, Unsupported
from .operation import ABSENT, Invoke, Operation, asked, exchange, fetched, given, optional
from .transport import Request
from .values import check_name, decode, encode


def open_run(
    key: str, task: str, input: object, subject: str | None, intent: str | None, principal: str | None, agent: str | None,
    budget: Mapping[str, int] | None, parent: str | None, continues: str | None,
) -> Operation[RunState]:  # fmt: skip
    body = {
        "task": task, "input": optional(input), "subject": given(subject), "intent": given(intent), "principal": given(principal),
        "agent": given(agent), "budget": given(dict(budget or {})), "parent": given(parent), "continues": given(continues),
    }  # fmt: skip
    opened: RunState = yield from asked("PUT", "/v1/runs/" + check_key(key), body)
    return opened


def check_key(key: str) -> str:
    if key.startswith("run_"):
        raise ValueError("want the key of a run, which does not begin with run_")
    return check_name("key", key)


def state(key: str) -> Operation[RunState]:
    now: RunState = yield from asked("GET", f"/v1/runs/{check_key(key)}/state")
    return now


@dataclass(frozen=True)
class Thought:
    """What a model answered, where there is more to say of it than the choice."""

    choice: Any
    rationale: str | None = None
    cost: Mapping[str, int] | None = None


def decide(key: str, name: str, think: Callable[[], Any], model: str, question: object, context: Sequence[str]) -> Operation[Decided]:
    path = f"/v1/runs/{key}/decisions/{check_name('decision', name)}"
    try:
        known: Decided = yield from asked("GET", path)
        return known
    except Problem as e:
        if e.status != 404:
            raise
    said = yield Invoke(think)
    thought = said if isinstance(said, Thought) else Thought(said)
    body = {
        "model": model, "question": optional(question), "choice": thought.choice, "rationale": given(thought.rationale),
        "context": given(list(context)), "cost": given(dict(thought.cost or {})),
    }  # fmt: skip
    decided: Decided = yield from asked("PUT", path, body)
    return decided


def claim(key: str, text: str, steps: Sequence[str], done: Sequence[Mapping[str, str]]) -> Operation[Claimed]:
    body = {"text": text, "steps": given(list(steps)), "given": given([dict(one) for one in done])}
    claimed: Claimed = yield from asked("POST", f"/v1/runs/{key}/claims", body)
    if not claimed["verdict"]["holds"]:
        raise Unsupported(claimed["verdict"])
    return claimed


def close(key: str, end: str, reason: str | None) -> Operation[RunState]:
    body = {"end": ABSENT if end == "completed" else end, "reason": given(reason)}
    try:
        state: RunState = yield from asked("POST", f"/v1/runs/{key}/close", body)
        return state
    except Problem as e:
        if e.verdict is None:
            raise
        raise Unsupported(e.verdict) from None


def checkpoint(key: str, name: str, state: object) -> Operation[Saved]:
    path = f"/v1/runs/{key}/checkpoints/{check_name('checkpoint', name)}"
    reply = yield from exchange(Request("PUT", path, encode(state)))
    saved: Saved = decode(reply.body)
    return saved


def last_checkpoint(key: str) -> Operation[Saved | None]:
    try:
        last: Saved = yield from asked("GET", f"/v1/runs/{key}/checkpoints")
        return last
    except Problem as e:
        if e.status != 404:
            raise
        return None


def context(key: str, sources: Sequence[Mapping[str, Any]]) -> Operation[str]:
    laid = []
    for source in sources:
        data = source.get("data")
        laid.append({**source, "data": base64.b64encode(data).decode()} if isinstance(data, (bytes, bytearray)) else dict(source))
    answer = yield from asked("POST", f"/v1/runs/{key}/context", {"sources": laid})
    return str(answer["id"])


def offer(
    key: str, to: Mapping[str, str], task: str, scope: Sequence[Scope], evidence: Sequence[str], steps: Sequence[str],
    artifact: object, note: str | None, for_s: int | None, head_max_age_s: int | None,
) -> Operation[Offered]:  # fmt: skip
    body: dict[str, object] = {
        "to": dict(to), "task": task, "scope": [dict(entry) for entry in scope], "evidence": given(list(evidence)),
        "steps": given(list(steps)), "note": given(note), "for_s": optional(for_s), "head_max_age_s": optional(head_max_age_s),
    }  # fmt: skip
    if isinstance(artifact, bytes):
        body.update(artifact_base64=base64.b64encode(artifact).decode(), media="application/octet-stream")
    elif artifact is not None:
        body["artifact"] = artifact
    offered: Offered = yield from asked("POST", f"/v1/runs/{key}/offers", body)
    return offered


def take_up(key: str, offer: str) -> Operation[TakenUp]:
    taken: TakenUp = yield from asked("POST", f"/v1/runs/{key}/handoffs", {"offer": offer})
    return taken


def check_id(evidence: str) -> str:
    if not evidence.startswith("ev_"):
        raise ValueError(f"want an evidence ID, found {evidence[:80]!r}")
    return check_name("evidence ID", evidence)


def bundle(run: str | None, record: str | None, offer: str | None, payloads: bool) -> Operation[bytes]:
    about = {name: value for name, value in (("run", run), ("record", record), ("offer", offer)) if value is not None}
    if len(about) != 1:
        raise ValueError("want one of run, record and offer")
    return (yield from fetched("/v1/bundles", about if payloads else {**about, "payloads": "hidden"}))
