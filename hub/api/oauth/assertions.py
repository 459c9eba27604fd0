"""Client assertions: JWTs that a client signs with its private key to authenticate itself (RFC 7523, private_key_jwt).

What an assertion says is looked at before its client is, so that those errors can be told in detail without telling
which clients exist.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from joserfc import jws
from joserfc.errors import JoseError

from hub.api.oauth.keys import ALGORITHMS, LONGEST_ID, REGISTRY, candidates, imported, nobodys_keys
from hub.api.oauth.outcome import invalid_client

TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
#: Clocks differ by this much at most.
LEEWAY = timedelta(seconds=60)
#: The longest life of an assertion, counted from now: its id has to be remembered for so long.
LONGEST = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Assertion:
    """What an assertion says, whoever signed it. It is accepted until ``expires_at`` (leeway included)."""

    text: str
    client_id: str
    jti: str
    expires_at: datetime
    algorithm: str
    kid: str | None


def read(text: str, audiences: Collection[str], now: datetime) -> Assertion:
    """An assertion for one of these audiences that is in time. Its signature is not looked at.

    Raises OAuthError(invalid_client) with what is to be mended.
    """
    header, claims = _parts(text)
    algorithm, kid = header.get("alg"), header.get("kid")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        raise invalid_client(f"Sign the assertion with one of {', '.join(ALGORITHMS)}.")
    if "crit" in header or not (kid is None or isinstance(kid, str)):
        raise invalid_client("The assertion's header has a member that is not understood here.")
    client_id = _text(claims, "iss")
    if _text(claims, "sub") != client_id:
        raise invalid_client("iss and sub of the assertion are both the client's id.")
    # An assertion that is for others as well could be shown here by them.
    audience = claims.get("aud")
    named = audience if isinstance(audience, list) else [audience]
    if not named or not all(isinstance(name, str) and name in audiences for name in named):
        raise invalid_client(f"aud of the assertion is {' or '.join(sorted(audiences))}, and no other.")
    return Assertion(text, client_id, _text(claims, "jti"), _expiry(claims, now), algorithm, kid)


def signed(assertion: Assertion, jwks: Mapping[str, Any] | None) -> bool:
    """Whether one of these keys made the signature; None takes as long and is never right.

    Takes about a millisecond of CPU: call it in a thread.
    """
    keys = list(candidates(jwks, assertion.algorithm, assertion.kid)) if jwks else []
    known = bool(keys)
    for key in keys or candidates(nobodys_keys(), assertion.algorithm, None):
        try:
            jws.deserialize_compact(assertion.text, imported(key), registry=REGISTRY)
        except (JoseError, ValueError):
            continue
        return known
    return False


def _parts(text: str) -> tuple[dict[str, Any], dict[str, Any]]:
    segments = text.split(".")
    try:
        header, claims = (orjson.loads(_decoded(segment)) for segment in segments[:2])
    except (ValueError, binascii.Error):
        header = claims = None
    if len(segments) != 3 or not isinstance(header, dict) or not isinstance(claims, dict):
        raise invalid_client("client_assertion is no signed JWT in its compact form.")
    return header, claims


def _decoded(segment: str) -> bytes:
    return base64.b64decode(segment + "=" * (-len(segment) % 4), altchars=b"-_", validate=True)


def _text(claims: Mapping[str, Any], name: str) -> str:
    value = claims.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= LONGEST_ID:
        raise invalid_client(f"The assertion lacks {name}, a text of {LONGEST_ID} characters at most.")
    return value


def _expiry(claims: Mapping[str, Any], now: datetime) -> datetime:
    """When the assertion ends. Raises OAuthError for one that is not in time."""
    times = {name: claims[name] for name in ("exp", "nbf", "iat") if name in claims}
    if "exp" not in times or not all(_is_number(value) for value in times.values()):
        raise invalid_client("The assertion lacks exp, or one of exp, nbf and iat is no number of seconds since 1970.")
    instant, leeway = now.timestamp(), LEEWAY.total_seconds()
    if times["exp"] + leeway <= instant:
        raise invalid_client("The assertion has expired. Make a new one for each request.")
    if times["exp"] - leeway > instant + LONGEST.total_seconds():
        raise invalid_client(f"exp of the assertion is more than {LONGEST.total_seconds():.0f} seconds ahead.")
    if any(times.get(name, instant) - leeway > instant for name in ("nbf", "iat")):
        raise invalid_client("The assertion is not valid yet. Set the clock.")
    return datetime.fromtimestamp(times["exp"], UTC) + LEEWAY


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
