"""A client certificate is refused with words of what is wrong, before it could fail at the first delivery."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from hub.crypto import column_key
from hub.errors import Code, HubError
from hub.webhooks.certificates import LONGEST, ClientCertificate, parse
from tests.fakes.certificates import certificate

NOW = datetime.now(UTC)
KEY = column_key(b"a master key of the tests, long enough")


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str, str]:
    folder = tmp_path_factory.mktemp("certificates")
    mine, other, late = (
        certificate(folder, "192.0.2.7", days=days, name=name).read_text()
        for name, days in (("mine", 3), ("other", 3), ("late", -1))
    )
    return mine, other, late


def halves(text: str) -> tuple[str, str]:
    """The key and the certificate."""
    at = text.index("-----BEGIN CERTIFICATE")
    return text[:at], text[at:]


def test_key_and_certificate_may_stand_in_any_order_and_a_chain_may_follow(texts: tuple[str, str, str]) -> None:
    key, own = halves(texts[0])
    for text in (key + own, own + key, own + halves(texts[1])[1] + key):
        found = parse(text, NOW)
        assert found.subject == "CN=192.0.2.7"
        assert timedelta(days=2) < found.expires_at - NOW < timedelta(days=4)


def test_what_cannot_work_is_refused_without_repeating_it(texts: tuple[str, str, str]) -> None:
    (key, own), (other, _) = halves(texts[0]), halves(texts[1])
    cut = own[:200] + own[260:]
    wrong = {
        "": "must hold a certificate",
        key: "must hold a certificate",
        own: "private key",
        own + key[:60] + "\n-----END PRIVATE KEY-----\n": "private key",
        own + key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY"): "private key",
        cut + key: "must hold a certificate",
        own + other: "does not belong",
        texts[2]: "expired",
        texts[0] + "x" * LONGEST: "at most",
        texts[0] + "ü": "at most",
    }
    for text, words in wrong.items():
        with pytest.raises(HubError, match=words) as caught:
            parse(text, NOW)
        assert caught.value.code is Code.INVALID_REQUEST
        assert caught.value.message.startswith("client_certificate: ")
        assert "MII" not in caught.value.message


@pytest.mark.threat("T26")
def test_a_sealed_certificate_opens_in_its_own_row_only(texts: tuple[str, str, str]) -> None:
    made = ClientCertificate(texts[0].encode())
    sealed = made.sealed(KEY, UUID(int=1), UUID(int=2))
    assert ClientCertificate.unsealed(KEY, sealed, UUID(int=1), UUID(int=2)) == made
    for district, row in ((1, 3), (2, 2)):
        with pytest.raises(HubError):
            ClientCertificate.unsealed(KEY, sealed, UUID(int=district), UUID(int=row))
