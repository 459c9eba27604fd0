"""Keys of apps, as their developers make them."""

from __future__ import annotations

from typing import Any

from joserfc import jwk

#: The algorithm that a client names, and how its key is made.
KINDS = {
    "RS256": lambda: jwk.RSAKey.generate_key(2048),
    "PS256": lambda: jwk.RSAKey.generate_key(2048),
    "ES256": lambda: jwk.ECKey.generate_key("P-256"),
    "Ed25519": lambda: jwk.OKPKey.generate_key("Ed25519"),
}


def public_keys(*keys: jwk.Key) -> dict[str, Any]:
    """The key set to register, with a new key if none is given."""
    pairs = [key.as_dict(private=False) for key in keys or [KINDS["ES256"]()]]
    return {"keys": [{**pair, "kid": f"key-{number}"} for number, pair in enumerate(pairs)]}
