"""What the index has of one person, without an array: for one record each of them takes longer than what it is asked.

It says of values what ``blocks``, ``columns`` and ``frequencies`` say of arrays of them; a property test says that both
come to the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from itertools import product
from typing import Any

from transforms.matching.columns import LONGEST
from transforms.matching.few import Few
from transforms.matching.frequencies import Of
from transforms.matching.hashes import mixed_one
from transforms.matching.kinds import KINDS

#: Kind or what is counted (``Of``), and the hash, as the database has it: with a sign.
Entry = tuple[int, int]
#: Of more people arrays take less.
ALONE = 10
_KINDS = tuple((number, kind.seed, kind.parts) for number, kind in enumerate(KINDS) if not kind.register)
_SIGN, _RANGE = 1 << 63, 1 << 64


def entries(people: Few, row: int) -> tuple[list[Entry], list[Entry]]:
    """The keys of one of some normalised people, and the values that are counted; each once, none where none match."""
    if not people["c_matchable"][row]:
        return [], []
    parts = _parts(people, row)
    found = {
        (number, hashed)
        for number, seed, names in _KINDS
        for places in product(*(parts[name] for name in names))
        if (hashed := mixed_one(seed, *places))
    }
    given, family = parts["given"][0], parts["family"][0]
    met = ((Of.GIVEN, (given,)), (Of.FAMILY, (family,)), (Of.TOKEN, parts["family_tokens"]), (Of.BIRTH, parts["born"]),
           (Of.NAME, (mixed_one(4, given, family),)))  # fmt: skip
    counted = [(int(of), hashed) for of, hashes in met for hashed in hashes if hashed]
    return _signed(found), _signed(counted)


def _signed(found: Iterable[Entry]) -> list[Entry]:
    return [(kind, hashed - _RANGE if hashed >= _SIGN else hashed) for kind, hashed in found]


def _parts(people: Few, row: int) -> Mapping[str, Sequence[int]]:
    """What keys are made of, by the names that it has in ``Columns``; 0 is none."""

    def of(name: str) -> Any:
        return people[name][row]

    family, first, email, born = of("c_family"), of("c_first"), of("c_email"), of("c_birth")
    given, whole, street, postcode = map(_hashed, (of("c_given"), family, of("c_street"), of("c_postcode")))
    year, month, day = (born.year, born.month, born.day) if born is not None else (0, 0, 0)
    nicknames = of("c_nicknames")
    groups = [mixed_one(2, group) for group in nicknames[: LONGEST["nicknames"]]] if nicknames else [_hashed(first)]
    return {
        "given": (given,),
        "family": (whole,),
        "names": groups,
        "family_tokens": [_hashed(token) for token in (of("c_family_set") or ())[: LONGEST["family"]]],
        "born": (year << 16 | month << 8 | day,),
        "year": (year,),
        "month_day": (month << 8 | day,),
        "either": (min(month, day) << 8 | max(month, day),),
        "family_beginning": (_hashed(family and family[:4]),),
        "first_beginning": (_hashed(first and first[:2]),),
        "initial": (_hashed(first and first[:1]),),
        "both_names": ((given + whole) % _RANGE if given and whole else 0,),
        "middle": (_hashed(of("c_middle")),),
        "home": (mixed_one(1, street, postcode),),
        "postcode": (postcode,),
        "phone": (_hashed(of("c_phone")),),
        "email": (_hashed(email),),
        "local": (_hashed(email and email.partition("@")[0]),),
        "ids": [_hashed(one) for one in (of("c_ids") or ())[: LONGEST["ids"]]],
    }


def _hashed(text: str | None) -> int:
    """As ``hashes.of_texts``."""
    return 0 if text is None else int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little")
