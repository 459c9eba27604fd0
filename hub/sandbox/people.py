"""Students in households, their guardians, teachers and other staff, as rows of the CSV files about people.

Frames here carry the columns of both versions under their CSV names; ``package.shape`` keeps those of one version.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hub.sandbox.drawing import BLANK, Ints, chance, maybe
from hub.sandbox.identifiers import make_ids
from hub.sandbox.names import NICKNAMES, ORIGINS, POOLS, draw, plain
from hub.sandbox.schools import GRADES, LEVELS, School

_EPOCH = date(1970, 1, 1)
_UPPER = GRADES.index("06")
_PLAIN_GIVEN = pl.Series([plain(n) for n in POOLS.given])
_PLAIN_FAMILY = pl.Series([plain(n)[:12] for n in POOLS.family])
_GIVEN = pl.Series(POOLS.given)
_FAMILY = pl.Series(POOLS.family)
_DOUBLE = np.array([{"single": 0.0, "double": 0.85, "hyphen": 0.4}[o.surnames] for o in ORIGINS])
_JOIN = pl.Series([{"single": "-", "double": " ", "hyphen": "-"}[o.surnames] for o in ORIGINS])


@dataclass(frozen=True, slots=True)
class Place:
    """What people need to know of their district."""

    seed: int
    school_year: int
    domain: str
    district_id: str
    schools: tuple[School, ...]

    @property
    def org_ids(self) -> pl.Series:
        """Ids by school index; the district's own comes last, so that index -1 means the district."""
        return pl.Series([*(s.sourced_id for s in self.schools), self.district_id])


@dataclass(frozen=True, slots=True)
class Households:
    """One entry per household: surname, origin, and where it lives (0 to 1 along the district)."""

    origin: Ints
    family: pl.Series
    plain_family: pl.Series
    zone: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class People:
    """One kind of people: their rows of users.csv, and the places of their schools in the district (-1 for none)."""

    frame: pl.DataFrame
    school: Ints
    second: Ints
    grade: Ints
    household: Ints
    male: NDArray[np.bool_]
    born: Ints  # days since 1970


def make_households(rng: np.random.Generator, count: int) -> Households:
    """``count`` households."""
    origin = rng.choice(len(ORIGINS), count, p=POOLS.weights)
    first, second = draw(rng, POOLS.surname, origin), draw(rng, POOLS.surname, origin)
    double = (rng.random(count) < np.maximum(_DOUBLE[origin], 0.03)) & (first != second)
    parts = pl.DataFrame(
        {"a": _FAMILY.gather(first), "b": _FAMILY.gather(second), "join": _JOIN.gather(origin), "double": double}
    )
    family = parts.select(
        pl.when("double").then(pl.concat_str("a", "join", "b")).otherwise("a").alias("family")
    ).to_series()
    return Households(origin, family, _PLAIN_FAMILY.gather(first), rng.random(count))


def _children(rng: np.random.Generator, count: int) -> tuple[Ints, Ints, NDArray[np.bool_]]:
    """Household and place in it for ``count`` children, and who is the twin of the child before."""
    sizes = rng.choice([1, 2, 3, 4], count, p=[0.46, 0.36, 0.14, 0.04])
    household = np.repeat(np.arange(count), sizes)[:count]
    starts = np.searchsorted(household, household)
    number = np.arange(count) - starts
    return household, number, (number > 0) & (chance(rng, count, 0.05))


def _grades(rng: np.random.Generator, household: Ints, number: Ints, twin: NDArray[np.bool_]) -> Ints:
    """A grade (0 to 12) per child: siblings are one to three years apart, twins share it."""
    gap = np.where((number == 0) | twin, 0, rng.integers(1, 4, len(number)))
    total = gap.cumsum()
    offset = total - total[np.arange(len(number)) - number]
    base = rng.integers(0, len(GRADES), int(household[-1]) + 1)
    return np.asarray((base[household] + offset) % len(GRADES), np.int64)


def _school_of(place: Place, grade: Ints, zone: NDArray[np.float64]) -> Ints:
    """The school for each child: by grade and by where the household lives."""
    school = np.zeros(len(grade), np.int64)
    for level in LEVELS:
        indexes = np.array([s.index for s in place.schools if s.level == level])
        grades = next(s.grades for s in place.schools if s.level == level)
        here = (grade >= grades.start) & (grade < grades.stop)
        school[here] = indexes[(zone[here] * len(indexes)).astype(np.int64)]
    return school


def _given(rng: np.random.Generator, origin: Ints, male: NDArray[np.bool_], number: Ints) -> Ints:
    """Indexes of given names; ``number`` shifts them so that children of one household differ."""
    bounds = np.where(male[:, None], POOLS.male[origin], POOLS.female[origin])
    household_start = np.arange(len(number)) - number
    share = (rng.random(len(origin)) ** 1.4)[household_start]
    return np.asarray(bounds[:, 0] + ((share * bounds[:, 1]).astype(np.int64) + number) % bounds[:, 1], np.int64)


def _usernames(given: Ints, plain_family: pl.Series, number: pl.Series) -> pl.Series:
    """Initial, surname and local number, such as ``agarcia104233``: distinct because the number is."""
    return _PLAIN_GIVEN.gather(given).str.slice(0, 1) + plain_family + number


def phones(rng: np.random.Generator, count: int, seed: int) -> pl.Series:
    """E.164 numbers from the range 555-0100 to 555-0199, which no subscriber has."""
    return f"+1{200 + seed % 300}55501" + pl.Series(rng.integers(0, 100, count)).cast(pl.String).str.zfill(2)


def make_students(rng: np.random.Generator, place: Place, count: int) -> tuple[People, Households]:
    """``count`` students and the households they live in."""
    household, number, twin = _children(rng, count)
    homes = make_households(rng, int(household[-1]) + 1)
    grade = _grades(rng, household, number, twin)
    school = _school_of(place, grade, homes.zone[household])
    male = chance(rng, count, 0.51)
    birth = np.arange(count)[np.maximum.accumulate(np.where(twin, 0, np.arange(count)))]
    # Grade g is taught to those who are g + 5 on 1 September.
    day = rng.integers(1, 366, count)[birth]
    starts = np.array([(date(place.school_year - 7 - g, 9, 1) - _EPOCH).days for g in range(len(GRADES))])
    origin = homes.origin[household]
    given = _given(rng, origin, male, number)
    middle = _GIVEN.gather(
        draw(rng, np.where(male[:, None], POOLS.male[origin], POOLS.female[origin]), np.arange(count))
    )
    local = pl.Series(100_000 + np.arange(count) * 2 + rng.integers(0, 2, count)).cast(pl.String)
    state = pl.Series(rng.permutation(count) * 3 + 4_100_000_000 + place.seed % 1000).cast(pl.String)
    username = _usernames(given, homes.plain_family.gather(household), local)
    second = _shared_time(rng, place, school, grade)
    first_name = _GIVEN.gather(given)
    frame = pl.DataFrame(
        {
            "sourcedId": make_ids(rng, "students", count, place.seed),
            "enabledUser": pl.Series(np.where(chance(rng, count, 0.995), "true", "false")),
            "orgSourcedIds": _org_lists(place, school, second),
            "role": pl.repeat("student", count, eager=True),
            "username": username,
            "userIds": "{StateID:" + state + "}",
            "givenName": first_name,
            "familyName": homes.family.gather(household),
            "middleName": maybe(rng, middle, 0.55),
            "identifier": local,
            "email": maybe(rng, username + "@students." + place.domain, 0.9 if place.seed % 3 else 1.0),
            "phone": maybe(rng, phones(rng, count, place.seed), 0.1),
            "grades": pl.Series(GRADES).gather(grade),
            "userMasterIdentifier": state,
            "preferredGivenName": first_name.replace_strict(NICKNAMES, default=None, return_dtype=pl.String),
            "primaryOrgSourcedId": place.org_ids.gather(school),
            "pronouns": maybe(rng, pl.Series(np.where(male, "he/him", "she/her")), 0.05),
        }
    )
    return People(frame, school, second, grade, household, male, starts[grade] + day), homes


def _shared_time(rng: np.random.Generator, place: Place, school: Ints, grade: Ints) -> Ints:
    """The second school of the few students (0.5 % of grades 6 to 12) who take a class elsewhere; -1 for the others."""
    second = np.full(len(school), -1)
    upper = np.array([s.index for s in place.schools if s.level != "elementary"])
    chosen = np.flatnonzero((grade >= _UPPER) & chance(rng, len(school), 0.005))
    places = np.searchsorted(upper, school[chosen])
    second[chosen] = upper[(places + rng.integers(1, len(upper), len(chosen))) % len(upper)]
    return second


def _org_lists(place: Place, school: Ints, second: Ints) -> pl.Series:
    """The 1.1 column orgSourcedIds: one school, or two with a comma between."""
    one, two = place.org_ids.gather(school), place.org_ids.gather(second)
    return (one + "," + two).zip_with(pl.Series(second >= 0), one)


def make_guardians(
    rng: np.random.Generator, place: Place, students: People, homes: Households, share: float
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Guardians of a ``share`` of the households, and the students' frame with ``agentSourcedIds`` filled."""
    chosen = np.flatnonzero(rng.random(len(homes.origin)) < share)
    household = np.repeat(chosen, rng.integers(1, 3, len(chosen)))
    count = len(household)
    male = chance(rng, count, 0.45)
    origin = homes.origin[household]
    given = _given(rng, origin, male, np.arange(count) - np.searchsorted(household, household))
    local = pl.Series(5_000_000 + np.arange(count)).cast(pl.String)
    username = "p." + _usernames(given, homes.plain_family.gather(household), local)
    guardians = pl.DataFrame({"household": household, "sourcedId": make_ids(rng, "guardians", count, place.seed)})
    children = pl.DataFrame(
        {"household": students.household, "child": students.frame["sourcedId"], "school": students.school}
    )
    of_home = children.group_by("household", maintain_order=True).agg(
        pl.col("child").str.join(","), pl.col("school").first()
    )
    linked = guardians.join(of_home, on="household", how="left", maintain_order="left")
    agents = guardians.group_by("household", maintain_order=True).agg(
        pl.col("sourcedId").str.join(",").alias("agentSourcedIds")
    )
    per_child = children.join(agents, on="household", how="left", maintain_order="left")
    school = linked["school"].to_numpy()
    frame = pl.DataFrame(
        {
            "sourcedId": guardians["sourcedId"],
            "enabledUser": pl.repeat("true", count, eager=True),
            "orgSourcedIds": place.org_ids.gather(school),
            "role": pl.Series(np.where(chance(rng, count, 0.8), "parent", "guardian")),
            "username": username,
            "givenName": _GIVEN.gather(given),
            "familyName": homes.family.gather(household),
            "email": username + "@home." + place.domain,
            "sms": phones(rng, count, place.seed),
            "phone": maybe(rng, phones(rng, count, place.seed), 0.6),
            "agentSourcedIds": linked["child"],
            "primaryOrgSourcedId": place.org_ids.gather(school),
        }
    )
    return frame, students.frame.with_columns(per_child["agentSourcedIds"])


def make_staff(
    rng: np.random.Generator, place: Place, posts: tuple[Ints, Ints, Ints], roles: tuple[str, ...]
) -> pl.DataFrame:
    """Users rows of staff. ``posts``: place in ``roles`` (names of OneRoster 1.2), school and second school."""
    role, school, second = posts
    count = len(role)
    homes = make_households(rng, count)
    male = chance(rng, count, 0.27)
    given = _given(rng, homes.origin, male, np.zeros(count, np.int64))
    local = pl.Series(70_000 + np.arange(count)).cast(pl.String)
    username = _usernames(given, homes.plain_family, local)
    named = pl.DataFrame({"base": _PLAIN_GIVEN.gather(given) + "." + homes.plain_family})
    number = named.select(pl.int_range(pl.len()).over("base") + 1).to_series()
    address = named["base"].zip_with(named["base"] != ".", "staff." + local)
    address = (address + number.cast(pl.String)).zip_with(number > 1, address)
    return pl.DataFrame(
        {
            "sourcedId": make_ids(rng, "staff", count, place.seed),
            "enabledUser": pl.repeat("true", count, eager=True),
            "orgSourcedIds": _org_lists(place, school, second),
            "role": pl.Series(roles).gather(role),
            "username": username,
            "userIds": "{LDAP:" + username + "}",
            "givenName": _GIVEN.gather(given),
            "familyName": homes.family,
            "identifier": "E" + local,
            "email": address + "@" + place.domain,
            "phone": maybe(rng, phones(rng, count, place.seed), 0.7),
            "userMasterIdentifier": local,
            "primaryOrgSourcedId": place.org_ids.gather(school),
        }
    )


def make_roles(
    rng: np.random.Generator, place: Place, users: pl.DataFrame, second: Ints, profiles: pl.DataFrame
) -> pl.DataFrame:
    """roles.csv of 1.2: a primary role for everybody, a secondary one where ``second`` names another school."""
    main = users.select(
        pl.col("sourcedId").alias("userSourcedId"),
        pl.lit("primary").alias("roleType"),
        "role",
        pl.col("primaryOrgSourcedId").alias("orgSourcedId"),
    )
    at = np.flatnonzero(second >= 0)
    more = main[at].with_columns(
        pl.lit("secondary").alias("roleType"), place.org_ids.gather(second[at]).alias("orgSourcedId")
    )
    rows = pl.concat([main, more])
    profile_of = profiles.select("userSourcedId", pl.col("sourcedId").alias("userProfileSourcedId"))
    rows = rows.join(profile_of, on="userSourcedId", how="left", maintain_order="left")
    return rows.insert_column(0, make_ids(rng, "roles", len(rows), place.seed).alias("sourcedId"))


def make_profiles(rng: np.random.Generator, place: Place, staff: pl.DataFrame) -> pl.DataFrame:
    """userProfiles.csv of 1.2: the staff's account at the district's sign-on service. Passwords stay blank."""
    return staff.select(
        make_ids(rng, "userProfiles", len(staff), place.seed).alias("sourcedId"),
        pl.col("sourcedId").alias("userSourcedId"),
        pl.lit("sso").alias("profileType"),
        pl.lit("signon.example").alias("vendorId"),
        pl.lit("staff portal").alias("description"),
        pl.lit("username").alias("credentialType"),
        "username",
    )


def make_demographics(rng: np.random.Generator, students: People) -> pl.DataFrame:
    """demographics.csv: one row per student. Race is drawn without regard to the name."""
    count = len(students.frame)
    races = {
        "americanIndianOrAlaskaNative": 0.02, "asian": 0.08, "blackOrAfricanAmerican": 0.16,
        "nativeHawaiianOrOtherPacificIslander": 0.01, "white": 0.62,
    }  # fmt: skip
    flags = {name: rng.random(count) < share for name, share in races.items()}
    several = np.sum(list(flags.values()), axis=0) > 1
    flags |= {"demographicRaceTwoOrMoreRaces": several, "hispanicOrLatinoEthnicity": chance(rng, count, 0.24)}
    abroad = chance(rng, count, 0.07)
    country = np.where(abroad, rng.choice(["MX", "VN", "GT", "PH", "IN", "SO", "CA"], count), "US")
    text = {name: pl.Series(np.where(flag, "true", "false")) for name, flag in flags.items()}
    return pl.DataFrame(
        {
            "sourcedId": students.frame["sourcedId"],
            "birthDate": pl.Series(students.born).cast(pl.Int32).cast(pl.Date).cast(pl.String),
            "sex": pl.Series(np.where(students.male, "male", "female")),
            **text,
            "countryOfBirthCode": pl.Series(country),
            "stateOfBirthAbbreviation": pl.Series(rng.choice(["WA", "OR", "ID", "CA"], count)).zip_with(
                pl.Series(~abroad), BLANK
            ),
            "publicSchoolResidenceStatus": pl.repeat("01652", count, eager=True),
        }
    )
