"""Trust files, policies and signed tree heads (docs/bundle-format.md; c2sp.org/tlog-policy,
signed-note, tlog-checkpoint, tlog-cosignature)."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass

from . import ed25519
from .encoding import Malformed, Node, from_b64, from_b64url, parse_json, refuse, sha256
from .record import is_digest, is_identifier, thumbprint

_MAX_TRUST = 8 << 20
_MAX_HEAD = 64 << 10
_ED25519, _ED25519_COSIGNATURE, _ML_DSA_COSIGNATURE = 1, 4, 6
_ROLES = ("root", "runtime", "agent", "tool", "human")
_SOURCES = ("confirmed", "runtime", "reported", "observed", "imported")


@dataclass(frozen=True)
class NoteKey:
    """A verifier key: name+hash+base64(type ‖ key)."""

    name: str
    id: bytes
    type: int
    key: bytes


@dataclass(frozen=True)
class Policy:
    """Which tree heads of one log are accepted."""

    log: NoteKey
    witnesses: Mapping[str, NoteKey]
    groups: Mapping[str, tuple[int, tuple[str, ...]]]
    quorum: str

    def satisfied(self, cosigned: set[str]) -> bool:
        return self.quorum == "none" or self._met(self.quorum, cosigned)

    def _met(self, name: str, cosigned: set[str]) -> bool:
        if name not in self.groups:
            return name in cosigned
        need, members = self.groups[name]
        return sum(self._met(member, cosigned) for member in members) >= need


@dataclass(frozen=True)
class Pinned:
    """An actor whose key the auditor got from the actor."""

    name: str
    role: str
    key: bytes


@dataclass(frozen=True)
class TrustedLedger:
    policy: Policy
    entry0: str
    actors: Mapping[str, Pinned]  # by the thumbprint of the key

    @property
    def origin(self) -> str:
        return self.policy.log.name


def _object(node: Node, where: str, required: tuple[str, ...], optional: tuple[str, ...] = ()) -> dict[str, Node]:
    if not isinstance(node, dict):
        refuse(f"{where}: want an object")
    if set(required) - set(node) or set(node) - set(required) - set(optional):
        refuse(f"{where}: want the members {', '.join(required + optional)} and no other")
    return node


def _text(node: Node, where: str) -> str:
    return node if isinstance(node, str) else refuse(f"{where}: want a string")


def _list(node: Node, where: str) -> list[Node]:
    return node if isinstance(node, list) else refuse(f"{where}: want a list")


def parse_trust(data: bytes) -> dict[str, TrustedLedger]:
    """A trust file: its ledgers by origin."""
    if len(data) > _MAX_TRUST:
        refuse("trust file: more than 8 MiB")
    top = _object(parse_json(data, records=False), "trust file", ("trust", "ledgers"))
    if _text(top["trust"], "trust") != "v1":
        refuse('trust: want "v1"')
    items = _list(top["ledgers"], "ledgers")
    if not 1 <= len(items) <= 256:
        refuse("ledgers: want 1 to 256")
    ledgers: dict[str, TrustedLedger] = {}
    for item in items:
        ledger = _ledger(item)
        if ledger.origin in ledgers:
            refuse("two ledgers of one origin")
        ledgers[ledger.origin] = ledger
    _one_purpose(ledgers)
    return ledgers


def _ledger(item: Node) -> TrustedLedger:
    m = _object(item, "ledger", ("policy", "entry0"), ("actors", "weakest_source"))
    policy = parse_policy(_text(m["policy"], "policy"))
    entry0 = _text(m["entry0"], "entry0")
    if not entry0.startswith("ev_") or not is_digest(entry0[3:]):
        refuse("entry0: want an evidence ID")
    actors: dict[str, Pinned] = {}
    roles: dict[str, str] = {}
    for node in _list(m.get("actors", []), "actors"):
        a = _object(node, "actor", ("name", "role", "key"))
        k = _object(a["key"], "key", ("kty", "crv", "x"))
        if _text(k["kty"], "kty") != "OKP" or _text(k["crv"], "crv") != "Ed25519":
            refuse("key: want an Ed25519 JWK")
        key = from_b64url(_text(k["x"], "x"), 32)
        name, role = _text(a["name"], "name"), _text(a["role"], "role")
        if not ed25519.good_key(key):
            refuse("key: want the canonical encoding of a point of prime order")
        if not is_identifier(name) or role not in _ROLES or roles.setdefault(name, role) != role:
            refuse("actor: want a name, and one role for it")
        if actors.setdefault(thumbprint(key), Pinned(name, role, key)).name != name:
            refuse("one key of two actors")
    if "weakest_source" in m and _text(m["weakest_source"], "weakest_source") not in _SOURCES:
        refuse("weakest_source: a source that there is not")
    return TrustedLedger(policy, entry0, actors)


def _one_purpose(ledgers: Mapping[str, TrustedLedger]) -> None:
    purposes: dict[bytes, str] = {}

    def use(key: bytes, purpose: str) -> None:
        if purposes.setdefault(key, purpose) != purpose:
            refuse("one key with two purposes")

    for ledger in ledgers.values():
        use(ledger.policy.log.key, f"log {ledger.origin}")
        for witness in ledger.policy.witnesses.values():
            use(witness.key, "witness")
        for actor in ledger.actors.values():
            use(actor.key, f"actor {actor.name}")


def _note_key(text: str, types: tuple[int, ...]) -> NoteKey:
    m = re.fullmatch(r"([^+]+)\+([0-9a-f]{8})\+(.+)", text, re.DOTALL)
    if m is None or not _is_name(m[1]):
        refuse("want a verifier key, name+hash+key")
    data = from_b64(m[3])
    if len(data) < 2 or data[0] not in types:
        refuse(f"verifier key of {m[1]!r}: want one of signature type {types}")
    key_id = sha256(m[1].encode(), b"\n", data)[:4]
    if key_id.hex() != m[2]:
        refuse(f"verifier key of {m[1]!r}: its key ID is not that of name and key")
    if data[0] == _ML_DSA_COSIGNATURE:
        if len(data) != 1 + 1312:
            refuse(f"verifier key of {m[1]!r}: want 1,312 bytes")
    elif not ed25519.good_key(data[1:]):
        refuse(f"verifier key of {m[1]!r}: want the canonical encoding of a point of prime order")
    return NoteKey(m[1], key_id, data[0], data[1:])


def parse_policy(text: str) -> Policy:
    log: NoteKey | None = None
    quorum: str | None = None
    witnesses: dict[str, NoteKey] = {}
    groups: dict[str, tuple[int, tuple[str, ...]]] = {}
    grouped: set[str] = set()
    keys: set[bytes] = set()

    def define(name: str) -> str:
        if name == "none" or name in witnesses or name in groups or len(witnesses) + len(groups) == 256:
            refuse(f"policy: {name!r} is taken, or the 257th witness or group")
        return name

    def use(key: NoteKey) -> NoteKey:
        if key.key in keys:
            refuse("policy: two lines have one key")
        keys.add(key.key)
        return key

    for line in text.split("\n"):
        if re.search("[\x00-\x08\x0a-\x1f\x7f]", line):
            refuse("policy: a control character")
        f = [word for word in re.split("[ \t]+", line) if word]
        if not f or f[0].startswith("#"):
            continue
        if f[0] == "log" and len(f) in (2, 3) and log is None:
            log = use(_note_key(f[1], (_ED25519,)))
        elif f[0] == "witness" and len(f) in (3, 4):
            witnesses[define(f[1])] = use(_note_key(f[2], (_ED25519_COSIGNATURE, _ML_DSA_COSIGNATURE)))
        elif f[0] == "group" and len(f) >= 4:
            need = {"any": "1", "all": str(len(f) - 3)}.get(f[2], f[2])
            if not re.fullmatch("[1-9][0-9]{0,3}", need) or int(need) > len(f) - 3:
                refuse("policy: a threshold that the group cannot meet")
            for name in f[3:]:
                if name in grouped or name not in witnesses and name not in groups:
                    refuse(f"policy: {name!r} is no witness or group on a line before, or a member already")
                grouped.add(name)
            groups[define(f[1])] = (int(need), tuple(f[3:]))
        elif f[0] == "quorum" and len(f) == 2 and quorum is None and (f[1] == "none" or f[1] in witnesses or f[1] in groups):
            quorum = f[1]
        else:
            refuse("policy: a line that is none, or one too many")
    if log is None or quorum is None:
        refuse("policy: want one log line and one quorum line")
    return Policy(log, witnesses, groups, quorum)


def _is_name(name: str) -> bool:
    """A key's name (c2sp.org/signed-note): no plus sign, and no white space of Unicode's."""
    return name != "" and "+" not in name and not any(
        c in "\t\n\v\f\r\x85" or unicodedata.category(c) in ("Zs", "Zl", "Zp") for c in name
    )


@dataclass(frozen=True)
class UnverifiedHead:
    """A signed tree head, taken apart."""

    origin: str
    size: int
    root: bytes
    body: bytes
    signatures: tuple[tuple[str, bytes, bytes], ...]  # name, key ID, signature
    note: bool  # whether signed-note allows it

    def first_by(self, key: NoteKey) -> bytes | None:
        """The signature of a key. A line that stands twice counts once."""
        return next((sig for name, key_id, sig in self.signatures if (name, key_id) == (key.name, key.id)), None)


def parse_head(data: bytes) -> UnverifiedHead:
    if len(data) > _MAX_HEAD:
        refuse("tree head: more than 64 KiB")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        refuse("tree head: not UTF-8")
    # Without an empty line nobody signed it.
    body, _, tail = text.rpartition("\n\n") if "\n\n" in text else (text[:-1], "", "")
    lines = body.split("\n")
    if not text.startswith(body + "\n") or len(lines) < 3 or not lines[0] or tail and not tail.endswith("\n"):
        refuse("tree head: want the lines origin, size and root, an empty line and signatures")
    if not re.fullmatch("0|[1-9][0-9]{0,18}", lines[1]) or int(lines[1]) > 1 << 62:
        refuse("tree head: want a size in decimal, at most 2^62")
    root = from_b64(lines[2], 32)
    rows = tail.split("\n")[:-1]
    note = not re.search("[\x00-\x09\x0b-\x1f]", text) and 0 < len(rows) <= 100
    if len(rows) > 256:
        refuse("tree head: more than 256 signatures")
    signatures = []
    for row in rows:
        dash, _, rest = row.partition(" ")
        name, space, encoded = rest.partition(" ")
        if dash != "\u2014" or not name or not space:
            refuse("tree head: a signature line that is none")
        raw = from_b64(encoded)
        if len(raw) < 5:
            refuse("tree head: a signature line that is none")
        note = note and _is_name(name)
        signatures.append((name, raw[:4], raw[4:]))
    return UnverifiedHead(lines[0], int(lines[1]), root, (body + "\n").encode(), tuple(signatures), note)


@dataclass(frozen=True)
class HeadAnswer:
    """What a trust file says of a tree head."""

    status: str  # accepted, broken or undecidable
    why: str = ""
    ledger: TrustedLedger | None = None  # whose log signed it


def open_head(head: UnverifiedHead, ledgers: Mapping[str, TrustedLedger]) -> HeadAnswer:
    """docs/bundle-format.md, "Accepting a tree head"."""
    ledger = ledgers.get(head.origin)
    if ledger is None:
        if any(head.first_by(other.policy.log) is not None for other in ledgers.values()):
            return HeadAnswer("broken", "the origin is not the name of the key that signed the tree head")
        return HeadAnswer("undecidable", "the trust file has no ledger of this origin")
    signature = head.first_by(ledger.policy.log)
    if signature is None:
        known = {(w.name, w.id) for w in ledger.policy.witnesses.values()}
        if all((name, key_id) in known for name, key_id, _ in head.signatures):
            return HeadAnswer("broken", "no log signed the tree head")
        return HeadAnswer("undecidable", "the tree head is signed by a key that the trust file has not")
    if not head.note:
        return HeadAnswer("broken", "the tree head is no signed note")
    if not ed25519.verify(ledger.policy.log.key, head.body, signature):
        return HeadAnswer("broken", "the log's signature of the tree head does not verify")
    if head.size == 0 and head.root != sha256():
        return HeadAnswer("broken", "a tree head of size 0 with a root")
    cosigned = {name for name, w in ledger.policy.witnesses.items() if _cosigned(w, head)}
    if not ledger.policy.satisfied(cosigned):
        return HeadAnswer("undecidable", "too few witnesses cosigned the tree head", ledger)
    return HeadAnswer("accepted", "", ledger)


def _cosigned(witness: NoteKey, head: UnverifiedHead) -> bool:
    """c2sp.org/tlog-cosignature. There is no ML-DSA here: a cosignature of type 6 is as good as none."""
    signature = head.first_by(witness)
    if witness.type != _ED25519_COSIGNATURE or signature is None or len(signature) != 8 + 64:
        return False
    time = int.from_bytes(signature[:8], "big")
    return ed25519.verify(witness.key, f"cosignature/v1\ntime {time}\n".encode() + head.body, signature[8:])


__all__ = ["Malformed", "TrustedLedger", "open_head", "parse_head", "parse_policy", "parse_trust"]
