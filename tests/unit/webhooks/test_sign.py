"""Our signatures and those of the reference libraries are the same, in both directions; v1a against libsodium."""

from __future__ import annotations

import base64
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from hub.webhooks import sign

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.fixture(scope="module")
def svix() -> Any:
    """Svix's library. It brings hundreds of models, which each process that collects tests would load."""
    from svix.webhooks import Webhook  # noqa: PLC0415 - where it is in use

    return Webhook


@pytest.mark.threat("T36")
def test_the_vector_of_the_standard() -> None:
    signed = sign.signature(SECRET, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_new_secret_is_32_random_bytes() -> None:
    secret = sign.new_secret()
    assert secret.startswith("whsec_")
    assert len(base64.b64decode(secret.removeprefix("whsec_"), validate=True)) == 32
    assert secret != sign.new_secret()


@pytest.mark.threat("T36")
@given(body=st.text(st.characters(codec="utf-8")), message_id=st.from_regex(r"\Amsg_[0-9a-f]{32}\Z"))
def test_the_reference_library_verifies_ours(svix: Any, body: str, message_id: str) -> None:
    secret, now = sign.new_secret(), int(time.time())
    headers = sign.headers([secret], message_id, now, body.encode())
    Webhook(secret).verify(body, headers, json_parse=False)
    svix(secret).verify(body, headers)


@given(body=st.text(st.characters(codec="utf-8")), at=st.integers(0, 2**32))
def test_the_reference_library_signs_as_we_do(svix: Any, body: str, at: int) -> None:
    secret = sign.new_secret()
    theirs = {library(secret).sign("msg_1", datetime.fromtimestamp(at, UTC), body) for library in (Webhook, svix)}
    assert theirs == {sign.signature(secret, "msg_1", at, body.encode())}


@pytest.mark.threat("T36")
def test_while_secrets_overlap_either_verifies_and_no_other() -> None:
    old, new, strange = (sign.new_secret() for _ in range(3))
    headers = sign.headers([new, old], "msg_1", int(time.time()), b"{}")
    Webhook(old).verify("{}", headers)
    Webhook(new).verify("{}", headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(strange).verify("{}", headers)


@pytest.mark.threat("T36")
@pytest.mark.parametrize(("header", "value"), [("webhook-id", "msg_2"), ("webhook-timestamp", None), ("body", "{ }")])
def test_a_changed_part_does_not_verify(header: str, value: str | None) -> None:
    secret = sign.new_secret()
    now = int(time.time())
    value = str(now + 1) if value is None else value
    headers = sign.headers([secret], "msg_1", now, b"{}")
    body = value if header == "body" else "{}"
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(body, headers | {header: value})


@pytest.mark.parametrize("text", ["whsec_not base64", "whsec_abc"])
def test_what_is_no_secret_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="whsec_"):
        sign.secret_bytes(text)


@pytest.mark.threat("T36")
@given(body=st.binary(), old=st.booleans())
def test_our_verification_takes_what_we_sign_and_nothing_older(body: bytes, old: bool) -> None:
    secret, now = sign.new_secret(), 1_800_000_000
    headers = sign.headers([sign.new_secret(), secret], "msg_1", now, body)
    assert sign.verify(secret, headers, body, now=now + (301 if old else 300)) is not old
    assert not sign.verify(secret, headers, body + b"x", now=now)
    assert not sign.verify(sign.new_secret(), headers, body, now=now)


@pytest.mark.threat("T36")
@pytest.mark.parametrize(
    "headers",
    [{}, {"webhook-signature": "v1,x y"}, {"webhook-signature": ""}, {"webhook-signature": "v2,ü"},
     {"webhook-timestamp": ""}, {"webhook-timestamp": "²"}, {"webhook-timestamp": "-1"}, {"webhook-timestamp": "1.5"}],
)  # fmt: skip
def test_our_verification_refuses_what_is_malformed(headers: dict[str, str]) -> None:
    good = sign.headers([SECRET], "msg_1", 1_800_000_000, b"{}") if headers else {}
    assert not sign.verify(SECRET, good | headers, b"{}", now=1_800_000_000)


@pytest.mark.threat("T36")
@given(body=st.text(st.characters(codec="utf-8")))
def test_our_verification_takes_what_the_reference_library_signs(body: str) -> None:
    secret, now = sign.new_secret(), int(time.time())
    theirs = Webhook(secret).sign("msg_1", datetime.fromtimestamp(now, UTC), body)
    headers = {"webhook-id": "msg_1", "webhook-timestamp": str(now), "webhook-signature": theirs}
    assert sign.verify(secret, headers, body.encode(), now=now)


def test_the_vectors_of_rfc_8032_through_the_forms_of_keys() -> None:
    """RFC 8032 section 7.1, test 1: its public key follows from its private one."""
    private = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    public = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
    text = "whsk_" + base64.b64encode(private + public).decode()
    assert sign.public_key(text) == "whpk_" + base64.b64encode(public).decode()
    with pytest.raises(ValueError, match="halves"):
        sign.public_key("whsk_" + base64.b64encode(private + private).decode())
    for wrong in ("whsk_" + base64.b64encode(private).decode(), "whsk_not base64"):
        with pytest.raises(ValueError, match="whsk_"):
            sign.public_key(wrong)


@pytest.mark.threat("T36")
@given(body=st.binary(), at=st.integers(0, 2**32))
def test_v1a_is_what_libsodium_signs_and_verifies(body: bytes, at: int) -> None:
    private = sign.new_private_key()
    raw = base64.b64decode(private.removeprefix("whsk_"), validate=True)
    signed = f"msg_1.{at}.".encode() + body
    entry = sign.signature(private, "msg_1", at, body)
    ours = base64.b64decode(entry.removeprefix("v1a,"), validate=True)
    VerifyKey(base64.b64decode(sign.public_key(private).removeprefix("whpk_"))).verify(signed, ours)
    assert SigningKey(raw[:32]).sign(signed).signature == ours
    assert bytes(SigningKey(raw[:32]).verify_key) == raw[32:]
    with pytest.raises(BadSignatureError):
        VerifyKey(raw[32:]).verify(signed + b"x", ours)
    theirs = "v1a," + base64.b64encode(SigningKey(raw[:32]).sign(signed).signature).decode()
    headers = {"webhook-id": "msg_1", "webhook-timestamp": str(at), "webhook-signature": theirs}
    assert sign.verify(sign.public_key(private), headers, body, now=at)


@pytest.mark.threat("T36")
@given(body=st.text(st.characters(codec="utf-8")))
def test_libraries_that_do_not_know_v1a_pass_over_it(svix: Any, body: str) -> None:
    secret, private, now = sign.new_secret(), sign.new_private_key(), int(time.time())
    headers = sign.headers([private, secret], "msg_1", now, body.encode())
    Webhook(secret).verify(body, headers, json_parse=False)
    svix(secret).verify(body, headers)
    assert sign.verify(sign.public_key(private), headers, body.encode(), now=now)
    assert not sign.verify(sign.public_key(sign.new_private_key()), headers, body.encode(), now=now)
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(body, sign.headers([private], "msg_1", now, body.encode()))


@pytest.mark.threat("T36")
@pytest.mark.parametrize("entry", ["v1a,", "v1a,!", "v1a," + "A" * 88, "v1,x v1a", "v1a,ü"])
def test_what_is_no_signature_of_ed25519_is_refused(entry: str) -> None:
    public = sign.public_key(sign.new_private_key())
    headers = {"webhook-id": "msg_1", "webhook-timestamp": "1800000000", "webhook-signature": entry}
    assert not sign.verify(public, headers, b"{}", now=1_800_000_000)
