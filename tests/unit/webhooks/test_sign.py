"""Our signatures and those of the reference library are the same, in both directions."""

from __future__ import annotations

import base64
import time
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from hub.webhooks import sign

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


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
def test_the_reference_library_verifies_ours(body: str, message_id: str) -> None:
    secret, now = sign.new_secret(), int(time.time())
    headers = sign.headers([secret], message_id, now, body.encode())
    Webhook(secret).verify(body, headers, json_parse=False)


@given(body=st.text(st.characters(codec="utf-8")), at=st.integers(0, 2**32))
def test_the_reference_library_signs_as_we_do(body: str, at: int) -> None:
    secret = sign.new_secret()
    theirs = Webhook(secret).sign("msg_1", datetime.fromtimestamp(at, UTC), body)
    assert sign.signature(secret, "msg_1", at, body.encode()) == theirs


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
