"""rosterbench: made-up records of people of which it is known who is who, with everything that makes that hard.

Households with siblings and twins, cousins of one name, several origins of names, moves, transfers, slips, nicknames,
placeholders, identifiers that are typed wrong or used again. Nothing here is anybody's data. Same plan, same people.
Seeds to learn and tune with and seeds to report on are apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl

from hub.sandbox.drawing import Ints, chance
from hub.sandbox.names import ORIGINS, POOLS
from hub.sandbox.roster_names import ORIGIN_NAMES, Names, names
from hub.sandbox.roster_second import second_records
from hub.sandbox.roster_shape import CASES, TODAY, Flags, case, finished, streets_of
from transforms.matching.people import PERSON

TUNING_SEEDS = (101, 102, 103)
RELEASE_SEEDS = (9001, 9002, 9003, 9004, 9005, 9006, 9007, 9008)
__all__ = [
    "CASES",
    "ORIGIN_NAMES",
    "PERSON",
    "RELEASE_SEEDS",
    "TUNING_SEEDS",
    "RosterBench",
    "RosterPlan",
    "rosterbench",
]
#: Shares of households with one to four children; of families with twins; of people with a second and third record.
_CHILDREN = (0.35, 0.4, 0.18, 0.07)
_TWINS, _LOOK_ALIKE, _SECOND, _THIRD = 0.035, 0.25, 0.09, 0.01
_STAFF, _STAFF_PARENTS, _COUSINS, _PLACEHOLDERS = 0.04, 0.02, 0.0003, 0.001
_RECORDS_EACH = (1 + _SECOND + _THIRD) * (1 + _STAFF)
SOURCES = 5
_DOUBLE = {ORIGIN_NAMES.index("Spanish"): 0.6, ORIGIN_NAMES.index("French"): 0.1, ORIGIN_NAMES.index("English"): 0.03}
_NEW_YEAR = {ORIGIN_NAMES.index("Arabic"): 0.08, ORIGIN_NAMES.index("Vietnamese"): 0.03}


@dataclass(frozen=True, slots=True)
class RosterPlan:
    """``records`` in all, about. ``identifiers``: 60 % of people have a state id, 50 % a school e-mail address."""

    records: int = 65_000
    seed: int = TUNING_SEEDS[0]
    identifiers: bool = False


@dataclass(frozen=True)
class RosterBench:
    """``people``: PERSON. ``truth``: rid, person, twins (a number that twins share, or 0), origin, cases (bits)."""

    people: pl.DataFrame
    truth: pl.DataFrame


def rosterbench(plan: RosterPlan) -> RosterBench:
    """The people of a plan."""
    rng = np.random.default_rng([plan.seed, plan.records, plan.identifiers])
    pool = names()
    wanted = max(10, round(plan.records / _RECORDS_EACH / (1 + _PLACEHOLDERS)))
    people = pl.concat([_children(rng, pool, wanted), _staff(rng, pool, round(wanted * _STAFF))], how="diagonal")
    people = people.with_columns(person=pl.row_index().cast(pl.UInt32))
    people = _identified(rng, people, identifiers=plan.identifiers)
    more = second_records(rng, people, _SECOND, _THIRD)
    parents = _staff_parents(rng, people)
    everyone = pl.concat([people, more, parents, _placeholders(rng, round(wanted * _PLACEHOLDERS))], how="diagonal")
    everyone = everyone.with_columns(person=pl.col("person").fill_null(pl.row_index() + pl.len()).cast(pl.UInt32))
    people, truth = finished(rng, everyone)
    return RosterBench(people, truth)


def _children(rng: np.random.Generator, pool: Names, count: int) -> pl.DataFrame:
    """Pupils, each with its first record."""
    sizes = rng.choice(4, count, p=_CHILDREN) + 1
    home = np.repeat(np.arange(count), sizes)[:count]
    homes = int(home[-1]) + 1
    origin = rng.choice(len(ORIGINS), homes, p=POOLS.weights)
    place = np.arange(count) - np.searchsorted(home, home)
    sex = (rng.random(count) < 0.5).astype(np.int64)
    mother = rng.integers(5, 17, homes)
    age = np.clip(mother[home] - place * rng.integers(2, 4, count) + rng.normal(0, 0.4, count), 4.5, 18.9)
    born = np.datetime64(TODAY, "D").astype(np.int64) - (age * 365.25).astype(np.int64) - rng.integers(0, 300, count)
    twin = (place == 1) & chance(rng, homes, _TWINS * 1.7)[home]
    born[twin] = born[np.flatnonzero(twin) - 1]
    given = pool.drawn(rng, sex, origin[home])
    alike = twin & chance(rng, count, _LOOK_ALIKE)
    sex[alike] = sex[np.flatnonzero(alike) - 1]
    given[alike] = pool.look_alike[given[np.flatnonzero(alike) - 1]]
    _unlike_siblings(rng, given, sex, home, origin, pool)
    start = chance(rng, count, 0.01) & np.isin(origin[home], list(_NEW_YEAR))
    for which, share in _NEW_YEAR.items():
        start |= chance(rng, count, share) & (origin[home] == which) & ~twin
    years = born.astype("datetime64[D]").astype("datetime64[Y]")
    born = np.where(start & ~twin, years.astype("datetime64[D]").astype(np.int64), born)
    twins = np.where(twin | np.append(twin[1:], False), home + 1, 0)
    flags = Flags(count).add("twin", twins > 0).add("sibling", np.isin(home, home[place > 0])).add("1 January", start)
    frame = _framed(rng, pool, home, origin, sex, given, born, flags)
    frame = frame.with_columns(kind=pl.lit("student"), twins=pl.Series(twins, dtype=pl.UInt32))
    return _cousins(rng, frame)


def _unlike_siblings(
    rng: np.random.Generator, given: Ints, sex: Ints, home: Ints, origin: Ints, pool: Names
) -> None:  # fmt: skip
    """Children of one home have different names, and none has the everyday short form of the other's."""
    plain = pool.given.to_numpy()
    for _ in range(20):
        clash = np.zeros(len(given), np.bool_)
        for back in (1, 2, 3):
            same = home[back:] == home[:-back]
            short = np.array([n.lower()[:3] for n in plain])
            kin = (given[back:] == given[:-back]) | (
                (short[given[back:]] == short[given[:-back]]) & _differs(given, back, pool)
            )
            clash[back:] |= same & kin
        rows = np.flatnonzero(clash)
        if not len(rows):
            return
        given[rows] = pool.drawn(rng, sex[rows], origin[home[rows]])


def _differs(given: Ints, back: int, pool: Names) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Names that begin alike without being a pair that looks alike on purpose."""
    alike: np.ndarray[tuple[int], np.dtype[np.bool_]] = pool.look_alike[given[:-back]] != given[back:]
    return alike


def _framed(
    rng: np.random.Generator, pool: Names, home: Ints, origin: Ints, sex: Ints, given: Ints, born: Ints, flags: Flags
) -> pl.DataFrame:  # fmt: skip
    """Names, homes, schools and times of people who live in ``home``, of ``origin`` by home."""
    count, homes = len(home), len(origin)
    family = _families(rng, pool, origin)
    source = rng.integers(0, SOURCES, homes)[home]
    middle = np.where(chance(rng, count, 0.78), pool.drawn(rng, sex, origin[home]), -1)
    middle[middle == given] = -1
    for back in (1, 2, 3):  # Nobody has a brother's or sister's first name as the middle one.
        kin = home[back:] == home[:-back]
        middle[back:][kin & (middle[back:] == given[:-back])] = -1
        middle[:-back][kin & (middle[:-back] == given[back:])] = -1
    age = (np.datetime64(TODAY, "D").astype(np.int64) - born) / 365.25
    streets = streets_of(rng, homes)
    begin = (
        np.datetime64("2026-08-20", "D").astype(np.int64) - 365 * rng.integers(0, 4, count) + rng.integers(-6, 7, count)
    )
    begin = np.maximum(begin, born + 1700)
    return pl.DataFrame(
        {
            "source": source,
            "home": home,
            "origin": origin[home],
            "given": pool.given.gather(given),
            "middle": pool.given.gather(np.maximum(middle, 0)).zip_with(
                pl.Series(middle >= 0), pl.Series([None], dtype=pl.String)
            ),
            "family": family.gather(home),
            "birth": born,
            "cohort": (born + 122).astype("datetime64[D]").astype("datetime64[Y]").astype(np.int64) + 1970,
            "sex": sex,
            "age": age,
            "school": school(rng, source, age),
            "street": streets.gather(home),
            "postcode": (27000 + source * 100 + rng.integers(0, 20, homes)[home]).astype(np.int64),
            "begin": begin,
            "end": np.full(count, -1),
            "cases": flags.bits,
        }
    ).with_columns(active=pl.lit(value=True))


def _families(rng: np.random.Generator, pool: Names, origin: Ints) -> pl.Series:
    """The surname of each home; double ones where that is usual."""
    which = np.full(len(origin), 2)
    one, two = (pool.family.gather(pool.drawn(rng, which, origin)) for _ in range(2))
    double = np.zeros(len(origin), np.bool_)
    for at, share in _DOUBLE.items():
        double |= (origin == at) & chance(rng, len(origin), share)
    between = pl.Series(np.where(origin == ORIGIN_NAMES.index("Spanish"), " ", "-"))
    return (one + between + two).zip_with(pl.Series(double), one)


def school(rng: np.random.Generator, source: Ints, age: np.ndarray[tuple[int], np.dtype[np.float64]]) -> Ints:
    """A school of the source that has pupils of that age."""
    stage = np.digitize(age, (11, 14))
    made: Ints = source * 60 + stage * 20 + rng.integers(0, np.array([14, 8, 5])[stage])
    return made


def _cousins(rng: np.random.Generator, frame: pl.DataFrame) -> pl.DataFrame:
    """Some people get the names and the birth date of one of another home."""
    count = max(1, round(frame.height * _COUSINS))
    one, other = np.split(rng.permutation(frame.height)[: 2 * count], 2)
    given, family, birth, sex, cases = (frame[name].clone() for name in ("given", "family", "birth", "sex", "cases"))
    given = given.scatter(other, given.gather(one))
    family = family.scatter(other, family.gather(one))
    birth, sex = birth.scatter(other, birth.gather(one)), sex.scatter(other, sex.gather(one))
    both = np.concatenate([one, other])
    cases = cases.scatter(both, cases.gather(both) | case("cousin"))
    return frame.with_columns(given, family, birth, sex, cases)


def _staff(rng: np.random.Generator, pool: Names, count: int) -> pl.DataFrame:
    origin = rng.choice(len(ORIGINS), count, p=POOLS.weights)
    sex = (rng.random(count) < 0.3).astype(np.int64)
    born = np.datetime64(TODAY, "D").astype(np.int64) - (rng.uniform(22, 66, count) * 365.25).astype(np.int64)
    home = np.arange(count)
    frame = _framed(rng, pool, home, origin, sex, pool.drawn(rng, sex, origin), born, Flags(count))
    return frame.with_columns(kind=pl.lit("staff"), home=home + 10**8, twins=pl.lit(0, pl.UInt32))


def _identified(rng: np.random.Generator, people: pl.DataFrame, *, identifiers: bool) -> pl.DataFrame:
    """State ids and addresses, where the plan has any."""
    count = people.height
    pupils = (people["kind"] == "student").to_numpy()
    state = 10**8 + np.arange(count) * 48_271_003 % 89_999_999
    state = np.where(identifiers & pupils & chance(rng, count, 0.6), state, -1)
    local = "u" + people["person"].cast(pl.String)
    email = local + "@d" + people["source"].cast(pl.String) + ".example"
    has = chance(rng, count, 0.5) & identifiers
    nothing = pl.Series([None], dtype=pl.String)
    # Brothers and sisters in some homes have their parents' address.
    family = "home" + people["home"].cast(pl.String) + "@mail.example"
    uses_family = pl.Series(has & pupils & chance(rng, count, 0.02))
    email = family.zip_with(uses_family, email)
    cases = people["cases"] | pl.Series(np.where(uses_family.to_numpy(), case("shared e-mail"), 0), dtype=pl.Int64)
    # Fictional numbers end in 555 0100 to 0199: as many as there are staff need other area codes.
    number = pl.Series(
        2_015_550_100
        + people["person"].to_numpy().astype(np.int64) % 700 * 10_000_000
        + people["person"].to_numpy() // 700 % 100
    )
    return people.with_columns(
        state=pl.Series(state), email=email.zip_with(pl.Series(has), nothing), cases=cases,
        phone=nothing.zip_with(pl.Series(pupils), number.cast(pl.String)),
    )  # fmt: skip


def _staff_parents(rng: np.random.Generator, people: pl.DataFrame) -> pl.DataFrame:
    """Some members of staff are guardians too: a record of a guardian, without a birth date; both have one phone."""
    staff = people.filter(pl.col("kind") == "staff")
    some = staff.filter(pl.Series(chance(rng, staff.height, _STAFF_PARENTS)))
    return some.with_columns(
        kind=pl.lit("guardian"), birth=pl.lit(None, pl.Int64), middle=pl.lit(None, pl.String),
        email=pl.lit(None, pl.String),
        cases=pl.col("cases") | case("staff and parent"), source=pl.col("source"), school=pl.lit(None, pl.Int64),
    )  # fmt: skip


def _placeholders(rng: np.random.Generator, count: int) -> pl.DataFrame:
    """Records of nobody."""
    table = pl.DataFrame(
        {
            "given": ["Test", "Test", "Demo", "Student", "Vacant", "Unknown"],
            "family": ["Student", "Test", "Student 2", "1", "TBD", "Unknown"],
        }
    )
    rows = rng.integers(0, table.height, count)
    made = table[rows.tolist()] if count else table.clear()
    return made.with_columns(
        kind=pl.lit("student"), source=pl.Series(rng.integers(0, SOURCES, count)), origin=pl.lit(0, pl.Int64),
        cases=pl.lit(case("placeholder"), pl.Int64), twins=pl.lit(0, pl.UInt32), active=pl.lit(value=True),
        birth=pl.lit(date(2010, 1, 1)).to_physical().cast(pl.Int64), state=pl.lit(-1, pl.Int64),
    )  # fmt: skip
