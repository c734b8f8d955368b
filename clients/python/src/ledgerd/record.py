"""The evidence record: docs/record-format.md, table for table.

It parses and verifies, and cannot sign.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from . import ed25519
from .encoding import Malformed, Node, Number, evidence_id, from_b64url, parse_json, refuse, sha256, b64url

MAX_ENTRY = 65535

_Table = dict[str, tuple[str, bool]]  # member: its type, and whether it is required


def _table(*columns: str) -> _Table:
    """A column reads "name! type": ! where it is required. Types are those of the page;
    [type] is a list, a|b words, >=1 the least integer."""
    table: _Table = {}
    for column in columns:
        name, _, kind = column.partition(" ")
        table[name.rstrip("!")] = (kind, name.endswith("!"))
    return table


_OBJECTS = {
    "commitment": _table("commit! digest", "size! >=0", "media! identifier"),
    "contract reference": _table("document! commitment", "declared_by! identifier"),
    "context source": _table("name! identifier", "content! commitment", "evidence evidence ID"),
    "statement": _table("text! commitment", "assertions [assertion]", "cites [evidence ID]", "steps [identifier]"),
    "assertion": _table("kind! contract|action", "action identifier", "resource identifier", "expect commitment"),
    "recipient": _table("origin! origin", "actor! identifier", "key! digest"),
    "scope entry": _table("action! identifier", "resource! identifier"),
    "tree head": _table("size! >=1", "root! digest"),
    "successor": _table("origin! origin", "head! tree head"),
    "key": _table("kty! OKP", "crv! Ed25519", "x! base64url"),
}

_LINE, _BESIDE, _EITHER, _REGISTRY, _OUTSIDE = "line", "beside", "line or beside", "registry", "outside"


@dataclass(frozen=True)
class Kind:
    """A row of the table of kinds, and the table of its body."""

    place: str
    signer: str
    registry: bool
    body: _Table
    first: bool = False  # of its line: prev is refused


def _kind(place: str, signer: str, registry: bool, *columns: str, first: bool = False) -> Kind:
    return Kind(place, signer, registry, _table(*columns), first)


_SOURCES = "runtime|reported|observed|imported"
_CLASSES = (
    "tool_timeout|tool_unavailable|rate_limited|tool_failed|invalid_tool_payload|bad_reasoning|permission_denied"
    "|cost_budget_exceeded|outcome_unknown|claim_unsupported"
)

KINDS: Mapping[str, Kind] = {
    "run.opened": _kind(
        _LINE, "runtime", True, "principal! identifier", "subject identifier", "task! identifier", "intent commitment",
        "input commitment", "contract contract reference", "budget amounts", "runtime! identifier", "parent evidence ID",
        "acceptance evidence ID", "source imported|observed|reported", "imported identifier", first=True,
    ),
    "run.resumed": _kind(_LINE, "runtime", True, "reason! identifier", "in_doubt [evidence ID]"),
    "context": _kind(_LINE, "runtime", False, "sources! [context source]"),
    "decision": _kind(
        _EITHER, "agent", False, "step identifier", "model! identifier", "question commitment", "choice! commitment",
        "rationale commitment", "context [evidence ID]", "cost amounts",
    ),
    "authorization": _kind(
        _LINE, "runtime", False, "step! identifier", "action! identifier", "resource identifier", "tool! identifier",
        "tool_schema commitment", "input! commitment", "params free-form", "idempotency_key! identifier",
        "decision evidence ID", "effect! allow|deny|escalate", "mode! enforce|observe", "policies [identifier]",
        "policy_set commitment", "errors commitment", "team identifier", "escalated evidence ID", "approval evidence ID",
        "estimate amounts", f"source! {_SOURCES}",
    ),
    "approval": _kind(_BESIDE, "human", True, "answer! approve|refuse", "until time", "reason commitment"),
    "execution": _kind(
        _LINE, "runtime", False, "authorization! evidence ID", "action! identifier", "resource identifier",
        "tool! identifier", "input! commitment", "attempt! >=1", "status! success|failure|accepted|unknown|not_run",
        f"class {_CLASSES}", f"source! {_SOURCES}", "output commitment", "refs free-form", "error commitment",
        "confirmation evidence ID", "took_ms >=0", "cost amounts",
    ),
    "confirmation": _kind(_BESIDE, "tool", False, "status! success|failure|not_run", "output commitment", "refs free-form"),
    "settlement": _kind(
        _LINE, "runtime", False, "settles! evidence ID", "by! probe|human|confirmation|report", "answer evidence ID",
        "finding! success|failure|not_run", "output commitment", "refs free-form",
    ),
    "checkpoint": _kind(
        _LINE, "runtime", False, "name! identifier", "sequence! >=1", "state! commitment", "covers [evidence ID]"
    ),
    "claim": _kind(_EITHER, "agent", False, "statements! [statement]"),
    "verdict": _kind(
        _LINE, "runtime", True, "claim evidence ID",
        "result! supported|contradicted|unsupported|in_doubt|undisclosed|no_contract", "document! commitment",
    ),
    "escalation": _kind(
        _LINE, "runtime", False, "reason! identifier", "to! identifier", "text commitment", "concerns [evidence ID]"
    ),
    "handoff.offered": _kind(
        _EITHER, "agent", True, "to! recipient", "task! identifier", "scope! [scope entry]", "artifact commitment",
        "evidence [evidence ID]", "note commitment", "expires! time", "head_max_age_s! >=1", "parent evidence ID",
    ),
    "handoff.accepted": _kind(
        _OUTSIDE, "agent", True, "offer! evidence ID", "origin! origin", "opens! run ID", "head! tree head",
        "bundle! commitment", "acceptance evidence ID",
    ),
    "handoff.rejected": _kind(
        _OUTSIDE, "agent", True, "offer! evidence ID", "origin! origin", "reason! identifier", "proof commitment"
    ),
    "run.closed": _kind(
        _LINE, "runtime", True, "end! completed|failed|stopped", "reason identifier", "text commitment"
    ),
    "ledger.created": _kind(_REGISTRY, "root", True, "root_keys! [key]", "successor successor", first=True),
    "actor.registered": _kind(
        _REGISTRY, "root", True, "name! identifier", "role! runtime|agent|tool|human", "key key", "host identifier",
        "teams [identifier]",
    ),
    "actor.revoked": _kind(
        _REGISTRY, "root", True, "name! identifier", "key digest", "suspect_from >=0", "reason! identifier"
    ),
    "payload.erased": _kind(_OUTSIDE, "runtime", False, "commit! digest", "reason! identifier"),
}

_ENVELOPE = _table(
    "v! >=1", "origin! origin", "kind! identifier", "registry >=0", "run run ID", "prev evidence ID", "about evidence ID",
    "cites [evidence ID]", "actor! identifier", "time! time", "at time",
)


def is_identifier(text: str) -> bool:
    return re.fullmatch("[\x21-\x7e]{1,256}", text) is not None


def is_digest(text: str) -> bool:
    try:
        return any(from_b64url(text, 32))
    except Malformed:
        return False


def _is_time(text: str) -> bool:
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z", text):
        return False
    try:
        time = datetime.datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ")
    except ValueError:
        return False
    return time > datetime.datetime(1970, 1, 1)


_UUID = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"

_SCALARS: Mapping[str, Callable[[str], bool]] = {
    "identifier": is_identifier,
    "origin": lambda s: is_identifier(s) and "+" not in s,
    "time": _is_time,
    "run ID": lambda s: re.fullmatch("run_" + _UUID, s) is not None,
    "evidence ID": lambda s: s.startswith("ev_") and is_digest(s[3:]),
    "digest": is_digest,
    "base64url": lambda s: len(s) == 43,
}


def _check(node: Node, kind: str, where: str) -> None:
    """Checks a value against a type of the page."""
    if kind.startswith("["):
        if not isinstance(node, list) or not node:
            refuse(f"{where}: want a list of {kind[1:-1]}")
        for i, item in enumerate(node):
            _check(item, kind[1:-1], f"{where}[{i}]")
        if kind == "[evidence ID]" and len({str(item) for item in node}) != len(node):
            refuse(f"{where} names a record twice")
    elif kind.startswith(">="):
        if not isinstance(node, Number) or not node.integer or node.value < int(kind[2:]):
            refuse(f"{where}: want an integer {kind}")
    elif kind in ("free-form", "amounts"):
        if not isinstance(node, dict) or not node:
            refuse(f"{where}: want an object with a member")
        for unit, amount in node.items() if kind == "amounts" else ():
            if not re.fullmatch("tokens|tool_calls|attempts|wall_ms|[a-z]{3}_micro", unit):
                refuse(f"{where}: a unit that is none")
            _check(amount, ">=0", f"{where}.{unit}")
    elif kind in _OBJECTS:
        _between(kind, _members(node, _OBJECTS[kind], where))
    elif not isinstance(node, str) or not (_SCALARS[kind](node) if kind in _SCALARS else node in kind.split("|")):
        refuse(f"{where}: want {kind}")


def _members(node: Node, table: _Table, where: str) -> dict[str, Node]:
    """Checks an object against a table. Nothing that is not in it may stand there."""
    if not isinstance(node, dict):
        refuse(f"{where}: want an object")
    for name in node:
        if name not in table:
            refuse(f"{where}: a member that it has not")
    for name, (kind, required) in table.items():
        if name in node:
            _check(node[name], kind, f"{where}.{name}")
        elif required:
            refuse(f"{where}.{name} is missing")
    return node


def _only(condition: bool, what: str) -> None:
    if not condition:
        refuse(what)


def _between(kind: str, b: dict[str, Node]) -> None:
    """What the tables say in their last column, between the members of one object."""
    if kind == "run.opened":
        _only("imported" not in b or b.get("source") == "imported", "imported goes with source imported")
    elif kind == "authorization":
        _only("errors" not in b or b["effect"] == "deny", "errors go with effect deny")
        _only(("team" in b) == (b["effect"] == "escalate"), "team goes with effect escalate")
        _only(("escalated" in b) == ("approval" in b), "escalated and approval go together")
        _only("approval" not in b or b["effect"] != "escalate", "an approval with effect escalate")
    elif kind == "approval":
        _only(("until" in b) == (b["answer"] == "approve"), "until goes with approve")
    elif kind == "execution":
        _only("class" in b or b["status"] != "failure", "a failure without class")
        _only("class" not in b or b["status"] in ("failure", "unknown"), "a class of what did not fail")
    elif kind == "settlement":
        _only("answer" in b or b["by"] != "confirmation", "by confirmation without answer")
    elif kind == "assertion":
        if b["kind"] == "action":
            _only("action" in b, "an action that is not named")
        else:
            _only(not {"action", "resource", "expect"} & set(b), "kind contract names no action")
    elif kind == "ledger.created":
        keys = b["root_keys"]
        assert isinstance(keys, list)
        _only(len({str(k) for k in keys}) == len(keys) <= 16, "root keys: each once, at most 16")
    elif kind == "actor.registered":
        _only(("key" in b) != ("host" in b), "exactly one of key and host")
        _only("host" not in b or b["role"] == "agent", "host goes with role agent")
        _only("teams" not in b or b["role"] == "human", "teams go with role human")
    elif kind == "key":
        _only(ed25519.good_key(from_b64url(str(b["x"]), 32)), "a key that is not the canonical encoding of a point of prime order")
    if kind in ("execution", "confirmation", "settlement"):
        _only("refs" not in b or "output" in b, "refs without output")


def parse_payload(payload: bytes) -> dict[str, Node] | int:
    """What the payload of an entry says: the record, or the number of a later version."""
    node = parse_json(payload)
    if not isinstance(node, dict):
        refuse("the payload is no object")
    v = node.get("v")
    if not isinstance(v, Number) or not v.integer or v.value < 1:
        refuse("v is not 1")
    if v.value > 1:
        return v.value
    name = node.get("kind")
    if not isinstance(name, str) or name not in KINDS:
        refuse("a kind that there is not")
    kind = KINDS[name]
    rest = {member: value for member, value in node.items() if member not in (name, "ext")}
    _members(rest, _ENVELOPE, "record")
    if name not in node:
        refuse(f"the body {name} is missing")
    _between(name, _members(node[name], kind.body, name))
    if "ext" in node:
        _check(node["ext"], "free-form", "ext")
        for member in node["ext"] if isinstance(node["ext"], dict) else ():
            _only(is_identifier(member) and re.fullmatch(r".+\..+", member) is not None, "ext: a name without prefix")
    _place(rest, kind)
    return node


def _place(record: dict[str, Node], kind: Kind) -> None:
    """Holds run, prev, about, cites and registry to the place of the kind."""
    prev, about = "prev" in record, "about" in record
    _only(("registry" in record) == kind.registry, "registry: as the table of kinds says")
    _only(("run" in record) == (kind.place in (_LINE, _BESIDE, _EITHER)), "run: as the place says")
    if kind.place == _EITHER:
        _only(prev != about, "exactly one of prev and about")
    else:
        _only(prev == (kind.place in (_LINE, _REGISTRY) and not kind.first), "prev: as the place says")
        _only(about == (kind.place == _BESIDE), "about: as the place says")
    _only("cites" not in record or kind.place in (_LINE, _EITHER) and not about, "cites stands on the line of a run only")
    if kind.place == _REGISTRY:
        _only((record["registry"] == Number("0")) == kind.first, "number 0 is that of ledger.created alone")


@dataclass(frozen=True)
class UnverifiedRecord:
    """A record that has the form. Nobody has checked who signed it."""

    id: str
    version: int
    kind: str
    origin: str
    actor: str
    key_id: str
    payload: Mapping[str, Any] = field(repr=False)
    message: bytes = field(repr=False)
    signature: bytes = field(repr=False)

    def signed_by(self, key: bytes) -> bool:
        return thumbprint(key) == self.key_id and ed25519.verify(key, self.message, self.signature)


def thumbprint(key: bytes) -> str:
    """RFC 7638."""
    return b64url(sha256(b'{"crv":"Ed25519","kty":"OKP","x":"' + b64url(key).encode() + b'"}'))


def parse_entry(entry: bytes) -> UnverifiedRecord:
    if not 1 <= len(entry) <= MAX_ENTRY:
        refuse("an entry has 1 to 65,535 bytes")
    try:
        parts = entry.decode("ascii").split(".")
    except UnicodeDecodeError:
        refuse("an entry is ASCII")
    if len(parts) != 3:
        refuse(f"want three parts, found {len(parts)}")
    header, payload, signature = (from_b64url(part) for part in parts)
    m = re.fullmatch(rb'\{"alg":"EdDSA","kid":"([A-Za-z0-9_-]{43})","typ":"evidence\+jws"\}', header)
    if m is None or not is_digest(m[1].decode()):
        refuse("not the protected header that there is")
    if not payload:
        refuse("the payload is empty")
    if len(signature) != 64:
        refuse(f"want a signature of 64 bytes, found {len(signature)}")
    record = parse_payload(payload)
    of = {} if isinstance(record, int) else record
    return UnverifiedRecord(
        id=evidence_id(entry), version=record if isinstance(record, int) else 1, kind=str(of.get("kind", "")),
        origin=str(of.get("origin", "")), actor=str(of.get("actor", "")), key_id=m[1].decode(), payload=of,
        message=f"{parts[0]}.{parts[1]}".encode(), signature=signature,
    )


def may_sign(kind: str, role: str, hosted: bool) -> bool:
    """Whether an actor of a role may sign a kind. hosted: as the runtime of the record's actor."""
    signer = KINDS[kind].signer
    return role == ("runtime" if signer == "agent" and hosted else signer)
