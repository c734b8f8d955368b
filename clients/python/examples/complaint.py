"""An agent of a kitchen shop that works through a complaint: it pays back, and writes to the customer.

    python3 complaint.py complaint.json

It can be killed at any moment. Run again, it goes on: nothing is paid or sent twice. The environment says
where the daemon is (LEDGERD_SERVER, LEDGERD_TOKEN), the shop (SHOP), and the mail server (MAIL, for SMTP) with
its mailbox (MAILBOX).
"""

from __future__ import annotations

import email.message
import hashlib
import json
import os
import pathlib
import smtplib
import sys
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

from ledgerd import Call, Finding, Ledgerd, Run, Thought

SENDER = "support@kettle.example"


def main(file: str) -> None:
    complaint = json.loads(pathlib.Path(file).read_text("utf-8"))
    with Ledgerd(os.environ["LEDGERD_SERVER"], os.environ["LEDGERD_TOKEN"]) as client:
        run = client.open(
            "complaint-" + complaint["id"], task="refund", subject="order:" + complaint["order"],
            principal="customer:" + complaint["id"], intent=complaint["text"], input=complaint, budget={"tool_calls": 4},
        )  # fmt: skip
        print(work(run, complaint))


def work(run: Run, complaint: dict[str, Any]) -> str:
    """The work itself. Each step is on record before the next begins; what is recorded is not done again."""
    plan = run.decide("plan", lambda: think(complaint), model="scripted-model", question=complaint)
    run.step(
        "refund", pay, {"order": complaint["order"], "cents": plan["choice"]["cents"]}, action="issue_refund",
        resource=complaint["order"], idempotent=True, decision=plan["id"], wait=60,
    )  # fmt: skip
    run.checkpoint("settled", plan["choice"])
    mail = {"to": complaint["email"], "subject": "Your complaint " + complaint["id"], "text": plan["choice"]["reply"]}
    run.step("reply", send, mail, action="send_email", resource=complaint["email"], decision=plan["id"], probe=arrived)
    claim = run.claim(plan["choice"]["done"], steps=["refund", "reply"])
    run.close()
    return "\n".join([plan["choice"]["done"], *claim["verdict"].get("notes", [])])


def think(complaint: dict[str, Any]) -> Thought:
    """Stands for a language model."""
    euros = f"{complaint['cents'] / 100:.2f} EUR"
    return Thought(
        {
            "cents": complaint["cents"],
            "reply": f"Dear {complaint['customer']}, we are sorry. We have refunded {euros}.",
            "done": f"I have refunded {euros} for {complaint['customer']}, and emailed the confirmation.",
        },
        rationale="Settle it at once, and say so.",
    )


def pay(refund: dict[str, Any], *, call: Call) -> Any:
    """The shop does nothing again under a key that it had."""
    request = urllib.request.Request(
        os.environ["SHOP"] + "/refunds", json.dumps(refund).encode(),
        {"Content-Type": "application/json", "Idempotency-Key": call.idempotency_key},
    )  # fmt: skip
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def send(mail: dict[str, Any], *, call: Call) -> dict[str, str]:
    """A mail server sends what it is given, twice if it is given twice."""
    message = email.message.EmailMessage()
    message["From"], message["To"], message["Subject"] = SENDER, mail["to"], mail["subject"]
    message["Message-ID"] = message_id(call.idempotency_key)
    message.set_content(mail["text"])
    host, _, port = os.environ["MAIL"].partition(":")
    with smtplib.SMTP(host, int(port), timeout=10) as server:
        server.send_message(message)
    return {"message_id": message["Message-ID"]}


def arrived(mail: dict[str, Any], *, call: Call) -> Finding:
    """Asks the mailbox what became of a message."""
    sent = message_id(call.idempotency_key)
    try:
        urllib.request.urlopen(f"{os.environ['MAILBOX']}/messages/{urllib.parse.quote(sent)}", timeout=10).close()
    except urllib.error.HTTPError as e:
        if e.code == 404:
            return Finding("not_run")
        raise
    return Finding("success", output={"message_id": sent})


def message_id(key: str) -> str:
    return f"<{hashlib.sha256(key.encode()).hexdigest()[:32]}@kettle.example>"


if __name__ == "__main__":
    main(sys.argv[1])
