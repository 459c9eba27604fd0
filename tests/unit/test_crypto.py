"""A sealed value opens at its own place only."""

from __future__ import annotations

from uuid import UUID

import pytest

from hub.crypto import ENVELOPE, Keys, Sealer, column_key, seal, unseal
from hub.errors import Code, HubError

KEYS = column_key(b"a master key of the tests, long enough")
KEY = Sealer(UUID(int=1), UUID(int=7), bytes(range(32)))
KEYS.learn(KEY.key_id, KEY.key)
HERE = {"district_id": UUID(int=1), "table": "subscriptions", "column": "secret", "row": "a"}


def test_what_was_sealed_opens_again() -> None:
    assert unseal(KEYS, seal(KEY, b"secret", **HERE), **HERE) == b"secret"


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
        unseal(KEYS, seal(KEY, b"secret", **HERE), **{**HERE, **elsewhere})
    assert caught.value.code is Code.INTERNAL


@pytest.mark.threat("T26")
def test_an_altered_or_cut_ciphertext_does_not_open() -> None:
    sealed = seal(KEY, b"secret", **HERE)
    for at in range(len(sealed)):
        altered = bytearray(sealed)
        altered[at] ^= 1
        with pytest.raises(HubError):
            unseal(KEYS, bytes(altered), **HERE)
        with pytest.raises(HubError):
            unseal(KEYS, sealed[:at], **HERE)


@pytest.mark.threat("T26")
@pytest.mark.parametrize("elsewhere", [{"district_id": UUID(int=2)}, {"table": "sources"}, {"row": "b"}])
def test_a_copied_ciphertext_of_the_first_version_does_not_open(elsewhere: dict[str, object]) -> None:
    sealed = seal(KEYS, b"secret", **HERE)
    assert unseal(KEYS, sealed, **HERE) == b"secret"
    for wrong in (elsewhere, {"column": "config"}):
        with pytest.raises(HubError):
            unseal(KEYS, sealed, **{**HERE, **wrong})
    with pytest.raises(HubError):
        unseal(KEYS, sealed[:5] + bytes([sealed[5] ^ 1]) + sealed[6:], **HERE)


@pytest.mark.threat("T26")
def test_a_ciphertext_is_bound_to_the_key_that_it_names() -> None:
    """Though another name may lead to the same bytes."""
    sealed = seal(KEY, b"secret", **HERE)
    KEYS.learn(UUID(int=8), KEY.key)
    with pytest.raises(HubError):
        unseal(KEYS, bytes([ENVELOPE]) + UUID(int=8).bytes + sealed[17:], **HERE)


@pytest.mark.threat("T28")
def test_a_wrapped_key_opens_with_each_master_key_that_wrapped_it() -> None:
    old, new, row = (
        Keys((b"o" * 32,)),
        Keys((b"n" * 32, b"o" * 32)),
        {"district_id": UUID(int=1), "key_id": UUID(int=7)},
    )
    wrapped = new.wrap(KEY.key, **row, purpose="columns")
    assert sorted(wrapped) == sorted({old.master_id, new.master_id})
    assert (
        len(
            {
                old.unwrap(wrapped, **row, purpose="columns"),
                Keys((b"n" * 32,)).unwrap(wrapped, **row, purpose="columns"),
            }
        )
        == 1
    )
    for other, purpose in (
        ({"district_id": UUID(int=2)}, "columns"),
        ({"key_id": UUID(int=8)}, "columns"),
        ({}, "walks"),
    ):
        with pytest.raises(HubError) as caught:
            old.unwrap(wrapped, **{**row, **other}, purpose=purpose)
        assert caught.value.code is Code.INTERNAL
    with pytest.raises(HubError) as caught:
        Keys((b"x" * 32,)).unwrap(wrapped, **row, purpose="columns")
    assert caught.value.code is Code.SETTINGS_CONTRADICT
    assert "n" * 32 not in repr(wrapped) + old.master_id


def test_another_master_key_opens_nothing_and_the_error_says_no_secret() -> None:
    with pytest.raises(HubError) as caught:
        unseal(column_key(b"another master key, also long enough"), seal(KEY, b"secret", **HERE), **HERE)
    assert "secret" not in caught.value.message.replace("subscriptions.secret", "")
