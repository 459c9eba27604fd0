"""Which public keys a client may register, and assertions that are none."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwk

from hub.api.oauth import assertions
from hub.api.oauth.keys import public_keys
from hub.api.oauth.outcome import OAuthError

_values = st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | st.text(max_size=4)
_claims = st.dictionaries(
    st.sampled_from(["iss", "sub", "aud", "exp", "nbf", "iat", "jti"]), _values | st.lists(_values)
)
_headers = st.dictionaries(st.sampled_from(["alg", "kid", "crit"]), _values | st.just("ES256"))
_json_parts = st.tuples(_headers | _values, _claims | _values).map(
    lambda parts: ".".join(
        [*(base64.urlsafe_b64encode(orjson.dumps(part)).decode().rstrip("=") for part in parts), "AA"]
    )
)
EC = jwk.ECKey.generate_key("P-256").as_dict(private=False)


def _secret(key: jwk.Key) -> dict[str, Any]:
    return dict(key.as_dict(private=True))


def test_only_what_is_of_use_is_kept() -> None:
    sent = {"keys": [{**EC, "kid": "a", "use": "sig", "alg": "ES256", "x5c": ["…"], "key_ops": ["verify"]}], "more": 1}

    assert public_keys(sent) == {"keys": [{**EC, "kid": "a", "alg": "ES256"}]}


@pytest.mark.parametrize(
    "keys",
    [
        None, [], [EC] * 2, [{**EC, "kid": "a"}, {**EC, "kid": "a"}], [{**EC, "kid": str(n)} for n in range(11)], ["x"],
        [{}], [{"kty": "oct", "k": "AAAA"}], [{**EC, "use": "enc"}], [{**EC, "key_ops": ["sign"]}],
        [{**EC, "alg": "RS256"}], [{**EC, "alg": "none"}], [{**EC, "alg": 7}], [{**EC, "kid": ""}], [{**EC, "kid": 7}],
        [{**EC, "kid": "k" * 201}], [{**EC, "kid": "\0"}], [{**EC, "x": EC["y"]}], [{**EC, "x": "?"}],
        [{**EC, "y": None}], [{name: EC[name] for name in ("kty", "crv", "x")}], [{**EC, "crv": "P-384"}],
        [{**EC, "key_ops": 7}], [jwk.ECKey.generate_key("P-384").as_dict(private=False)],
        [jwk.OKPKey.generate_key("X25519").as_dict(private=False)], [{"kty": "RSA", "n": "AQAB", "e": "AQAB"}],
        [{"kty": "RSA", "n": "f" * 171, "e": "AQAB"}], [{"kty": "RSA", "n": "f" * 343, "e": "AA"}],
        [{"kty": "RSA", "n": "f" * 3000, "e": "AQAB"}], [{"kty": "RSA", "n": "f" * 343, "e": "Ag"}],
        [_secret(jwk.ECKey.generate_key("P-256"))], [_secret(jwk.OKPKey.generate_key("Ed25519"))],
    ],
)  # fmt: skip
def test_what_cannot_be_used_safely_is_refused(keys: Any) -> None:
    with pytest.raises(ValueError, match=r"^(several keys|a key set|key 1)") as refused:
        public_keys({"keys": keys})

    assert not any(key["d"] in str(refused.value) for key in keys or [] if isinstance(key, dict) and "d" in key)


@given(st.text(max_size=60) | st.from_regex(r"([\w-]{0,30}\.){1,3}[\w-]{0,9}", fullmatch=True) | _json_parts)
def test_no_assertion_is_more_than_refused(text: str) -> None:
    with pytest.raises(OAuthError) as refused:
        assertions.read(text, {"https://hub.example/oauth/token"}, datetime(2026, 9, 1, tzinfo=UTC))

    assert refused.value.outcome.status == 401
