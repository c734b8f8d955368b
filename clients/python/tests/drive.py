"""The driver of this client: ../../conformance/README.md says what it does."""

from __future__ import annotations

import json
import os
import pathlib
import sys
from collections.abc import Mapping
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "src"))

from ledgerd import Call, Denied, Failed, Finding, InDoubt, Ledgerd, LedgerdError, Problem, Run, Thought, ToolError, Unsupported, Waiting  # noqa: E402

Operation = Mapping[str, Any]


class Driver:
    def __init__(self, client: Ledgerd) -> None:
        self.client = client
        self.run: Run | None = None
        self.decisions: dict[str, str] = {}
        self.laid = ""

    def do(self, op: Operation) -> dict[str, Any]:
        if op["op"] == "open":
            self.run = self.client.open(op["key"], **some(op, "task", "subject", "input", "intent", "principal", "budget"))
            return {"state": self.run.opened["state"]}
        assert self.run is not None
        run, name = self.run, op["op"]
        if name == "step":
            return self.step(run, op)
        if name == "run_here":
            return {"output": run.run_here(op["step"], op["tool"], op["input"], **some(op, "resource"))}
        if name == "decide":
            return self.decide(run, op)
        if name == "context":
            self.laid = run.context(op["sources"])
            return {"id": self.laid}
        if name == "checkpoint":
            return {"id": run.checkpoint(op["name"], op["state"])["id"]}
        if name == "last_checkpoint":
            last = run.last_checkpoint()
            return {"name": last["name"], "checkpoint": last["state"]} if last is not None else {}
        if name == "claim":
            claim = run.claim(op["text"], steps=op["steps"])
            return {"claim": claim["id"], "result": claim["verdict"]["result"]}
        end = {"close": run.close, "fail": run.fail, "stop": run.stop}[name]
        state = end(op["reason"]) if name != "close" else end()  # type: ignore[operator]
        return {"state": state["state"], "end": state["end"]}

    def step(self, run: Run, op: Operation) -> dict[str, Any]:
        keys: list[str] = []

        def function(input: Any, *, call: Call) -> Any:
            keys.append(call.idempotency_key)
            if len(keys) > len(op["calls"]):
                print(f"step {op['step']!r} was called {len(keys)} times", file=sys.stderr)
                os._exit(70)
            reaction = op["calls"][len(keys) - 1]
            if "fail" in reaction:
                raise ToolError(reaction["fail"]["class"], reaction["fail"]["message"])
            if "throw" in reaction:
                raise RuntimeError(reaction["throw"])
            if "unknown" in reaction:
                raise ToolError("outcome_unknown", reaction["unknown"])
            if "crash" in reaction:
                os._exit(reaction["crash"])
            return {"value": object()} if "no_json" in reaction else reaction["return"]

        more = some(op, "action", "tool", "resource", "idempotent", "params", "refs", "estimate")
        if "decision" in op:
            more["decision"] = self.decisions[op["decision"]]
        if "wait_ms" in op:
            more["wait"] = op["wait_ms"] / 1000
        if "probe" in op:
            probe = dict(op["probe"])
            found = Finding(probe["status"], failure_class=probe.get("class"), **some(probe, "output", "error"))
            more["probe"] = lambda input: found
        try:
            output = run.step(op["step"], function, op["input"], **more)
        except LedgerdError as e:
            return {**failed(e), "calls": len(keys), "keys": keys}
        return {"output": output, "calls": len(keys), "keys": keys}

    def decide(self, run: Run, op: Operation) -> dict[str, Any]:
        calls = 0

        def ask() -> Thought:
            nonlocal calls
            calls += 1
            return Thought(**op["think"])

        context = [self.laid] if op.get("context") else []
        decision = run.decide(op["name"], ask, model=op["model"], question=op.get("question"), context=context)
        self.decisions[op["name"]] = decision["id"]
        return {"choice": decision["choice"], "calls": calls}


def some(op: Operation, *names: str) -> dict[str, Any]:
    return {name: op[name] for name in names if name in op}


def failed(e: LedgerdError) -> dict[str, Any]:
    line: dict[str, Any]
    if isinstance(e, Denied):
        line = {"error": "denied", "policies": e.policies, "refusal": e.refusal}
    elif isinstance(e, Waiting):
        line = {"error": "waiting", "team": e.team}
    elif isinstance(e, Failed):
        line = {"error": "failed", "class": e.failure_class, "attempts": e.attempts, "errors": e.errors}
    elif isinstance(e, InDoubt):
        line = {"error": "in_doubt", "doubt": e.doubt, "attempt": e.attempt}
    elif isinstance(e, Unsupported):
        return {"error": "unsupported", "claim": e.claim, "result": e.verdict["result"]}
    elif isinstance(e, Problem):
        return {"error": "problem", "status": e.status, "reason": e.reason}
    else:
        raise e
    line.update(step=e.step, authorization=e.authorization)
    return {name: value for name, value in line.items() if value is not None}


def main(file: str) -> None:
    driver = Driver(Ledgerd(os.environ["LEDGERD_SERVER"], os.environ["LEDGERD_TOKEN"]))
    for at, op in enumerate(json.loads(pathlib.Path(file).read_text("utf-8"))["do"]):
        try:
            line = driver.do(op)
        except LedgerdError as e:
            line = failed(e)
        print(json.dumps({"at": at, **line}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
