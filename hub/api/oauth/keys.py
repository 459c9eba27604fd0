"""Public keys of clients (JWK, RFC 7517), and which algorithms they sign with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from joserfc import jwk
from joserfc.errors import JoseError
from joserfc.jws import JWSRegistry
from joserfc.util import base64_to_int

MOST_KEYS = 10
LONGEST_ID = 200
SMALLEST_RSA, LARGEST_RSA = 2048, 4096
_PUBLIC = {"RSA": ("n", "e"), "EC": ("crv", "x", "y"), "OKP": ("crv", "x")}
_SECRET = ("d", "p", "q", "dp", "dq", "qi", "oth", "k")
_CURVES = {"EC": "P-256", "OKP": "Ed25519"}
#: Algorithms to types of keys. EdDSA is the older name of what RFC 9864 calls Ed25519.
ALGORITHMS = {"RS256": "RSA", "PS256": "RSA", "ES256": "EC", "EdDSA": "OKP", "Ed25519": "OKP"}


class _Registry(JWSRegistry):
    max_header_length = 4096  # some clients send their certificates along

    def get_alg(self, name: str) -> Any:
        """As the base class, which warns of the name EdDSA each time."""
        return self.algorithms[name] if name in ALGORITHMS else super().get_alg(name)


#: Verifies with these algorithms and no other.
REGISTRY = _Registry(algorithms=list(ALGORITHMS), strict_check_header=False)


def public_keys(jwks: Mapping[str, Any]) -> dict[str, Any]:
    """A set of public keys as it is stored, with the members alone that are of use.

    Raises ValueError, which says what to mend and repeats no value.
    """
    keys = jwks.get("keys")
    if not isinstance(keys, list) or not 1 <= len(keys) <= MOST_KEYS:
        raise ValueError(f"a key set is an object with a list `keys` of 1 to {MOST_KEYS} keys")
    stored = [_public_key(key, f"key {number}") for number, key in enumerate(keys, 1)]
    ids = [key["kid"] for key in stored if "kid" in key]
    if len(set(ids)) != len(ids) or (len(stored) > 1 and len(ids) < len(stored)):
        raise ValueError("several keys need a `kid` each, all different")
    return {"keys": stored}


def _public_key(key: object, place: str) -> dict[str, str]:
    if not isinstance(key, dict) or key.get("kty") not in _PUBLIC:
        raise ValueError(f"{place} is no JWK of the type {', '.join(_PUBLIC)}")
    if any(name in key for name in _SECRET):
        raise ValueError(f"{place} holds a private key: keep that to yourself, it should be replaced now")
    kty = key["kty"]
    if kty in _CURVES and key.get("crv") != _CURVES[kty]:
        raise ValueError(f"{place} is of another curve than {_CURVES[kty]}")
    uses = key.get("key_ops", ["verify"])
    if key.get("use", "sig") != "sig" or not isinstance(uses, list) or "verify" not in uses:
        raise ValueError(f"{place} is not for signatures")
    if "alg" in key and ALGORITHMS.get(str(key["alg"])) != kty:
        raise ValueError(f"{place} is for another algorithm than {', '.join(ALGORITHMS)}")
    kept = {name: key[name] for name in ("kty", *_PUBLIC[kty], "kid", "alg") if name in key}
    if not all(isinstance(value, str) and value for value in kept.values()) or len(kept.get("kid", "")) > LONGEST_ID:
        raise ValueError(f"{place} has a member that is no text, or too long a `kid`")
    if "\0" in kept.get("kid", ""):
        raise ValueError(f"{place} has a `kid` with characters that cannot be stored")
    _check_numbers(kept, place)
    return kept


def _check_numbers(key: dict[str, str], place: str) -> None:
    try:
        # Looked at first: a huge number takes long to open, a small one is warned of.
        bits = base64_to_int(key["n"]).bit_length() if key["kty"] == "RSA" else SMALLEST_RSA
        fits = SMALLEST_RSA <= bits <= LARGEST_RSA
        if fits:
            imported(key).get_op_key("verify")
    except (JoseError, ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{place} cannot be read as a public key") from error
    if not fits:
        raise ValueError(f"{place} has to have {SMALLEST_RSA} to {LARGEST_RSA} bits")


def imported(key: Mapping[str, str]) -> jwk.Key:
    """A key that ``public_keys`` admitted. Raises JoseError or ValueError for others."""
    return jwk.import_key(dict(key))


def candidates(jwks: Mapping[str, Any], algorithm: str, kid: str | None) -> Iterator[Mapping[str, str]]:
    """The keys that may have made a signature with this algorithm, and this id where one is named."""
    for key in jwks["keys"]:
        fits = key["kty"] == ALGORITHMS[algorithm] and key.get("alg", algorithm) == algorithm
        if fits and (kid is None or key.get("kid", kid) == kid):
            yield key


@cache
def nobodys_keys() -> Mapping[str, Any]:
    """Keys that stand in for an unknown client's, so that the answer takes as long. Slow the first time."""
    made = (jwk.RSAKey.generate_key(SMALLEST_RSA), jwk.ECKey.generate_key("P-256"), jwk.OKPKey.generate_key("Ed25519"))
    return {"keys": [key.as_dict(private=False) for key in made]}
