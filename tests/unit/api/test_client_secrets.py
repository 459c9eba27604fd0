"""Clients' secrets as they are hashed for users: other tests have a hasher that costs nothing."""

from __future__ import annotations

import pytest
from argon2 import PasswordHasher, Type, extract_parameters

from hub.api import client_secrets
from hub.api.client_secrets import Verifier, hash_secret, nobodys_hash


async def test_a_guess_costs_what_rfc_9106_recommends(
    slow_hasher: PasswordHasher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_secrets, "_hasher", slow_hasher)
    hashed = hash_secret("rh_cs_one")
    nobodys_hash.cache_clear()
    try:
        for made in (hashed, nobodys_hash()):
            found = extract_parameters(made)
            assert (found.type, found.version) == (Type.ID, 19)
            assert (found.time_cost, found.memory_cost, found.parallelism) == (3, 64 * 1024, 4)
            assert (found.salt_len, found.hash_len) == (16, 32)
    finally:
        nobodys_hash.cache_clear()

    verifier = Verifier()
    assert await verifier.matches(hashed, "rh_cs_one")
    assert not await verifier.matches(hashed, "rh_cs_two")
