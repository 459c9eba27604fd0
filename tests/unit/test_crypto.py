"""A sealed value opens at its own place only."""

from __future__ import annotations

from uuid import UUID

import pytest

from hub.crypto import column_key, seal, unseal
from hub.errors import Code, HubError

KEY = column_key(b"a master key of the tests, long enough")
HERE = {"district_id": UUID(int=1), "table": "subscriptions", "column": "secret", "row": "a"}


def test_what_was_sealed_opens_again() -> None:
    assert unseal(KEY, seal(KEY, b"secret", **HERE), **HERE) == b"secret"


def test_no_two_ciphertexts_of_one_value_are_alike() -> None:
    assert seal(KEY, b"secret", **HERE) != seal(KEY, b"secret", **HERE)


@pytest.mark.threat("T26")
@pytest.mark.parametrize(
    "elsewhere",
    [{"district_id": UUID(int=2)}, {"table": "sources"}, {"column": "config"}, {"row": "b"}],
    ids=lambda place: next(iter(place)),
)
def test_a_copied_ciphertext_does_not_open(elsewhere: dict[str, object]) -> None:
    with pytest.raises(HubError) as caught:
        unseal(KEY, seal(KEY, b"secret", **HERE), **{**HERE, **elsewhere})
    assert caught.value.code is Code.INTERNAL


@pytest.mark.threat("T26")
def test_an_altered_or_cut_ciphertext_does_not_open() -> None:
    sealed = seal(KEY, b"secret", **HERE)
    for at in range(len(sealed)):
        altered = bytearray(sealed)
        altered[at] ^= 1
        with pytest.raises(HubError):
            unseal(KEY, bytes(altered), **HERE)
        with pytest.raises(HubError):
            unseal(KEY, sealed[:at], **HERE)


def test_another_master_key_opens_nothing_and_the_error_says_no_secret() -> None:
    with pytest.raises(HubError) as caught:
        unseal(column_key(b"another master key, also long enough"), seal(KEY, b"secret", **HERE), **HERE)
    assert "secret" not in caught.value.message.replace("subscriptions.secret", "")
