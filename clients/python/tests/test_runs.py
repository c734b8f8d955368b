"""Decisions, checkpoints, claims, ends, handoffs and receipts against a real daemon."""

from __future__ import annotations

import pathlib
import time
from typing import Any

from ledgerd import Problem, ReceiptNotVerified, Thought, Unsupported, verify_receipt
from town import Town


class Runs(Town):
    def test_whole(self) -> None:
        key = self.key()
        client = self.client()
        run = client.open(key, task="complaint", subject="ticket-1", input={"text": "late"}, intent="Settle it.", budget={"tokens": 1000})
        self.assertEqual((run.opened["state"], run.opened["subject"]), ("open", "ticket-1"))
        laid = run.context([{"name": "customer", "text": "late"}, {"name": "photo", "data": b"\x89PNG", "media": "image/png"}])
        asked: list[int] = []

        def think() -> Thought:
            asked.append(1)
            return Thought({"refund": 150}, rationale="It is late.", cost={"tokens": 12})

        plan = run.decide("plan", think, model="model-1", question={"q": 1}, context=[laid])
        again = run.decide("plan", think, model="model-1")
        self.assertEqual((plan["choice"], again["id"], again["choice"], asked), ({"refund": 150}, plan["id"], {"refund": 150}, [1]))
        self.assertIsNone(run.last_checkpoint())
        saved = run.checkpoint("half", {"n": [1, 2**60]})
        last = run.last_checkpoint()
        assert last is not None
        self.assertEqual((last["id"], last["name"], last["sequence"], last["state"]), (saved["id"], "half", 1, {"n": [1, 2**60]}))
        with self.assertRaises(Problem) as taken:
            run.checkpoint("half", {"n": 2})
        self.assertEqual((taken.exception.reason, taken.exception.stands), ("name_taken", saved["id"]))

        with self.assertRaises(Problem) as unclaimed:
            run.close()
        self.assertEqual(unclaimed.exception.reason, "no_claim")
        with self.assertRaises(Unsupported) as lie:
            run.claim("Lea was told.")
        self.assertEqual(lie.exception.verdict["result"], "unsupported")
        with self.assertRaises(Unsupported) as closed:
            run.close()
        self.assertEqual(closed.exception.claim, lie.exception.claim)
        run.step("mail", lambda input: {"id": 7}, {"to": "lea"}, action="send_email", decision=plan["id"], params=["to"], refs=["id"], estimate={"tokens": 1})
        claim = run.claim("Lea was told.", steps=["mail"])
        self.assertEqual(claim["verdict"]["result"], "supported")
        self.assertEqual(run.close()["end"], "completed")
        self.assertEqual(client.open(key, task="complaint", subject="ticket-1", input={"text": "late"}, intent="Settle it.", budget={"tokens": 1000}).opened["state"], "closed")
        with self.assertRaises(Problem) as changed:
            client.open(key, task="errand")
        self.assertEqual(changed.exception.reason, "run_changed")
        self.receipts(run.id, run.state()["steps"][0]["execution"])

    def receipts(self, run: str, execution: Any) -> None:
        """What the daemon hands out holds, offline; and nothing else does."""
        reader = self.client(token="reader")
        pinned = pathlib.Path(self.settings["pinned"]).read_bytes()
        receipt = reader.receipt(execution)
        found = verify_receipt(receipt, pinned)
        self.assertEqual((found.id, found.kind, found.actor, found.signed_by, found.record["run"]), (execution, "execution", "support", "runtime", run))
        with self.assertRaises(ReceiptNotVerified) as unpinned:
            verify_receipt(receipt, reader.trust())
        self.assertEqual(unpinned.exception.outcome, "undecidable")
        other = self.client("there", "reader").trust()
        with self.assertRaises(ReceiptNotVerified) as stranger:
            verify_receipt(receipt, other)
        self.assertEqual(stranger.exception.outcome, "undecidable")
        bundle = reader.bundle(run=run)
        self.assertTrue(bundle.startswith(b'{"bundle":"v1"') and bundle.endswith(b"}\n") and b'"payload"' in bundle)
        self.assertNotIn(b'"salt"', reader.bundle(run=run, payloads=False))
        with self.assertRaises(ValueError):
            reader.bundle()
        with self.assertRaises(ValueError):
            reader.receipt("../trust")

    def test_ends(self) -> None:
        client = self.client()
        failed = client.open(self.key(), task="errand").fail("tool_failed")
        stopped = client.open(self.key(), task="errand").stop("not_wanted")
        self.assertEqual((failed["end"], failed["reason"], stopped["end"]), ("failed", "tool_failed", "stopped"))

    def test_handoff(self) -> None:
        """Work goes to another organisation's agent, and its result comes back."""
        here, there = self.client(), self.client("there")
        giver = here.open(self.key(), task="research")
        giver.step("search", lambda input: {"rows": 7}, {"q": 1}, action="search")
        offered = giver.offer(
            to=self.settings["there"]["to"], task="analyse", scope=[{"action": "chart", "resource": "report/*"}], steps=["search"],
            artifact={"rows": 7}, note="All checked.",
        )  # fmt: skip
        seen = self.until(lambda: there.handoff(offered["offer"]))
        self.assertEqual((seen["artifact"], seen["unverified_note"], seen["giver"]), ({"rows": 7}, "All checked.", "support"))
        receiver = there.open(self.key(), task="analyse", continues=offered["offer"])
        self.assertEqual(receiver.opened["continues"]["offer"], offered["offer"])
        receiver.step("chart", lambda input: "drawn", {}, action="chart", resource="report/q3")
        back = receiver.offer(to=self.settings["here"]["to"], task="chart", scope=[{"action": "chart", "resource": "report/q3"}], steps=["chart"])
        self.until(lambda: here.handoff(back["offer"]))
        taken = giver.take_up(back["offer"])
        self.assertEqual((taken["offer"], taken["giver"], giver.take_up(back["offer"])["context"]), (back["offer"], "support", taken["context"]))
        claim = giver.claim("It is charted.", steps=["search"], given=[{"action": "chart", "resource": "report/q3"}])
        self.assertEqual(claim["verdict"]["result"], "supported")
        giver.close()

        unwanted = giver_again = here.open(self.key(), task="research")
        giver_again.step("search", lambda input: 1, {}, action="search")
        offer = unwanted.offer(to=self.settings["there"]["to"], task="analyse", scope=[{"action": "chart", "resource": "x"}], steps=["search"])
        self.until(lambda: there.handoff(offer["offer"]))
        self.assertRegex(there.reject_offer(offer["offer"], "no_time"), "^ev_")

    def until(self, ask: Any) -> Any:
        for _ in range(1000):
            try:
                return ask()
            except Problem as e:
                if e.status != 404:
                    raise
            time.sleep(0.01)
        self.fail("it never came")

    def test_approvals(self) -> None:
        run = self.client().open(self.key(), task="errand")
        try:
            run.step("refund", lambda input: 1, {"cents": 30000}, action="issue_refund")
        except Exception as waiting:
            authorization = waiting.authorization  # type: ignore[attr-defined]
        self.assertIn(authorization, [a["authorization"] for a in self.client(token="reader").approvals()])
        with self.assertRaises(Problem) as right:
            self.client().approvals()
        self.assertEqual(right.exception.reason, "right")
