"""Verifies Ed25519 signatures (RFC 8032), as strictly as docs/record-format.md wants it.

Python's standard library has no Ed25519. Nothing here is secret, so nothing here
runs in constant time, and nothing here can sign.
"""

from __future__ import annotations

import functools
import hashlib

_P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
"""The order of the base point."""

_D = -121665 * pow(121666, -1, _P) % _P
_SQRT_MINUS_ONE = pow(2, (_P - 1) // 4, _P)

_Point = tuple[int, int, int, int]  # extended coordinates: x = X/Z, y = Y/Z, xy = T/Z
_IDENTITY: _Point = (0, 1, 1, 0)


def _decode(encoded: bytes) -> _Point | None:
    """Decodes a point (RFC 8032, section 5.1.3); None where the encoding is not the canonical one."""
    if len(encoded) != 32:
        return None
    y = int.from_bytes(encoded, "little")
    sign, y = y >> 255, y & (1 << 255) - 1
    if y >= _P:
        return None
    u, v = (y * y - 1) % _P, (_D * y * y + 1) % _P
    x = u * pow(v, 3, _P) * pow(u * pow(v, 7, _P), (_P - 5) // 8, _P) % _P
    if v * x * x % _P == -u % _P:
        x = x * _SQRT_MINUS_ONE % _P
    if v * x * x % _P != u or x == 0 and sign == 1:
        return None
    if x & 1 != sign:
        x = _P - x
    return x, y, 1, x * y % _P


def _encode(point: _Point) -> bytes:
    x, y, z, _ = point
    inverse = pow(z, -1, _P)
    return (y * inverse % _P | (x * inverse % _P & 1) << 255).to_bytes(32, "little")


def _add(p: _Point, q: _Point) -> _Point:
    """Adds (RFC 8032, section 5.1.4). The formulas are complete, so this doubles too."""
    (x1, y1, z1, t1), (x2, y2, z2, t2) = p, q
    a = (y1 - x1) * (y2 - x2) % _P
    b = (y1 + x1) * (y2 + x2) % _P
    c = 2 * t1 * t2 * _D % _P
    d = 2 * z1 * z2 % _P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P


def _double(p: _Point) -> _Point:
    x, y, z, _ = p
    a, b = x * x % _P, y * y % _P
    h = a + b
    e, g = h - (x + y) ** 2 % _P, a - b
    f = 2 * z * z + g
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P


def _multiply(k: int, point: _Point, l: int = 0, other: _Point = _IDENTITY) -> _Point:
    """[k]point + [l]other, with one doubling for both."""
    terms = (_IDENTITY, point, other, _add(point, other))
    result = _IDENTITY
    for i in reversed(range(max(k.bit_length(), l.bit_length()))):
        result = _double(result)
        which = (k >> i & 1) | (l >> i & 1) << 1
        if which:
            result = _add(result, terms[which])
    return result


def _is_identity(point: _Point) -> bool:
    x, y, z, _ = point
    return x % _P == 0 and (y - z) % _P == 0


_BASE_Y = 4 * pow(5, -1, _P) % _P


def _base() -> _Point:
    point = _decode(_BASE_Y.to_bytes(32, "little"))
    assert point is not None
    return point


_BASE = _base()


@functools.lru_cache(maxsize=1024)
def good_key(key: bytes) -> bool:
    """Whether 32 bytes are the canonical encoding of a point of prime order."""
    point = _decode(key)
    return point is not None and not _is_identity(point) and _is_identity(_multiply(ORDER, point))


def small_order(encoded: bytes) -> bool:
    """Whether bytes are the canonical encoding of a point of small order."""
    point = _decode(encoded)
    return point is not None and _is_identity(_multiply(8, point))


def verify(key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether a signature counts: docs/record-format.md, "Keys and signatures"."""
    if not good_key(key) or len(signature) != 64:
        return False
    r, s = signature[:32], int.from_bytes(signature[32:], "little")
    if s >= ORDER or small_order(r):
        return False
    k = int.from_bytes(hashlib.sha512(r + key + message).digest(), "little") % ORDER
    x, y, z, t = _decode(key) or _IDENTITY
    negative = (-x % _P, y, z, -t % _P)
    return _encode(_multiply(s, _BASE, k, negative)) == r
