"""Pseudonyms are FF1 as NIST has it, on what is free in a UUID."""

from __future__ import annotations

from math import ceil, log2
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB
from hypothesis import given
from hypothesis import strategies as st

from hub import ids
from hub.scope.pseudonyms import KEY_BYTES, Pseudonyms, is_pseudonym
from hub.sync import minting

KEYS = st.binary(min_size=KEY_BYTES, max_size=KEY_BYTES)
#: Any id of the hub: every bit that is free.
FREE = st.integers(0, 2**122 - 1)
#: SP 800-38G, samples 1 to 3 and 7 of FF1: key, radix, tweak, numerals, their encryption.
SAMPLES = (
    ("2B7E151628AED2A6ABF7158809CF4F3C", 10, "", "0123456789", "2433477484"),
    ("2B7E151628AED2A6ABF7158809CF4F3C", 10, "39383736353433323130", "0123456789", "6124200773"),
    ("2B7E151628AED2A6ABF7158809CF4F3C", 36, "3737373770717273373737", "0123456789abcdefghi", "a9tv40mll9kdu509eum"),
    ("2B7E151628AED2A6ABF7158809CF4F3CEF4359D8D580AA4F7F036D6F04FC6A94", 10, "", "0123456789", "6657667009"),
)
DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


def ff1(key: bytes, radix: int, tweak: bytes, numerals: list[int]) -> list[int]:
    """Algorithm 7 of SP 800-38G, step by step."""

    def cipher(block: bytes) -> bytes:
        return Cipher(AES(key), ECB()).encryptor().update(block)

    def number(of: list[int]) -> int:
        value = 0
        for numeral in of:
            value = value * radix + numeral
        return value

    n, t = len(numerals), len(tweak)
    u = n // 2
    v = n - u
    a, b = numerals[:u], numerals[u:]
    width = ceil(ceil(v * log2(radix)) / 8)
    d = 4 * ceil(width / 4) + 4
    p = bytes([1, 2, 1]) + radix.to_bytes(3) + bytes([10, u % 256]) + n.to_bytes(4) + t.to_bytes(4)
    for i in range(10):
        q = tweak + bytes((-t - width - 1) % 16) + bytes([i]) + number(b).to_bytes(width)
        r = bytes(16)
        for start in range(0, len(p + q), 16):
            r = cipher(bytes(x ^ y for x, y in zip(r, (p + q)[start : start + 16], strict=True)))
        s = r
        for j in range(1, ceil(d / 16)):
            s += cipher(bytes(x ^ y for x, y in zip(r, j.to_bytes(16), strict=True)))
        m = u if i % 2 == 0 else v
        c = (number(a) + int.from_bytes(s[:d])) % radix**m
        a, b = b, [c // radix**place % radix for place in reversed(range(m))]
    return a + b


def hubs(free: int) -> UUID:
    """The id of the hub with these bits: 60 before the variant, but for the version, and 62 behind it."""
    high, low = free >> 62, free & (2**62 - 1)
    return UUID(int=(high >> 12) << 80 | 7 << 76 | (high & 0xFFF) << 64 | 1 << 63 | low)


@pytest.mark.parametrize(("key", "radix", "tweak", "given_", "expected"), SAMPLES)
def test_the_reference_is_what_nist_published(key: str, radix: int, tweak: str, given_: str, expected: str) -> None:
    found = ff1(bytes.fromhex(key), radix, bytes.fromhex(tweak), [DIGITS.index(c) for c in given_])
    assert "".join(DIGITS[numeral] for numeral in found) == expected


@given(KEYS, st.lists(FREE, min_size=1, max_size=5))
def test_a_pseudonym_is_ff1_of_the_free_bits_as_a_uuid_of_version_8(key: bytes, free: list[int]) -> None:
    made = Pseudonyms(key).of([str(hubs(bits)) for bits in free])
    for bits, text in zip(free, made, strict=True):
        expected = ff1(key, 2, b"", [int(digit) for digit in f"{bits:0122b}"])
        assert UUID(text).version == 8
        assert UUID(text).variant == "specified in RFC 4122"
        assert is_pseudonym(text)
        like_the_hubs = hubs(int("".join(map(str, expected)), 2)).int
        assert UUID(text).int == like_the_hubs ^ 7 << 76 ^ 8 << 76


@given(KEYS, st.lists(FREE, unique=True, max_size=50))
def test_the_key_leads_back_and_no_two_ids_have_the_same(key: bytes, free: list[int]) -> None:
    given_ = [str(hubs(bits)) for bits in free]
    pseudonyms = Pseudonyms(key)
    made = pseudonyms.of(given_)
    assert len(set(made)) == len(given_)
    assert pseudonyms.canonical(made) == given_
    assert not set(made) & set(given_)


@given(KEYS, KEYS, FREE)
def test_another_key_makes_and_means_another_id(key: bytes, other: bytes, free: int) -> None:
    (made,) = Pseudonyms(key).of([str(hubs(free))])
    if key != other:
        assert Pseudonyms(other).of([str(hubs(free))]) != [made]
        assert Pseudonyms(other).canonical([made]) != [str(hubs(free))]


def test_what_the_hub_mints_can_be_named_however_much_it_is() -> None:
    minted = [*minting.mint(5_000), *map(str, ids.few(10)), str(ids.new_id())]
    pseudonyms = Pseudonyms(bytes(KEY_BYTES))
    together = pseudonyms.of(minted)
    assert together == [name for one in minted for name in pseudonyms.of([one])]
    # What ascends does not ascend any more.
    assert together != sorted(together)
    assert pseudonyms.of([]) == []


def test_ids_of_another_form_are_refused_and_not_cut_to_size() -> None:
    pseudonyms = Pseudonyms(bytes(KEY_BYTES))
    (good,) = pseudonyms.of([str(ids.new_id())])
    for bad in (good, "0198c0de-0000-4000-8000-000000000001", "0198c0de-0000-7000-c000-000000000001", "x" * 36, "ab"):
        with pytest.raises(ValueError, match=r"id|hex"):
            pseudonyms.of([bad])
    with pytest.raises(ValueError, match="version"):
        pseudonyms.canonical([str(ids.new_id())])
    for bad in (str(ids.new_id()), good.upper(), good + " ", good[:-1], good.replace("-", "")):
        assert not is_pseudonym(bad)
