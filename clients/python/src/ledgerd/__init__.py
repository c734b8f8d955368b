"""Runs of agents, governed by a ledgerd daemon.

    client = Ledgerd("http://127.0.0.1:8420", token)
    run = client.open("complaint-4711", task="complaint", subject="ticket-4711", input=complaint)
    run.step("notify", send_email, {"to": "lea@example.com"}, action="send_email")
    run.claim("Lea was told.", steps=["notify"])
    run.close()

Every step is permitted before its function is called, and its outcome is on record before
`step` returns. A program that was killed is run again from the top: what is recorded is not
done again. README.md has it with everything that can go wrong.
"""

from .aio import AsyncLedgerd, AsyncRun
from .client import Ledgerd, Run
from .answers import Amounts, Approval, Claimed, Decided, Handoff, Offered, RunState, Saved, Scope, TakenUp, Verdict
from .runs import Thought
from .steps import Call, Finding
from .errors import Denied, Failed, InDoubt, LedgerdError, Problem, StepError, ToolError, NoAnswer, Unsupported, Waiting
from .governed import governed
from .receipts import ReceiptNotVerified, VerifiedReceipt, verify_receipt

__version__ = "0.1.0"

__all__ = [
    "Amounts",
    "Approval",
    "AsyncLedgerd",
    "AsyncRun",
    "Call",
    "Claimed",
    "Decided",
    "Denied",
    "Failed",
    "Finding",
    "Handoff",
    "InDoubt",
    "Ledgerd",
    "LedgerdError",
    "NoAnswer",
    "Offered",
    "Problem",
    "ReceiptNotVerified",
    "Run",
    "RunState",
    "Saved",
    "Scope",
    "StepError",
    "TakenUp",
    "Thought",
    "ToolError",
    "Unsupported",
    "Verdict",
    "VerifiedReceipt",
    "Waiting",
    "governed",
    "verify_receipt",
]
