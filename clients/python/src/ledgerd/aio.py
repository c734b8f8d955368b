"""The same for asyncio, so that the functions of steps may be async.

Requests are made in threads; every rule is that of `operation`.
"""

from __future__ import annotations

import asyncio
import inspect
import ssl
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, TypeVar

from . import runs, steps
from .answers import Approval, Claimed, Decided, Handoff, Offered, RunState, Saved, Scope, TakenUp
from .operation import ABSENT, Effect, Operation, Sleep, asked, fetched, given
from .steps import Finding, Step
from .transport import Request, Transport

T = TypeVar("T")

# A request may wait a minute for a human. The others have room beside it.
_THREADS = 64


class AsyncLedgerd:
    """See Ledgerd."""

    def __init__(self, server: str, token: str, *, tls: ssl.SSLContext | None = None) -> None:
        self._transport = Transport(server, token, tls)
        self._threads = ThreadPoolExecutor(_THREADS, "ledgerd")

    async def open(
        self, key: str, *, task: str, input: object = None, subject: str | None = None, intent: str | None = None,
        principal: str | None = None, agent: str | None = None, budget: Mapping[str, int] | None = None,
        parent: str | None = None, continues: str | None = None,
    ) -> AsyncRun:  # fmt: skip
        opened = runs.open_run(key, task, input, subject, intent, principal, agent, budget, parent, continues)
        return AsyncRun(self, key, await self._do(opened))

    async def state(self, key: str) -> RunState:
        return await self._do(runs.state(key))

    async def receipt(self, evidence: str) -> bytes:
        return await self._do(fetched(f"/v1/receipts/{runs.check_id(evidence)}"))

    async def bundle(
        self, *, run: str | None = None, record: str | None = None, offer: str | None = None, payloads: bool = True
    ) -> bytes:
        return await self._do(runs.bundle(run, record, offer, payloads))

    async def trust(self) -> bytes:
        return await self._do(fetched("/v1/trust"))

    async def approvals(self) -> list[Approval]:
        approvals: list[Approval] = (await self._do(asked("GET", "/v1/approvals")))["approvals"]
        return approvals

    async def handoff(self, offer: str) -> Handoff:
        handoff: Handoff = await self._do(asked("GET", f"/v1/handoffs/{runs.check_id(offer)}"))
        return handoff

    async def reject_offer(self, offer: str, because: str | None = None) -> str:
        body = {"because": given(because)}
        return str((await self._do(asked("POST", f"/v1/handoffs/{runs.check_id(offer)}/reject", body)))["rejection"])

    async def close(self) -> None:
        self._threads.shutdown(wait=False)
        self._transport.close()

    async def __aenter__(self) -> AsyncLedgerd:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def _do(self, operation: Operation[T]) -> T:
        try:
            effect = next(operation)
            while True:
                try:
                    came = await self._perform(effect)
                except BaseException as e:
                    effect = operation.throw(e)
                else:
                    effect = operation.send(came)
        except StopIteration as done:
            value: T = done.value
            return value

    async def _perform(self, effect: Effect) -> Any:
        if isinstance(effect, Request):
            return await asyncio.get_running_loop().run_in_executor(self._threads, self._transport.send, effect)
        if isinstance(effect, Sleep):
            return await asyncio.sleep(effect.seconds)
        came = effect.function(*effect.args, **effect.kwargs)
        return await came if inspect.isawaitable(came) else came


class AsyncRun:
    """See Run. A plain function is called as it is, in the loop."""

    def __init__(self, client: AsyncLedgerd, key: str, opened: RunState) -> None:
        self._client = client
        self.key = key
        self.id = opened["run"]
        self.opened = opened

    async def step(
        self, name: str, function: Callable[..., Any], input: object, *, action: str | None = None, tool: str | None = None,
        resource: str | None = None, idempotent: bool = False, wait: float | None = None,
        probe: Callable[..., Any] | None = None, decision: str | None = None, params: Sequence[str] = (),
        refs: Sequence[str] = (), estimate: Mapping[str, int] | None = None, cost: Callable[[Any], Mapping[str, int]] | None = None,
        description: str | None = None, schema: object = None,
    ) -> Any:  # fmt: skip
        """See Run.step. A step whose task is cancelled while the function runs is reported as unknown."""
        return await self._client._do(
            Step(
                self.key, self.id, name, function, input, action, tool, resource, idempotent, wait, probe, decision, params,
                refs, estimate, cost, description, schema,
            ).do()
        )  # fmt: skip

    async def run_here(self, step: str, tool: str, input: object, *, resource: str | None = None, decision: str | None = None, wait: float | None = None) -> Any:
        return await self._client._do(steps.run_here(self.key, step, tool, input, resource, decision, wait))

    async def report(
        self, step: str, attempt: int, status: str, *, output: object = ABSENT, failure_class: str | None = None, error: str | None = None
    ) -> None:
        await self._client._do(steps.report(self.key, step, attempt, Finding(status, output, failure_class, error)))

    async def decide(
        self, name: str, think: Callable[[], Any], *, model: str, question: object = None, context: Sequence[str] = ()
    ) -> Decided:
        return await self._client._do(runs.decide(self.key, name, think, model, question, context))

    async def context(self, sources: Sequence[Mapping[str, Any]]) -> str:
        return await self._client._do(runs.context(self.key, sources))

    async def checkpoint(self, name: str, state: object) -> Saved:
        return await self._client._do(runs.checkpoint(self.key, name, state))

    async def last_checkpoint(self) -> Saved | None:
        return await self._client._do(runs.last_checkpoint(self.key))

    async def claim(self, text: str, *, steps: Sequence[str] = (), given: Sequence[Mapping[str, str]] = ()) -> Claimed:
        return await self._client._do(runs.claim(self.key, text, steps, given))

    async def close(self) -> RunState:
        return await self._end("completed", None)

    async def fail(self, reason: str) -> RunState:
        return await self._end("failed", reason)

    async def stop(self, reason: str) -> RunState:
        return await self._end("stopped", reason)

    async def _end(self, end: str, reason: str | None) -> RunState:
        return await self._client._do(runs.close(self.key, end, reason))

    async def state(self) -> RunState:
        return await self._client.state(self.key)

    async def offer(
        self, *, to: Mapping[str, str], task: str, scope: Sequence[Scope], evidence: Sequence[str] = (),
        steps: Sequence[str] = (), artifact: object = None, note: str | None = None, for_s: int | None = None,
        head_max_age_s: int | None = None,
    ) -> Offered:  # fmt: skip
        return await self._client._do(runs.offer(self.key, to, task, scope, evidence, steps, artifact, note, for_s, head_max_age_s))

    async def take_up(self, offer: str) -> TakenUp:
        return await self._client._do(runs.take_up(self.key, offer))
