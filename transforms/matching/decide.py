"""Whether two records are of one person: merge, review or separate, with the evidence."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import polars as pl

from transforms.marks import as_list
from transforms.matching.blocks import Rids, candidates_of, unpacked
from transforms.matching.columns import Bools, Columns, columns_of
from transforms.matching.compare import Compared, compared
from transforms.matching.evidence import written
from transforms.matching.few import People
from transforms.matching.frequencies import Floats, Frequencies, Met, counted
from transforms.matching.hashes import U64, of_texts, once
from transforms.matching.likeness import chosen
from transforms.matching.normal import normalised
from transforms.matching.others import Others
from transforms.matching.policy import PUBLIC, ROSTER, Policy
from transforms.matching.sides import Levels, Rows
from transforms.matching.weights import (
    AGREEING,
    AT,
    WEIGHTS,
    Birth,
    Code,
    First,
    Home,
    Last,
    Middle,
    Same,
    Time,
    Weights,
    is_one_of,
)

_CHUNK = 100_000
_NO_PAIRS = pl.DataFrame(schema={"left": pl.UInt32, "right": pl.UInt32})
#: Pairs of a batch that are kept apart are told when they are as likely as this, and both are joined to others.
_TOLD = 1e-6
#: Two records of one name and birth date are joined for these when they are as likely as this.
_LIKELY = 0.99
TIERS = ("score", "B", "C", "D", "E")
_SCORE, _B, _C, _D, _E = range(5)
_SEPARATE, _REVIEW, _MERGE = range(3)
OUTCOMES = ("separate", "review", "merge")
_HOUSEHOLD = tuple(AT[name] for name in ("home", "phone", "guardian", "school"))
_BESIDE = tuple(at for name, at in AT.items() if name not in {"first name", "last name", "birth date"})
#: A first name that says the same person even in one home.
_ONE_NAME = (First.EQUAL, First.NICKNAME, First.SWAPPED_MIDDLE)
#: A nickname says it where it is worth as many bits: William and Liam, of whom there are many, may be twins.
_TELLING = 2.0


@dataclass(frozen=True, slots=True)
class Decisions:
    """A row for each pair, by left and right: left, right, outcome, tier, score, posterior, evidence, model."""

    frame: pl.DataFrame


def decide(
    people: People | Columns, pairs: pl.DataFrame | None = None, *, population: int, cannot: pl.DataFrame | None = None,
    policy: Policy = ROSTER, weights: Weights = WEIGHTS, frequencies: Frequencies | None = None,
) -> Decisions:  # fmt: skip
    """Decide on ``pairs`` (left, right: rids), or on all candidates among ``people`` (``PERSON``, or normalised).

    ``population``: the number of people that were searched. ``frequencies``: how common values are in it, by default
    among ``people``; whoever decides on some pairs of many people passes those of all. Of given pairs every one is
    told; of candidates those that are not separate, and those that were not far from it.
    """
    if isinstance(people, pl.DataFrame) and "c_given" not in people.columns:
        people = normalised(people)
    columns = columns_of(people)
    if pairs is None:  # Columns of keys are made anew: with those that are compared they would be twice as much at once
        left, right = candidates_of(Columns(columns.people), register=not policy.households)
    else:
        left, right = _ordered(pairs)
    judge = _Judge(columns, policy, weights, population, frequencies, cannot)
    parts, doubtful = [], []
    for start in range(0, max(len(left), 1), _CHUNK):  # once for no pairs, so that there are columns
        chunk = slice(start, start + _CHUNK)
        frame, rest = judge.judged(left[chunk], right[chunk], every=pairs is not None)
        parts.append(frame)
        doubtful.append(rest)
    made = pl.concat(parts) if len(parts) > 1 else parts[0]  # to put one part together wakes threads
    if pairs is None:
        # What is unlikely counts where both are joined to others: it may be that these are two people.
        joined = made.filter(pl.col("outcome") == "merge")
        rids = as_list(pl.concat([joined["left"], joined["right"]]).unique())
        rest = pl.concat(doubtful).filter(pl.col("left").is_in(rids) & pl.col("right").is_in(rids))
        frame, _ = judge.judged(rest["left"].to_numpy(), rest["right"].to_numpy(), every=True)
        made = pl.concat([made, frame]).sort("left", "right")
    return Decisions(made)


def _ordered(pairs: pl.DataFrame) -> tuple[Rids, Rids]:
    one, other = (pairs[side].to_numpy().astype(np.uint32, copy=False) for side in ("left", "right"))
    packed = once(_packed(np.minimum(one, other), np.maximum(one, other))[one != other])
    return unpacked(packed)


def _packed(left: Rids, right: Rids) -> npt.NDArray[np.uint64]:
    return (left.astype(np.uint64) << np.uint64(32)) | right


def _kept_apart(left: Rids, right: Rids, cannot: pl.DataFrame | None) -> Bools:
    if cannot is None or not cannot.height:
        return np.zeros(len(left), np.bool_)
    return np.isin(_packed(left, right), _packed(*_ordered(cannot)))


@dataclass(frozen=True, slots=True)
class _Judged:
    outcome: Levels
    tier: Levels
    score: npt.NDArray[np.float32]
    posterior: Floats
    apart: Bools
    told: Bools
    by_names: Bools
    contested: Bools


class _Judge:
    """Decides on pairs of the records of ``columns``."""

    def __init__(
        self, columns: Columns, policy: Policy, weights: Weights, population: int, frequencies: Frequencies | None,
        cannot: pl.DataFrame | None,
    ) -> None:  # fmt: skip
        self.columns, self.policy, self.weights, self.population = columns, policy, weights, population
        self.met = Met(columns, frequencies or counted(columns))
        self.others = Others(columns)
        self.order = np.argsort(columns.rid, kind="stable")
        self.rids = columns.rid[self.order]
        self.cannot = cannot

    def judged(self, left: Rids, right: Rids, *, every: bool) -> tuple[pl.DataFrame, pl.DataFrame]:
        """What is told of the pairs, or of ``every`` one; left and right of others that are not out of the question."""
        a, b = (self.order[np.searchsorted(self.rids, side)] for side in (left, right))
        pair, found = self._by_themselves(a, b)
        self._by_thirds(a, b, found)
        told = np.ones(len(a), np.bool_) if every else found.told
        rest = np.flatnonzero(~told & (found.posterior > _TOLD))
        doubtful = _NO_PAIRS if every else pl.DataFrame({"left": left[rest], "right": right[rest]})
        return _frame(left, right, pair, found, told, self.weights), doubtful

    def _by_themselves(self, left: Rows, right: Rows) -> tuple[Compared, _Judged]:
        one, other = self.columns.rid[left], self.columns.rid[right]
        apart = _kept_apart(np.minimum(one, other), np.maximum(one, other), self.cannot)
        pair = compared(self.met, left, right, self.weights, self.population)
        return pair, _judged(self, left, right, pair, apart)

    def _by_thirds(self, left: Rows, right: Rows, found: _Judged) -> None:
        """Leave to review whom names join, where the one is known to be a third whom nothing joins to the other.

        Where names are contested, also if it is not known: unless each third is joined to both, there are two people.
        """
        at = np.flatnonzero(found.by_names | found.contested)
        if not len(at):
            return
        pairs, thirds = self.others.namesakes(left[at], right[at])
        if not len(pairs):
            return
        at = at[pairs]
        (one, held_one), (other, held_other) = (self._known(side[at], thirds) for side in (left, right))
        known = found.by_names[at] & ((one & held_other) | (other & held_one))
        denied = at[known | (found.contested[at] & (held_one | held_other))]
        found.outcome[denied], found.tier[denied] = _REVIEW, _SCORE

    def _known(self, side: Rows, thirds: Rows) -> tuple[Bools, Bools]:
        """Whether both are one by an identifier or an address; whether they are not joined."""
        _, found = self._by_themselves(side, thirds)
        merged = found.outcome == _MERGE
        return merged & ((found.tier == _B) | (found.tier == _C)), ~merged


def _judged(judge: _Judge, left: Rows, right: Rows, pair: Compared, apart: Bools) -> _Judged:
    columns, policy = judge.columns, judge.policy
    if policy.households:
        # Who lives together shares these: they say something only of people whose first names agree.
        strangers = ~is_one_of(pair.level("first name"), (*AGREEING, First.SPELLING))
        for at in _HOUSEHOLD:
            pair.bits[strangers, at] = np.minimum(pair.bits[strangers, at], 0)
    score = pair.bits.sum(axis=1, dtype=np.float32)
    posterior = 1 / (1 + judge.population * np.exp2(-score.astype(np.float64)))
    likely = (posterior >= policy.review).astype(np.uint8) + (posterior >= policy.merge)
    outcome = np.array([_SEPARATE, _REVIEW, _MERGE], np.uint8)[likely]
    tier = np.full(len(score), _SCORE, np.uint8)
    told = np.zeros(len(score), np.bool_)
    seen, contested = _seen(pair), np.zeros(len(score), np.bool_)
    if policy.households:
        expected = _corroborated(pair)
        contested = (expected > policy.contested) & ~judge.others.no_namesake(left, right)
        contested &= pair.level("birth date") == Birth.EQUAL
        common = (expected > policy.rarity) | (contested & ~judge.others.few_namesakes(left, right))
        told |= _gated(judge, left, right, pair, seen, common, outcome)
        exact = _tier_e(pair, seen) & ~common & (posterior >= _LIKELY)
        outcome[exact], tier[exact] = _MERGE, _E
    _by_email(judge, left, right, pair, outcome, tier)
    _by_identifier(pair, seen, policy, outcome, tier)
    unknown = ~(columns.matchable[left] & columns.matchable[right])
    outcome[apart | unknown], tier[unknown], posterior[unknown] = _SEPARATE, _SCORE, 0.0
    told |= (outcome != _SEPARATE) | (tier == _D) | apart
    joined = (outcome == _MERGE) & (tier != _B) & (tier != _C) & policy.households
    return _Judged(outcome, tier, score, posterior, apart, told, joined & ~seen.beside, joined & contested)


@dataclass(frozen=True, slots=True)
class _Seen:
    """What several gates ask of each pair."""

    one_name: Bools
    at_home: Bools
    beside: Bools
    conflict: Bools


def _seen(pair: Compared) -> _Seen:
    at_home = _at_home(pair)
    beside = _beside(pair, at_home)
    return _Seen(_one_name(pair), at_home, beside, _conflict(pair, beside))


def _corroborated(pair: Compared) -> Floats:
    """How many others would share names and birth date and agree in the rest as these two do."""
    others: Floats = pair.chance * np.exp2(-pair.bits[:, _BESIDE].sum(axis=1, dtype=np.float64))
    return others


def _one_name(pair: Compared) -> Bools:
    """Whether first names are those of one person even in one home."""
    first, bits = pair.level("first name"), pair.bits[:, AT["first name"]]
    found: Bools = is_one_of(first, _ONE_NAME) & ((first != First.NICKNAME) | (bits > _TELLING))
    return found


def _at_home(pair: Compared) -> Bools:
    """Whether both live together, as far as is known."""
    home = is_one_of(pair.level("home"), (Home.EQUAL, Home.ALIKE))
    found: Bools = home | (pair.level("guardian") == Same.EQUAL) | (pair.level("phone") == Same.EQUAL)
    return found


def _conflict(pair: Compared, beside: Bools) -> Bools:
    """Whether something speaks for two people that only a person, an identifier or an address may overrule."""
    names = ("middle name", "suffix", "sex", "role", "identifier", "time")
    levels = (Middle.DIFFERENT, Same.DIFFERENT, Same.DIFFERENT, Same.DIFFERENT, Code.DIFFERENT, Time.COEXIST)
    found: Bools = np.logical_or.reduce([pair.level(name) == level for name, level in zip(names, levels, strict=True)])
    return found | _names_alone(pair, beside)


def _beside(pair: Compared, at_home: Bools) -> Bools:
    """Whether both share anything that is no name and no birth date."""
    found: Bools = at_home | (pair.level("home") == Home.WORDS) | (pair.level("school") == Same.EQUAL)
    found |= (pair.level("user name") == Same.EQUAL) | is_one_of(pair.level("identifier"), (Code.EQUAL, Code.ALIKE))
    found |= is_one_of(pair.level("e-mail"), (Code.EQUAL, Code.ALIKE))
    return found


def _names_alone(pair: Compared, beside: Bools) -> Bools:
    """Whether nothing but names and a birth date is shared by two who go to two schools at one time and live apart.

    Or by two of whom not even the birth date is the same, wherever they live. A middle name is one name more, so that
    it takes more to doubt: another last name, or two schools at one time with a birth date that is not the same or, for
    those who live apart, a last name that is the other's first name.
    """
    overlap, reborn = pair.level("time") == Time.OVERLAP, pair.level("birth date") != Birth.EQUAL
    elsewhere = overlap & is_one_of(pair.level("home"), (Home.POSTCODE, Home.DIFFERENT))
    with_middle = is_one_of(pair.level("middle name"), (Middle.EQUAL, Middle.INITIAL))
    last = pair.level("last name")
    doubted = (~with_middle & (elsewhere | reborn)) | (overlap & reborn) | (last == Last.DIFFERENT)
    doubted |= elsewhere & (last == Last.SWAPPED)
    found: Bools = ~beside & doubted
    return found


def _slip_of_one(judge: _Judge, left: Rows, right: Rows, pair: Compared) -> Bools:
    """Whether a first name that is spelt otherwise is a slip, although both were born on one day in one home or family.

    Twins are at school at one time, so that each has records of it: it is a slip where one record ends before the other
    begins, and no third first name is known of that home and day.
    """
    found: Bools = (
        (pair.level("first name") == First.SPELLING)
        & (pair.level("birth date") == Birth.EQUAL)
        & is_one_of(pair.level("time"), (Time.HAND_OVER, Time.APART))
    )
    at = np.flatnonzero(found)
    if len(at):
        found[at] = judge.others.no_third_name(left[at], right[at])
    return found


def _gated(
    judge: _Judge, left: Rows, right: Rows, pair: Compared, seen: _Seen, common: Bools, outcome: Levels
) -> Bools:  # fmt: skip
    """Lower ``outcome`` where a gate is shut; the pairs that are told for it although they are separate."""
    first, birth = pair.level("first name"), pair.level("birth date")
    fits = is_one_of(first, (*AGREEING, First.SPELLING))
    born_together = is_one_of(birth, (Birth.EQUAL, Birth.SWAPPED, Birth.MISSING))
    twins = born_together & seen.at_home & ~seen.one_name & ~_slip_of_one(judge, left, right, pair)
    # Brothers do not share a first name, nor are father and son pupils one behind the other: whatever is missing, two
    # pupils of one name are one in one home, and where the one comes when the other leaves and their grades fit.
    grade, follows = pair.level("grade"), pair.level("time") == Time.HAND_OVER
    same_pupil = ((grade != Same.MISSING) & seen.at_home) | ((grade == Same.EQUAL) & follows)
    undated = (birth == Birth.MISSING) & ~(seen.one_name & same_pupil)
    held = ~fits | twins | undated | ((birth == Birth.EQUAL) & common) | seen.conflict
    outcome[held] = np.minimum(outcome[held], _REVIEW)
    coexist = pair.level("time") == Time.COEXIST
    outcome[(first == First.DIFFERENT) | (birth == Birth.DIFFERENT) | (twins & coexist)] = _SEPARATE
    kept: Bools = twins & coexist & (first != First.DIFFERENT)
    return kept


def _tier_e(pair: Compared, seen: _Seen) -> Bools:
    """First name, last name and birth date equal, and nothing against it."""
    found: Bools = (
        seen.one_name
        & is_one_of(pair.level("last name"), (Last.EQUAL, Last.ORDER, Last.PART))
        & (pair.level("birth date") == Birth.EQUAL)
        & ~seen.conflict
    )
    return found


def _by_email(judge: _Judge, left: Rows, right: Rows, pair: Compared, outcome: Levels, tier: Levels) -> None:
    at = np.flatnonzero(pair.level("e-mail") == Code.EQUAL)
    if not len(at):
        return
    columns, policy = judge.columns, judge.policy
    domains = of_texts(chosen(columns.values("c_email"), left[at]), _domain)
    first, last, birth = (pair.level(name)[at] for name in ("first name", "last name", "birth date"))
    role = pair.level("role")[at]
    if policy.email_domains is None:
        trusted = ~np.isin(domains, _hashed(PUBLIC)) & (role != Same.DIFFERENT)
    else:
        students = (columns.kind[left[at]] == 1) | (columns.kind[right[at]] == 1)
        trusted = np.isin(domains, _hashed(policy.email_domains)) & ~((role == Same.DIFFERENT) & students)
    named = is_one_of(first, (*AGREEING, First.SPELLING)) & ((last != Last.DIFFERENT) | (birth == Birth.EQUAL))
    fits = named & trusted & (birth != Birth.DIFFERENT) & ~np.isin(columns.email[left[at]], judge.others.shared_emails)
    fits &= pair.level("identifier")[at] != Code.DIFFERENT
    outcome[at[fits]], tier[at[fits]] = _MERGE, _C


def _domain(email: str) -> str:
    return email.partition("@")[2]


@lru_cache(maxsize=256)  # for each district that names its own
def _hashed(domains: Collection[str]) -> U64:
    return of_texts(sorted(domains))


def _by_identifier(pair: Compared, seen: _Seen, policy: Policy, outcome: Levels, tier: Levels) -> None:
    equal = pair.level("identifier") == Code.EQUAL
    first, birth = pair.level("first name"), pair.level("birth date")
    other = first == First.DIFFERENT
    # Twins are mixed up by those who type: their birth date is no proof when another first name is told.
    twins = other & seen.at_home & policy.households
    if not policy.households:
        outcome[equal] = np.maximum(outcome[equal], _REVIEW)
        tier[equal & (outcome == _MERGE)] = _B
        return
    named = ~other & (first != First.MISSING)
    # Identifiers are given again: a first name of many alone does not make the next owner the one before.
    again = (birth == Birth.DIFFERENT) & (pair.level("last name") == Last.DIFFERENT)
    same = equal & (named | (birth == Birth.EQUAL)) & ~twins & ~again
    outcome[same], tier[same] = _MERGE, _B
    outcome[equal & ~same] = _REVIEW
    suspect = equal & other & (birth == Birth.DIFFERENT)
    outcome[suspect], tier[suspect] = _SEPARATE, _D


def _frame(
    left: Rids, right: Rids, pair: Compared, judged: _Judged, told: Bools, weights: Weights
) -> pl.DataFrame:  # fmt: skip
    rows = np.flatnonzero(told)
    return pl.DataFrame(
        [
            pl.Series("left", left[rows]),
            pl.Series("right", right[rows]),
            _named("outcome", OUTCOMES, judged.outcome[rows]),
            _named("tier", TIERS, judged.tier[rows]),
            pl.Series("score", judged.score[rows]),
            pl.Series("posterior", judged.posterior[rows]),
            written(pair.levels[rows], pair.bits[rows], judged.apart[rows]).alias("evidence"),
            pl.Series("model", [weights.version], pl.String).new_from_index(0, len(rows)),
        ]
    )


def _named(name: str, words: tuple[str, ...], places: Levels) -> pl.Series:
    return pl.Series(name, [words[place] for place in places.tolist()], pl.String)
