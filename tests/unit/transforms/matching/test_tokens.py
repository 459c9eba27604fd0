"""Which facts make a token, and which never do."""

from __future__ import annotations

import hashlib
import hmac
from datetime import date
from typing import Any

import polars as pl

from transforms.matching.normal import PERSON, normalised
from transforms.matching.tokens import BYTES, MOST, texts, tokens

BASE: dict[str, Any] = {
    "kind": "student", "given": "María", "middle": "José", "family": "de la Cruz López", "birth_date": date(2014, 3, 9),
    "active": True, "no_match": False,
}  # fmt: skip
MOTHER: dict[str, Any] = {"kind": "guardian", "given": "Ana", "family": "López", "phone": "(555) 201-4499"}
KEY = bytes(range(32))
SALT = b"of one end"


def frame(*people: dict[str, Any]) -> pl.DataFrame:
    rows = [{"rid": rid, "source": "s", "active": True, "no_match": False} | one for rid, one in enumerate(people)]
    return normalised(pl.DataFrame(rows, schema_overrides=PERSON).pipe(_whole))


def _whole(people: pl.DataFrame) -> pl.DataFrame:
    return people.select(
        (pl.col(name) if name in people.columns else pl.lit(None)).cast(dtype).alias(name)
        for name, dtype in PERSON.items()
    )


def shared(one: dict[str, Any], other: dict[str, Any], *more: dict[str, Any], ids: tuple[str, ...] = ()) -> bool:
    """Whether a record in one district and one in another have a token in common."""
    found = [set(texts(frame(each, *more), ids, [0])["text"]) for each in (one, other)]
    return bool(found[0] & found[1])


def test_who_has_all_names_and_the_birth_date_needs_one_thing_more() -> None:
    alone = BASE | {"middle": None}
    assert texts(frame(alone), (), [0]).is_empty()
    assert shared(BASE, BASE | {"family": "López-Cruz", "middle": "jose"})
    assert shared(BASE, {**alone, "given": "Maria Jose"})
    for more in ({"email": "Cruz@home.example"}, {"phone": "+1 555 201 4488"}, {"guardians": [1]}):
        assert shared(alone | more, alone | more, MOTHER), more
        assert not shared(alone | more, alone, MOTHER), more
    # A guardian's telephone is the household's: the other district has it as the pupil's own.
    assert shared(alone | {"guardians": [1]}, alone | {"phone": "5552014499"}, MOTHER)


def test_what_differs_is_no_token_of_another_person() -> None:
    whole = BASE | {"guardians": [1], "phone": "555 201 4488", "email": "cruz@home.example"}
    for name, value in {
        "given": "Marta", "middle": "Elena", "family": "Cruz", "birth_date": date(2014, 9, 3),
    }.items():  # fmt: skip
        assert not shared(whole, whole | {name: value}, MOTHER), name


def test_a_twin_shares_no_token() -> None:
    home = {"guardians": [1], "phone": "555 201 4488", "email": "cruz@home.example", "middle": None}
    jaden, jayden = (BASE | home | {"given": name} for name in ("Jaden", "Jayden"))
    assert not shared(jaden, jayden, MOTHER)
    assert not shared(BASE | home | {"middle": "José"}, BASE | home | {"middle": "Elena"}, MOTHER)
    # Ids that were mixed up by hand join two first names neither.
    state = {"ids": [{"type": "StateID", "identifier": "A-4711"}]}
    assert not shared(jaden | state, jayden | state, MOTHER, ids=("stateid",))


def test_an_id_counts_where_both_districts_say_that_it_means_the_same() -> None:
    one = {"kind": "student", "given": "Rosa", "family": "Díaz", "ids": [{"type": "StateID", "identifier": "a-4711"}]}
    other = one | {"family": "Vega", "ids": [{"type": "stateId", "identifier": "A4711"}]}
    assert shared(one, other, ids=("STATEID",))
    assert not shared(one, other, ids=("local",))
    assert not shared(one, other | {"given": "Ines"}, ids=("StateID",))
    assert not shared(one, other | {"ids": [{"type": "StateID", "identifier": "000000"}]}, ids=("StateID",))


def test_a_first_of_january_needs_more_than_a_second_name() -> None:
    january = BASE | {"birth_date": date(2014, 1, 1)}
    assert texts(frame(january), (), [0]).is_empty()
    assert shared(january | {"guardians": [1]}, january | {"guardians": [1]}, MOTHER)


def test_who_is_exempt_or_nobody_has_no_token_and_is_in_no_others() -> None:
    child = BASE | {"middle": None, "guardians": [1]}
    assert texts(frame(BASE | {"no_match": True}), (), [0]).is_empty()
    assert texts(frame(BASE | {"given": "Test", "family": "Student"}), (), [0]).is_empty()
    assert texts(frame(child, MOTHER | {"no_match": True}), (), [0]).is_empty()
    assert texts(frame(child, MOTHER | {"kind": "student"}), (), [0]).is_empty()  # a pupil is nobody's guardian


def test_tokens_are_hmacs_of_the_texts_and_bounded() -> None:
    many = [MOTHER | {"given": f"Ana{letter}", "phone": f"55520144{n:02}"} for n, letter in enumerate("bcdfghjklmnp")]
    people = frame(BASE | {"guardians": list(range(1, 13))}, *many)
    made, said = tokens(people, KEY, SALT, identifiers=(), rids=[0]), texts(people, (), [0])
    assert made.height == said.height == MOST
    assert made["token"].to_list() == [hmac.digest(KEY, t.encode(), hashlib.sha256)[:BYTES] for t in said["text"]]
    other = tokens(people, KEY[::-1], SALT, identifiers=(), rids=[0])
    assert not set(made["token"]) & set(other["token"])
    assert set(made["who"]) == set(other["who"])  # whose they are does not hang on the key
    assert len(set(made["who"])) == 1
    for another in (tokens(people, KEY, b"", identifiers=(), rids=[0]),
                    tokens(frame(BASE), KEY, SALT, identifiers=(), rids=[0])):  # fmt: skip
        assert another.height
        assert not set(made["who"]) & set(another["who"])
    assert tokens(people, KEY, SALT, identifiers=(), rids=[1]).is_empty()  # a guardian: neither birth date nor id
