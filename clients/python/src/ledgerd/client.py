"""Runs, driven by a program that waits for each answer."""

from __future__ import annotations

import inspect
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, TypeVar

from . import runs, steps
from .answers import Approval, Claimed, Decided, Handoff, Offered, RunState, Saved, Scope, TakenUp
from .operation import ABSENT, Effect, Operation, Sleep, asked, fetched, given
from .steps import Finding, Step
from .transport import Request, Transport

T = TypeVar("T")


class Ledgerd:
    """A daemon, for one agent: whoever's token it is. May be used from any thread.

    server is http://host:port of the loopback interface, https://host:port or unix:/path.
    """

    def __init__(self, server: str, token: str, *, tls: ssl.SSLContext | None = None) -> None:
        self._transport = Transport(server, token, tls)

    def open(
        self, key: str, *, task: str, input: object = None, subject: str | None = None, intent: str | None = None,
        principal: str | None = None, agent: str | None = None, budget: Mapping[str, int] | None = None,
        parent: str | None = None, continues: str | None = None,
    ) -> Run:  # fmt: skip
        """Opens the run that a key stands for, or resumes it: a program is run again from the top.

        continues is an offer that waits for the agent: it is accepted for this run.
        """
        opened = runs.open_run(key, task, input, subject, intent, principal, agent, budget, parent, continues)
        return Run(self, key, self._do(opened))

    def state(self, key: str) -> RunState:
        """Where a run stands by its records: docs/http-api.md, "Agents"."""
        return self._do(runs.state(key))

    def receipt(self, evidence: str) -> bytes:
        """The proof that a record stands in the log, for `verify_receipt`. Wants the right "read"."""
        return self._do(fetched(f"/v1/receipts/{runs.check_id(evidence)}"))

    def bundle(
        self, *, run: str | None = None, record: str | None = None, offer: str | None = None, payloads: bool = True
    ) -> bytes:
        """Everything about a run, a record or an offer, for `verify`. Wants the right "read"; and "payloads", unless they are withheld."""
        return self._do(runs.bundle(run, record, offer, payloads))

    def trust(self) -> bytes:
        """What the daemon says to trust. An auditor gets it another way."""
        return self._do(fetched("/v1/trust"))

    def approvals(self) -> list[Approval]:
        """What waits for a human in open runs. Wants the right "read"."""
        approvals: list[Approval] = self._do(asked("GET", "/v1/approvals"))["approvals"]
        return approvals

    def handoff(self, offer: str) -> Handoff:
        """An offer to the agent that waits or was accepted, verified anew."""
        handoff: Handoff = self._do(asked("GET", f"/v1/handoffs/{runs.check_id(offer)}"))
        return handoff

    def reject_offer(self, offer: str, because: str | None = None) -> str:
        """Records that the agent does not accept an offer. Returns the record's ID."""
        body = {"because": given(because)}
        return str(self._do(asked("POST", f"/v1/handoffs/{runs.check_id(offer)}/reject", body))["rejection"])

    def close(self) -> None:
        """Gives connections back. Runs stay as they are."""
        self._transport.close()

    def __enter__(self) -> Ledgerd:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _do(self, operation: Operation[T]) -> T:
        try:
            effect = next(operation)
            while True:
                try:
                    came = self._perform(effect)
                except BaseException as e:
                    effect = operation.throw(e)
                else:
                    effect = operation.send(came)
        except StopIteration as done:
            value: T = done.value
            return value

    def _perform(self, effect: Effect) -> Any:
        if isinstance(effect, Request):
            return self._transport.send(effect)
        if isinstance(effect, Sleep):
            return time.sleep(effect.seconds)
        return effect.function(*effect.args, **effect.kwargs)


class Run:
    """A run of an agent: what it decides, does and claims, each on record before anybody hears of it."""

    def __init__(self, client: Ledgerd, key: str, opened: RunState) -> None:
        self._client = client
        self.key = key
        self.id = opened["run"]
        self.opened = opened
        """Where the run stood when it was opened: state, in_doubt, waiting, checkpoint, steps, continues."""

    def step(
        self, name: str, function: Callable[..., Any], input: object, *, action: str | None = None, tool: str | None = None,
        resource: str | None = None, idempotent: bool = False, wait: float | None = None,
        probe: Callable[..., Finding | None] | None = None, decision: str | None = None, params: Sequence[str] = (),
        refs: Sequence[str] = (), estimate: Mapping[str, int] | None = None, cost: Callable[[Any], Mapping[str, int]] | None = None,
        description: str | None = None, schema: object = None,
    ) -> Any:  # fmt: skip
        """Does one step with a function of the program's own, and returns its output as it is recorded.

        The daemon is asked first. Where it permits the step the function is called, with a copy of the input
        that was checked, and what came of it is on record before this returns. A step that is recorded already
        gives its recorded output, and nothing is called.

        A function that has a parameter `call` gets a `Call`. What it raises says what became of the call: see
        `ToolError`. Everything else that the step may come to is raised: Denied, Waiting (for a human: wait
        says for how many seconds to ask again), Failed, InDoubt. A probe is a function like the other one: it
        is asked what became of an attempt that is in doubt, and returns a `Finding`, or None where it cannot tell.
        """
        if inspect.iscoroutinefunction(function):
            raise TypeError("want a function, found a coroutine function: use AsyncLedgerd")
        return self._client._do(
            Step(
                self.key, self.id, name, function, input, action, tool, resource, idempotent, wait, probe, decision, params,
                refs, estimate, cost, description, schema,
            ).do()
        )  # fmt: skip

    def run_here(self, step: str, tool: str, input: object, *, resource: str | None = None, decision: str | None = None, wait: float | None = None) -> Any:
        """Has the daemon do a step with a tool that is registered with it, which counts for more than the agent's word."""
        return self._client._do(steps.run_here(self.key, step, tool, input, resource, decision, wait))

    def report(
        self, step: str, attempt: int, status: str, *, output: object = ABSENT, failure_class: str | None = None, error: str | None = None
    ) -> None:
        """Says what became of an attempt that is in doubt, or was accepted: "success", "failure" or "not_run"."""
        self._client._do(steps.report(self.key, step, attempt, Finding(status, output, failure_class, error)))

    def decide(
        self, name: str, think: Callable[[], Any], *, model: str, question: object = None, context: Sequence[str] = ()
    ) -> Decided:
        """Asks a model, once: what it answered is on record, and is the answer from then on. think returns any
        JSON value, or a `Thought`."""
        return self._client._do(runs.decide(self.key, name, think, model, question, context))

    def context(self, sources: Sequence[Mapping[str, Any]]) -> str:
        """Records what is laid before a model: name, and text or data (bytes) with media. Returns the record's ID."""
        return self._client._do(runs.context(self.key, sources))

    def checkpoint(self, name: str, state: object) -> Saved:
        """Saves a state, once."""
        return self._client._do(runs.checkpoint(self.key, name, state))

    def last_checkpoint(self) -> Saved | None:
        return self._client._do(runs.last_checkpoint(self.key))

    def claim(self, text: str, *, steps: Sequence[str] = (), given: Sequence[Mapping[str, str]] = ()) -> Claimed:
        """Says that something is done, resting on steps; given is what was done in the runs whose work this one
        took up. Raises Unsupported where the evidence does not support it: then it is no completion."""
        return self._client._do(runs.claim(self.key, text, steps, given))

    def close(self) -> RunState:
        """Ends the run as completed, on its last claim. Raises Unsupported where that, or the contract, does not hold."""
        return self._end("completed", None)

    def fail(self, reason: str) -> RunState:
        """Ends the run as failed."""
        return self._end("failed", reason)

    def stop(self, reason: str) -> RunState:
        """Ends the run as stopped."""
        return self._end("stopped", reason)

    def _end(self, end: str, reason: str | None) -> RunState:
        return self._client._do(runs.close(self.key, end, reason))

    def state(self) -> RunState:
        return self._client.state(self.key)

    def offer(
        self, *, to: Mapping[str, str], task: str, scope: Sequence[Scope], evidence: Sequence[str] = (),
        steps: Sequence[str] = (), artifact: object = None, note: str | None = None, for_s: int | None = None,
        head_max_age_s: int | None = None,
    ) -> Offered:  # fmt: skip
        """Offers work to another agent: to is its origin, actor and key."""
        return self._client._do(runs.offer(self.key, to, task, scope, evidence, steps, artifact, note, for_s, head_max_age_s))

    def take_up(self, offer: str) -> TakenUp:
        """Accepts an offer that waits for the agent, for this run: what comes back of work that was handed out."""
        return self._client._do(runs.take_up(self.key, offer))
