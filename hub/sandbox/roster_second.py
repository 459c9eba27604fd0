"""Second records of people of rosterbench: what another source, another year or another hand makes of somebody."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hub.sandbox.drawing import Ints, chance
from hub.sandbox.names import NICKNAMES
from hub.sandbox.roster_names import names
from hub.sandbox.roster_shape import Flags, case, streets_of

Bools = NDArray[np.bool_]
_ELSEWHERE, _MOVED, _NICKNAME, _TYPO, _HYPHEN, _RENAMED = 0.5, 0.45, 0.12, 0.06, 0.5, 0.02
_DATE, _SWAPPED, _UNDATED, _UNSEXED, _HOMELESS = 0.03, 0.04, 0.02, 0.1, 0.05
_BOTH_ACTIVE, _MIGRATED, _GAP, _TWO_SOURCES = 0.05, 0.1, 0.25, 0.3
_WRONG_ID, _USED_AGAIN = 0.01, 0.005
_SUMMER = 75
_NONE = pl.Series([None], dtype=pl.String)
_SHORT = NICKNAMES | {
    "Alexander": "Alex", "Benjamin": "Ben", "Elizabeth": "Liz", "Natalie": "Nat", "Lillian": "Lily", "Henry": "Hank",
    "Jackson": "Jack", "Daniela": "Dani", "Gabriela": "Gaby", "Sebastián": "Sebas", "Valentina": "Vale",
    "Miguel": "Mike",
    "Rafael": "Rafa", "Zofia": "Zosia", "Agnieszka": "Aga", "Katarzyna": "Kasia", "Wojciech": "Wojtek",
    "Yusuf": "Yousef",
    "Ibrahim": "Ebrahim", "Ahmed": "Ahmad", "Omar": "Umar", "Fatima": "Fatma", "Maryam": "Mariam", "Zaynab": "Zainab",
    "Mustafa": "Moustafa", "Siddharth": "Sid", "Harpreet": "Harry", "Krishna": "Krish", "Leilani": "Lani",
    "Matthias": "Matt", "Micah": "Mike", "Violet": "Vi", "Megan": "Meg", "Simone": "Mona", "Oliver": "Ollie",
}  # fmt: skip


def second_records(
    rng: np.random.Generator, people: pl.DataFrame, second: float, third: float
) -> pl.DataFrame:  # fmt: skip
    """Second and third records of ``people``, which become the earlier or concurrent ones: their ``end`` may be set."""
    # Who came to the first school that is known of cannot have been at another before.
    old = (people["kind"] == "staff").to_numpy() | ((people["begin"] - people["birth"]).to_numpy() > 6.2 * 365.25)
    again = np.flatnonzero(chance(rng, people.height, second / old.mean()) & old)
    more = again[chance(rng, len(again), third / second)]
    rows = np.concatenate([again, more])
    made = people[rows.tolist()]
    flags = Flags(len(rows))
    made = _times(rng, made, flags, np.arange(len(rows)) >= len(again))
    exact = (flags.bits & case("migration")) > 0
    made = _names(rng, made, flags, ~exact)
    made = _facts(rng, made, flags, ~exact)
    made = _identifiers(rng, made, people, flags)
    return made.with_columns(cases=pl.col("cases") | pl.Series(flags.bits))


def _times(rng: np.random.Generator, made: pl.DataFrame, flags: Flags, third: Bools) -> pl.DataFrame:
    """Another source or not; before the first record, or beside it."""
    count = made.height
    source = np.where(chance(rng, count, _ELSEWHERE), rng.integers(0, 5, count), made["source"].to_numpy())
    # What is told of one source is of one time.
    source = np.where(third, (made["source"].to_numpy() + 1 + rng.integers(0, 4, count)) % 5, source)
    same = source == made["source"].to_numpy()
    beside = np.where(same, chance(rng, count, _BOTH_ACTIVE), chance(rng, count, _TWO_SOURCES))
    migrated = same & ~beside & chance(rng, count, _MIGRATED)
    gap = ~beside & ~migrated & chance(rng, count, _GAP)
    begin = made["begin"].to_numpy()
    wait = np.where(gap, rng.integers(200, 900, count), rng.integers(1, _SUMMER, count))
    known = begin - made["birth"].to_numpy() - 1700
    wait = np.minimum(wait, np.maximum(known - 100, 1))
    end = np.where(beside, -1, begin - wait)
    stay = np.minimum(rng.integers(100, 900, count), np.maximum(known - wait, 60))
    before = np.where(beside, begin + rng.integers(-3, 60, count), end - stay)
    flags.add("both active", same & beside).add("two sources", ~same & beside).add("migration", migrated)
    flags.add("transfer", ~beside & ~gap & ~migrated).add("gap", gap)
    age = made["age"].to_numpy() - (begin - before) / 365.25
    stage = np.digitize(age, (11, 14))
    schools = source * 60 + stage * 20 + rng.integers(0, np.array([14, 8, 5])[stage])
    stays = same & chance(rng, count, 0.3) & (np.digitize(made["age"].to_numpy(), (11, 14)) == stage)
    return made.with_columns(
        source=pl.Series(source), begin=pl.Series(before), end=pl.Series(end),
        active=pl.Series(beside.astype(np.bool_)),
        school=pl.Series(np.where(stays, made["school"].to_numpy(), schools)),
    )  # fmt: skip


def _names(rng: np.random.Generator, made: pl.DataFrame, flags: Flags, spoilt: Bools) -> pl.DataFrame:
    count = made.height
    given, middle, family = (made[name].to_list() for name in ("given", "middle", "family"))
    short = spoilt & np.array([name in _SHORT for name in given], np.bool_) & chance(rng, count, _NICKNAME)
    typo, slip = (spoilt & chance(rng, count, _TYPO) for _ in range(2))
    typo &= ~short
    parts = np.array([" " in name or "-" in name for name in family], np.bool_)
    hyphen = spoilt & parts & chance(rng, count, _HYPHEN)
    renamed = spoilt & chance(rng, count, _RENAMED)
    swapped = spoilt & made["middle"].is_not_null().to_numpy() & chance(rng, count, _SWAPPED) & ~short & ~typo
    _change(given, short, lambda name: _SHORT[name])
    _change(given, typo, lambda name: _typo(rng, name))
    _change(family, hyphen, lambda name: _joined(rng, name))
    _change(family, slip, lambda name: _typo(rng, name))
    for row in np.flatnonzero(renamed).tolist():
        family[row] = _surname(rng, made["origin"][row])
    for row in np.flatnonzero(swapped).tolist():
        given[row], middle[row] = middle[row], given[row]
    loses = spoilt & chance(rng, count, 0.2) & ~swapped
    cut = spoilt & chance(rng, count, 0.3) & ~swapped & ~loses
    middle = [
        None if lost else name[:1] if name and short else name
        for name, lost, short in zip(middle, loses, cut, strict=True)
    ]
    flags.add("nickname", short).add("typo in first name", typo).add("typo in last name", slip).add("hyphen", hyphen)
    flags.add("new last name", renamed).add("names swapped", swapped)
    return made.with_columns(
        pl.Series("given", given, pl.String),
        pl.Series("middle", middle, pl.String),
        pl.Series("family", family, pl.String),
    )


def _surname(rng: np.random.Generator, origin: int) -> str:
    """A surname of an origin."""
    pool = names()
    first, size = pool.bounds[origin, 2]
    return str(pool.family[int(first + rng.integers(0, size))])


def _change(values: list[str], rows: Bools, how: Callable[[str], str]) -> None:
    for row in np.flatnonzero(rows).tolist():
        values[row] = how(values[row])


def _typo(rng: np.random.Generator, name: str) -> str:
    """One letter left out, doubled, swapped with the next, or another."""
    if len(name) < 3:
        return name
    at = int(rng.integers(1, len(name) - 1))
    kind = rng.integers(0, 4)
    letter = "abcdefghijklmnopqrstuvwxyz"[rng.integers(0, 26)]
    if kind == 0:
        return name[:at] + name[at + 1 :]
    if kind == 1:
        return name[:at] + name[at] + name[at:]
    if kind == 2:
        return name[:at] + name[at + 1] + name[at] + name[at + 2 :]
    return name[:at] + letter + name[at + 1 :]


def _joined(rng: np.random.Generator, name: str) -> str:
    """Parts of a surname written otherwise, in the other order, or one of them left out."""
    parts = name.replace("-", " ").split(" ")
    way = rng.integers(0, 5)
    if way == 0:
        return "".join(parts)
    if way == 1:
        return ("-" if " " in name else " ").join(parts)
    if way == 2:
        return parts[0] if len(parts[0]) > 3 else " ".join(parts)
    if way == 3:
        return parts[-1]
    return " ".join(reversed(parts)) if len(parts) == 2 and len(parts[0]) > 3 else "-".join(parts)


def _facts(rng: np.random.Generator, made: pl.DataFrame, flags: Flags, spoilt: Bools) -> pl.DataFrame:
    """Birth date, sex and home."""
    count = made.height
    wrong = spoilt & chance(rng, count, _DATE)
    days = _slipped(rng, made["birth"].to_numpy(), wrong)
    undated, unsexed, homeless = (spoilt & chance(rng, count, share) for share in (_UNDATED, _UNSEXED, _HOMELESS))
    moved = spoilt & chance(rng, count, _MOVED)
    street = streets_of(rng, count).zip_with(pl.Series(moved), made["street"])
    near = 27000 + made["source"].to_numpy() * 100 + rng.integers(0, 20, count)
    postcode = np.where(moved, near, made["postcode"].to_numpy())
    flags.add("birth date slip", wrong).add("no birth date", undated).add("moved", moved)
    return made.with_columns(
        birth=pl.Series(np.where(undated, 0, days)).zip_with(pl.Series(~undated), pl.Series([None], dtype=pl.Int64)),
        sex=made["sex"].zip_with(pl.Series(~unsexed), pl.Series([None], dtype=made["sex"].dtype)),
        street=_NONE.zip_with(pl.Series(homeless), street),
        postcode=pl.Series(postcode).zip_with(pl.Series(~homeless), pl.Series([None], dtype=pl.Int64)),
    )


def _slipped(rng: np.random.Generator, days: Ints, rows: Bools) -> Ints:
    """Day and month the other way round, another year, or another day."""
    made = days.copy()
    for row in np.flatnonzero(rows).tolist():
        born = days[row].astype("datetime64[D]").item()
        kind = rng.integers(0, 3)
        if kind == 0 and born.day <= 12 and born.day != born.month:
            born = born.replace(month=born.day, day=born.month)
        elif kind == 1:
            born = born.replace(year=born.year + int(rng.choice((-1, 1))), day=min(born.day, 28))
        else:
            born = born.replace(day=born.day % 28 + 1)
        made[row] = np.datetime64(born, "D").astype(np.int64)
    return made


def _identifiers(rng: np.random.Generator, made: pl.DataFrame, people: pl.DataFrame, flags: Flags) -> pl.DataFrame:
    """Some state ids are typed wrong; some are those of somebody else."""
    count = made.height
    state = made["state"].to_numpy().copy()
    has = state >= 0
    wrong, again = has & chance(rng, count, _WRONG_ID), has & chance(rng, count, _USED_AGAIN)
    state[wrong] += 10 ** rng.integers(0, 6, int(wrong.sum()))
    others = people.filter(pl.col("state") >= 0)["state"].to_numpy()
    if len(others):
        state[again] = rng.choice(others, int(again.sum()))
    # An address belongs to the source: elsewhere half keep theirs as a second one.
    flags.add("wrong identifier", wrong).add("identifier used again", again)
    return made.with_columns(state=pl.Series(state))
