"""What testdata/ says of records, keys, signatures and receipts, this package says."""

from __future__ import annotations

import base64
import json
import pathlib
import unittest
from collections.abc import Callable
from typing import Any

from ledgerd import ed25519
from ledgerd.encoding import Malformed, b64url, from_b64url, sha256
from ledgerd.receipts import ReceiptNotVerified, verify_receipt
from ledgerd.record import parse_entry, parse_payload, thumbprint
from ledgerd.trust import open_head, parse_head, parse_trust

ROOT = pathlib.Path(__file__).resolve().parents[3] / "testdata"
W1 = "w1.example+11c8f4c8+BEtCePP28bkSi/ZxLF65+cydHDRh+AhwUc5Okowfb9iu"
EXIT = {"verified": 0, "wrong": 1, "undecidable": 2, "malformed": 65}


def load(name: str) -> list[dict[str, Any]]:
    vectors: list[dict[str, Any]] = json.loads((ROOT / name).read_text("utf-8"))
    return vectors


def payload_of(vector: dict[str, Any]) -> bytes:
    if "payload_base64url" in vector:
        text = vector["payload_base64url"]
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    return str(vector["payload"]).encode()


class Evidence(unittest.TestCase):
    def test_keys(self) -> None:
        for v in load("evidence/keys.json"):
            key = from_b64url(v["jwk"]["x"], 32)
            self.assertTrue(ed25519.good_key(key), v["name"])
            self.assertEqual(thumbprint(key), v["thumbprint"])

    def test_signatures(self) -> None:
        vectors = load("evidence/signatures.json")
        self.assertGreater(len(vectors), 80)
        for v in vectors:
            key, message, signature = (bytes.fromhex(v[m]) for m in ("key", "message", "signature"))
            with self.subTest(v["name"]):
                self.assertEqual(ed25519.good_key(key), v["key_accepted"])
                self.assertEqual(ed25519.verify(key, message, signature), v["valid"])

    def test_records(self) -> None:
        keys = {v["name"]: from_b64url(v["jwk"]["x"], 32) for v in load("evidence/keys.json")}
        for v in load("evidence/records.json"):
            with self.subTest(v["name"]):
                record = parse_entry(v["entry"].encode())
                self.assertEqual((record.id, record.kind), (v["id"], v["kind"]))
                self.assertTrue(record.signed_by(keys[v["key"]]))
                self.assertFalse(any(record.signed_by(k) for name, k in keys.items() if name != v["key"]))

    def test_refused_entries(self) -> None:
        for v in load("evidence/entries-refused.json"):
            with self.subTest(v["name"]), self.assertRaises(Malformed):
                parse_entry(v["entry"].encode("utf-8", "surrogatepass"))

    def test_refused_payloads(self) -> None:
        vectors = load("evidence/payloads-refused.json")
        self.assertGreater(len(vectors), 1000)
        for v in vectors:
            with self.subTest(v["name"]), self.assertRaises(Malformed):
                parse_payload(payload_of(v))

    def test_versions(self) -> None:
        for v in load("evidence/versions.json"):
            with self.subTest(v["name"]):
                if v["newer"]:
                    self.assertEqual(parse_payload(payload_of(v)), v["newer"])
                else:
                    self.assertRaises(Malformed, parse_payload, payload_of(v))

    def test_commitments(self) -> None:
        for v in load("evidence/commitments.json"):
            payload, want = payload_of(v), v["commitment"]
            opens = b64url(sha256(bytes.fromhex(v["salt"]), payload)) == want["commit"] and len(payload) == want["size"]
            self.assertEqual(opens, v["opens"], v["name"])


class Receipts(unittest.TestCase):
    def test_cases(self) -> None:
        cases = [c for c in load("bundle/cases.json") if c["file"].endswith(".tlog-proof")]
        self.assertGreater(len(cases), 8)
        for c in cases:
            with self.subTest(c["file"], trust=c["trust"], why=c["why"]):
                self.assertEqual(answer(c["file"], c["trust"]), (c["exit"], c.get("broken", []), c.get("undecidable", [])))

    def test_every_byte_counts(self) -> None:
        """A receipt that holds, and is changed, does not hold any more."""
        receipt = (ROOT / "bundle/done.tlog-proof").read_bytes()
        trust = (ROOT / "bundle/pinned.json").read_bytes()
        verify_receipt(receipt, trust)
        for i in range(0, len(receipt), 23):
            changed = receipt[:i] + bytes([receipt[i] ^ 1]) + receipt[i + 1 :]
            with self.subTest(byte=i), self.assertRaises(ReceiptNotVerified):
                verify_receipt(changed, trust)

    def test_what_is_verified(self) -> None:
        done = verify_receipt((ROOT / "bundle/done.tlog-proof").read_bytes(), (ROOT / "bundle/pinned.json").read_bytes())
        self.assertEqual((done.kind, done.origin, done.index, done.size), ("run.closed", "ledger.example/test", 10, 30))
        self.assertEqual(done.record["run.closed"], {"end": "completed"})

    def test_malformed_trust(self) -> None:
        receipt = (ROOT / "bundle/done.tlog-proof").read_bytes()
        self.assertIn(W1, (ROOT / "bundle/witnessed.json").read_text())
        good = json.loads((ROOT / "bundle/pinned.json").read_text())
        changes: tuple[Callable[[Any], Any], ...] = (
            lambda t: t.update(trust="v2"),
            lambda t: t.update(more=1),
            lambda t: t.update(ledgers=[]),
            lambda t: t["ledgers"].append(t["ledgers"][0]),
            lambda t: t["ledgers"][0].update(entry0="ev_" + "A" * 43),
            lambda t: t["ledgers"][0].update(weakest_source="agent"),
            lambda t: t["ledgers"][0].update(policy=t["ledgers"][0]["policy"].replace("quorum none\n", "")),
            lambda t: t["ledgers"][0].update(policy=t["ledgers"][0]["policy"].replace("+40a3", "+40a4")),
            lambda t: t["ledgers"][0].update(policy=t["ledgers"][0]["policy"].replace("quorum none\n", "quorum a\n")),
            lambda t: t["ledgers"][0].update(policy=t["ledgers"][0]["policy"] + "quorum none\n"),
            lambda t: t["ledgers"][0].update(policy=t["ledgers"][0]["policy"] + t["ledgers"][0]["policy"].partition("\n")[0]),
            lambda t: t["ledgers"][0].update(policy=f"witness a {W1}\nwitness b {W1}\n" + t["ledgers"][0]["policy"]),
            lambda t: t["ledgers"][0].update(policy=f"witness a {W1}\ngroup g 2 a\n" + t["ledgers"][0]["policy"]),
            lambda t: t["ledgers"][0].update(policy=f"witness a {W1}\ngroup g 1 a\ngroup h 1 a\n" + t["ledgers"][0]["policy"]),
            lambda t: t["ledgers"][0].update(policy=f"witness none {W1}\n" + t["ledgers"][0]["policy"]),
            lambda t: t["ledgers"][0]["actors"][0].update(role="god"),
            lambda t: t["ledgers"][0]["actors"].append({**t["ledgers"][0]["actors"][0], "name": "another"}),
            lambda t: t["ledgers"][0]["actors"][0]["key"].update(x="A" * 43),
        )
        for change in changes:
            trust = json.loads(json.dumps(good))
            change(trust)
            with self.subTest(trust):
                with self.assertRaises(ReceiptNotVerified) as refused:
                    verify_receipt(receipt, json.dumps(trust).encode())
                self.assertEqual(refused.exception.outcome, "malformed")


def answer(file: str, trust: str) -> tuple[int, list[str], list[str]]:
    try:
        verify_receipt((ROOT / "bundle" / file).read_bytes(), (ROOT / "bundle" / trust).read_bytes())
    except ReceiptNotVerified as e:
        if e.outcome == "malformed":
            return EXIT[e.outcome], [], []
        return EXIT[e.outcome], sorted(e.broken), sorted(e.undecidable)
    return 0, [], []


class ForeignHeads(unittest.TestCase):
    """Tree heads that others signed, under the keys that they published (testdata/foreign)."""

    def test_heads(self) -> None:
        entry0 = json.loads((ROOT / "bundle/trust.json").read_text())["ledgers"][0]["entry0"]
        for name, policy, want in (
            ("tessera-0", "tessera", "accepted"),
            ("tessera-1", "tessera", "accepted"),
            ("tessera-8", "tessera", "accepted"),
            ("tessera-15", "tessera", "accepted"),
            ("sumdb-6476701", "sumdb", "broken"),
            ("rekor-798034", "tessera", "undecidable"),
            ("rome-115474666", "tessera", "undecidable"),
        ):
            with self.subTest(name):
                text = (ROOT / f"foreign/{policy}.policy").read_text()
                trust = parse_trust(json.dumps({"trust": "v1", "ledgers": [{"policy": text, "entry0": entry0}]}).encode())
                self.assertEqual(open_head(parse_head((ROOT / f"foreign/{name}.head").read_bytes()), trust).status, want)

    def test_witnesses(self) -> None:
        """The heads of bundles whose trust asks for witnesses: one counts once."""
        for c in load("bundle/cases.json"):
            if c["trust"] != "witnessed.json" or not c["file"].endswith(".bundle"):
                continue
            lines = (ROOT / "bundle" / c["file"]).read_text("utf-8").splitlines()
            heads = [json.loads(line)["head"] for line in lines if line.startswith('{"head"')]
            trust = parse_trust((ROOT / "bundle/witnessed.json").read_bytes())
            answers = {open_head(parse_head(head.encode()), trust).status for head in heads}
            self.assertEqual(answers, {"accepted" if c["exit"] == 0 else "undecidable"}, c["file"])


if __name__ == "__main__":
    unittest.main()
