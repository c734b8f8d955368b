"""Checks a receipt offline: docs/bundle-format.md, "Receipt"."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .encoding import Malformed, from_b64, leaf_hash, node_hash, refuse
from .record import MAX_ENTRY, UnverifiedRecord, may_sign, parse_entry
from .trust import HeadAnswer, TrustedLedger, UnverifiedHead, open_head, parse_head, parse_trust

VERIFIED, WRONG, UNDECIDABLE, MALFORMED = "verified", "wrong", "undecidable", "malformed"


@dataclass(frozen=True)
class VerifiedReceipt:
    """A record that stands in the log whose tree head was accepted, signed by an actor
    that the trust file pins. What the records of its run have to obey together, a bundle shows."""

    id: str
    index: int
    origin: str
    kind: str
    actor: str
    record: Mapping[str, Any]
    size: int
    root: bytes
    signed_by: str


class ReceiptNotVerified(Exception):
    """A receipt is not verified.

    outcome is "wrong" (something is proven wrong), "undecidable" (trust or evidence is
    missing) or "malformed" (which proves nothing); broken and undecidable map the rules
    inclusion and signature to why.
    """

    def __init__(self, outcome: str, why: str, broken: Mapping[str, str], undecidable: Mapping[str, str]) -> None:
        super().__init__(f"the receipt is {outcome}: {why}")
        self.outcome = outcome
        self.broken = broken
        self.undecidable = undecidable


@dataclass(frozen=True)
class _Receipt:
    entry: bytes
    index: int
    hashes: tuple[bytes, ...]
    head: UnverifiedHead


def _parse(data: bytes) -> _Receipt:
    m = re.fullmatch(
        rb"c2sp\.org/tlog-proof@v1\nextra ([A-Za-z0-9+/=]+)\nindex (0|[1-9][0-9]{0,19})\n((?:[A-Za-z0-9+/=]+\n){0,63})\n(.*)",
        data,
        re.DOTALL,
    )
    if m is None:
        refuse("not a tlog-proof with an extra line")
    entry = from_b64(m[1].decode())
    if len(entry) > MAX_ENTRY:
        refuse("a record of more than 65,535 bytes")
    if int(m[2]) >= 1 << 64:
        refuse("an index beyond 64 bits")
    hashes = tuple(from_b64(line.decode(), 32) for line in m[3].split(b"\n")[:-1])
    return _Receipt(entry, int(m[2]), hashes, parse_head(m[4]))


def _not_included(receipt: _Receipt) -> str:
    """RFC 9162, section 2.1.3.2 (the proofs are those of RFC 6962): "" where it is included, or what is wrong."""
    if receipt.index >= receipt.head.size:
        return "the index is not below the size of the tree"
    fn, sn = receipt.index, receipt.head.size - 1
    root = leaf_hash(receipt.entry)
    for sibling in receipt.hashes:
        if sn == 0:
            return "a hash too many"
        if fn & 1 or fn == sn:
            root = node_hash(sibling, root)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            root = node_hash(root, sibling)
        fn, sn = fn >> 1, sn >> 1
    if sn != 0:
        return "too few hashes"
    return "" if root == receipt.head.root else "the hashes give another root"


@dataclass
class _Findings:
    broken: dict[str, str] = field(default_factory=dict)
    undecidable: dict[str, str] = field(default_factory=dict)


def verify_receipt(receipt: bytes, trust: bytes) -> VerifiedReceipt:
    """Checks a receipt against a trust file, offline. Raises ReceiptNotVerified.

    The trust file comes to you by another way than the receipt. Only with the key of the
    record's signer pinned in it (`actors`) a receipt alone says who signed.
    """
    try:
        ledgers = parse_trust(trust)
    except Malformed as e:
        raise ReceiptNotVerified(MALFORMED, f"the trust file: {e}", {}, {}) from None
    try:
        parsed = _parse(receipt)
    except Malformed as e:
        raise ReceiptNotVerified(MALFORMED, str(e), {}, {}) from None
    found = _Findings()
    head = open_head(parsed.head, ledgers)
    _inclusion(parsed, head, found)
    try:
        record: UnverifiedRecord | None = parse_entry(parsed.entry)
    except Malformed as e:
        record = None
        found.broken["signature"] = f"the record: {e}"
    signer = _signer(record, head.ledger, found) if record is not None else ""
    if found.broken or found.undecidable:
        outcome, of = (WRONG, found.broken) if found.broken else (UNDECIDABLE, found.undecidable)
        raise ReceiptNotVerified(outcome, "; ".join(of.values()), found.broken, found.undecidable)
    assert record is not None and head.ledger is not None
    return VerifiedReceipt(
        id=record.id, index=parsed.index, origin=record.origin, kind=record.kind, actor=record.actor,
        record=record.payload, size=parsed.head.size, root=parsed.head.root, signed_by=signer,
    )


def _inclusion(receipt: _Receipt, head: HeadAnswer, found: _Findings) -> None:
    if head.status == "broken":
        found.broken["inclusion"] = head.why
    elif head.status == "undecidable":
        found.undecidable["inclusion"] = head.why
    # The log's own word counts against it, with a quorum or without.
    wrong = _not_included(receipt)
    if head.ledger is not None and wrong:
        found.broken["inclusion"] = wrong
        found.undecidable.pop("inclusion", None)


def _signer(record: UnverifiedRecord, ledger: TrustedLedger | None, found: _Findings) -> str:
    """Decides who signed by the trust file alone: a receipt does not say what the registry said."""
    if record.version > 1:
        found.undecidable["signature"] = "the record is of a later version"
    elif ledger is None:
        found.undecidable["signature"] = "no log that the trust file names signed the tree head"
    elif record.origin != ledger.origin:
        found.broken["signature"] = "the record is another ledger's"
    elif record.key_id in ledger.actors:
        pin = ledger.actors[record.key_id]
        hosted = pin.role == "runtime" and record.actor != pin.name
        if record.actor != pin.name and not hosted or not may_sign(record.kind, pin.role, hosted):
            found.broken["signature"] = f"{pin.name} may not sign this record"
        elif not record.signed_by(pin.key):
            found.broken["signature"] = f"the signature is not {pin.name}'s"
        return pin.name
    elif any(pin.name == record.actor for pin in ledger.actors.values()):
        found.broken["signature"] = "signed by another key than the trust file pins for the actor"
    else:
        found.undecidable["signature"] = "the trust file pins no key of the signer: a bundle holds the registry"
    return ""
