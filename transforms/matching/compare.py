"""Pairs of records, field by field: on which level they agree, and how many bits that is worth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from transforms.matching.columns import NO_DAY, NO_GRADE, Bools
from transforms.matching.frequencies import Counts, Floats, Met
from transforms.matching.likeness import alike, chosen, one_step, words_in_common
from transforms.matching.names import forms_of_one
from transforms.matching.sides import Levels, Rows, Sides
from transforms.matching.weights import (
    AT,
    FIELDS,
    Birth,
    Code,
    First,
    Home,
    Last,
    Middle,
    Same,
    Time,
    Weights,
)
from transforms.matching.worth import by_value

#: Days between leaving and coming that still are a hand-over: a summer, and a little of both at once.
_HAND_OVER = (-14, 100)
#: Days that two records of one source may overlap when one follows the other.
_OVERLAP = 14
_YEAR = 365.25
#: Where the digits of a date are in ``Columns.date_digits``.
_YEAR_DIGITS, _IN_CENTURY, _MONTH_DIGITS, _DAY_DIGITS = 0xFFFF0000, 0xFF0000, 0xFF00, 0xFF
#: A spelling that fewer people have is a slip; two names that more have are two names.
_UNUSUAL = 2
_UNUSUAL_SHARE = 2e-5
#: Of a name that very many have, the same slip is made more than once: it is one still where so few of them have it.
_UNUSUAL_BESIDE = 0.01
#: Of three letters most slips are names as well (Mai, Mia): it is one where hardly anybody has it, so many the other.
_SHORT_SLIP = 10
_SHORTEST = 2


@dataclass(frozen=True)
class Compared:
    """``levels`` and ``bits``: a row for each pair, a column for each of ``FIELDS``.

    ``chance``: how many others are expected to share both names and the birth date.
    """

    levels: Levels
    bits: npt.NDArray[np.float32]
    chance: Floats

    def level(self, name: str) -> Levels:
        """The levels of one field."""
        return self.levels[:, AT[name]]


def compared(
    met: Met, left: Rows, right: Rows, weights: Weights, population: int
) -> Compared:  # fmt: skip
    """The pairs of rows ``left`` and ``right``; symmetrical in both."""
    columns = met.columns
    sides = Sides(columns, left, right)
    first = _first(sides, met)
    last = _last(sides, met)
    first[(last == Last.SWAPPED) & (first == First.DIFFERENT)] = First.SWAPPED
    birth = _birth(sides)
    school, role = sides.shared(columns.schools), sides.same(columns.kind)
    found = {
        "first name": first,
        "middle name": _middle(sides, first),
        "last name": last,
        "suffix": sides.same(columns.suffix),
        "birth date": birth,
        "sex": sides.same(columns.sex),
        "e-mail": _email(sides),
        "phone": sides.same(columns.phone),
        "user name": sides.same(columns.username),
        "home": _home(sides, first, last, birth),
        "guardian": sides.shared(columns.guardians),
        "identifier": _identifier(sides),
        "school": school,
        "time": _time(sides, school, role),
        "grade": _grade(sides),
        "role": role,
    }
    levels = np.stack([found[name] for name in FIELDS], axis=1)
    bits = np.stack([weights.bits[at][levels[:, at]] for at in range(len(FIELDS))], axis=1)
    return Compared(levels, bits, by_value(sides, found, bits, met, weights, population))


def may_be_one(sides: Sides) -> Bools:
    """Which pairs the gates of ``decide`` for other first names and birth dates may leave open, whatever is common."""
    found: Bools = _birth(sides) != Birth.DIFFERENT
    at, rest = sides.among(found)
    if len(at):
        found[at] = _may_be_one_name(rest)
    return found | sides.any_equal(sides.columns.ids) | sides.equal(sides.columns.email)


def _may_be_one_name(sides: Sides) -> Bools:
    columns, given = sides.columns, sides.columns.given
    first, unlike = named(sides)
    found: Bools = first != First.DIFFERENT
    at, rest = sides.among(unlike)
    if len(at):  # whether it is a slip depends on how common both are
        found[at] = alike(columns.values("c_given"), given, rest.left, rest.right, shortest=_SHORTEST)
    found |= given[sides.left] == columns.family[sides.right]
    found |= given[sides.right] == columns.family[sides.left]
    return found


def named(sides: Sides) -> tuple[Levels, Bools]:
    """Levels of first names as far as nothing has to be known of others; where both may still be one by a slip."""
    columns = sides.columns
    level = sides.same(columns.given)
    level[level == Same.DIFFERENT] = First.DIFFERENT
    at, rest = sides.among(level == First.DIFFERENT)
    given, middle, preferred = columns.given, columns.middle, columns.preferred
    a, b = given[rest.left], given[rest.right]
    names = np.full(len(at), First.DIFFERENT, np.uint8)
    one = columns.is_initial[rest.left] | columns.is_initial[rest.right]
    names[one & rest.equal(columns.initial)] = First.INITIAL
    names[rest.equal(columns.first) & (columns.compound[rest.left] != columns.compound[rest.right])] = First.PART
    crossed, back = a == middle[rest.right], b == middle[rest.left]
    names[crossed | back | (a == preferred[rest.right]) | (b == preferred[rest.left])] = First.ALIAS
    names[crossed & back] = First.SWAPPED_MIDDLE
    names[rest.any_equal(columns.nicknames)] = First.NICKNAME
    level[at] = names
    unlike = np.zeros(len(level), np.bool_)
    unlike[at] = (names == First.DIFFERENT) & ~one
    return level, unlike


def _first(sides: Sides, met: Met) -> Levels:
    columns, given = sides.columns, sides.columns.given
    level, unlike = named(sides)
    close, other = sides.among(unlike)
    if len(close):
        similar = alike(columns.values("c_given"), given, other.left, other.right)
        counts = met.given[other.left], met.given[other.right]
        slips = np.where(_unusual(*counts, met), First.SPELLING, First.ALIKE)
        level[close] = np.where(similar, slips, First.DIFFERENT)
        rarer, often = np.minimum(*counts), np.maximum(*counts)
        odd = rarer <= np.maximum(1, _UNUSUAL_BESIDE * often)
        short, brief = other.among(~similar & odd & (often >= _SHORT_SLIP))
        if len(short):
            slip = alike(columns.values("c_given"), given, brief.left, brief.right, shortest=_SHORTEST)
            level[close[short[slip]]] = First.SPELLING
    return level


def _unusual(one: Counts, other: Counts, met: Met) -> Bools:
    """Whether the rarer of two spellings is hardly ever met, so that it is a slip and no name of its own."""
    few = max(_UNUSUAL, _UNUSUAL_SHARE * met.frequencies.total)
    found: Bools = np.minimum(one, other) <= np.maximum(few, _UNUSUAL_BESIDE * np.maximum(one, other))
    return found


def _middle(sides: Sides, first: Levels) -> Levels:
    columns = sides.columns
    level = sides.same(columns.middle)
    middle, initial = columns.middle, columns.middle_initial
    at, rest = sides.among(level == Same.DIFFERENT)
    level[(level == Same.EQUAL) & (middle[sides.left] == initial[sides.left])] = Middle.INITIAL
    names = np.full(len(at), Middle.DIFFERENT, np.uint8)
    one = (middle[rest.left] == initial[rest.left]) | (middle[rest.right] == initial[rest.right])
    names[one & rest.equal(initial)] = Middle.INITIAL
    close, other = rest.among((names == Middle.DIFFERENT) & ~one)
    if len(close):
        similar = alike(columns.values("c_middle"), middle, other.left, other.right)
        names[close] = np.where(similar, Middle.SPELLING, Middle.DIFFERENT)
    level[at] = names
    # Where the one's first name is the other's middle name, that was said already.
    level[(first == First.ALIAS) | (first == First.SWAPPED_MIDDLE)] = Middle.MISSING
    return level


def _last(sides: Sides, met: Met) -> Levels:
    columns = sides.columns
    family, given, tokens = columns.family, columns.given, columns.family_tokens
    level, whole = sides.same(family), columns.family_whole
    for mine, theirs in ((family, whole), (whole, family)):  # Delacruz is de la Cruz
        level[(mine[sides.left] == theirs[sides.right]) & (level != Last.MISSING)] = Last.EQUAL
    at, rest = sides.among(level == Same.DIFFERENT)
    a, b = family[rest.left], family[rest.right]
    names = np.full(len(at), Last.DIFFERENT, np.uint8)
    if len(tokens) > 1:
        shared = rest.any_equal(tokens)
        one_each = (tokens[1][rest.left] == 0) | (tokens[1][rest.right] == 0)
        names[shared] = np.where(one_each[shared], Last.PART, Last.TOKEN)
    if len(at):
        close, other = rest.among((names != Last.PART) & (given[rest.left] != b))
        similar = alike(columns.values("c_family"), family, other.left, other.right)
        names[close[similar]] = _alike_last(other, similar, met)
    if len(tokens) > 1:
        equal = [token[rest.left] == token[rest.right] for token in tokens]
        names[np.logical_and.reduce(equal)] = Last.ORDER
    crossed, back = (given[rest.left] == b) & (b != 0), (given[rest.right] == a) & (a != 0)
    names[(crossed & back) | ((crossed | back) & (names == Last.DIFFERENT))] = Last.SWAPPED
    level[at] = names
    return level


def _alike_last(sides: Sides, similar: Bools, met: Met) -> Levels:
    """The levels of pairs whose last names are ``similar``: a slip or another form of one name, or another name."""
    _, pairs = sides.among(similar)
    one_name = _unusual(met.family[pairs.left], met.family[pairs.right], met)
    rest, others = pairs.among(~one_name)
    texts = sides.columns.values("c_family")
    names = zip(chosen(texts, others.left), chosen(texts, others.right), strict=True)
    one_name[rest] = [forms_of_one(one, other) for one, other in names]
    return np.where(one_name, Last.SPELLING, Last.ALIKE).astype(np.uint8)


def _birth(sides: Sides) -> Levels:
    columns = sides.columns
    level = sides.same(columns.born)
    at, rest = sides.among(level == Same.DIFFERENT)
    if not len(at):
        return level
    a, b = columns.date_digits[rest.left], columns.date_digits[rest.right]
    other = a ^ b
    differ = np.bitwise_count((other | other >> 1 | other >> 2 | other >> 3) & 0x11111111)
    parts = sum(((other & part) == 0).astype(np.uint8) for part in (_YEAR_DIGITS, _MONTH_DIGITS, _DAY_DIGITS))
    names = np.where(parts == 2, Birth.PARTS, Birth.DIFFERENT).astype(np.uint8)
    # One digit, or two neighbours of one part swapped.
    turned = a ^ ((b & 0x0F0F0F0F) << 4 | (b >> 4 & 0x0F0F0F0F))
    swapped = [((turned & two) == 0) & ((other & two) != 0) for two in (_IN_CENTURY, _MONTH_DIGITS, _DAY_DIGITS)]
    names[(differ == 1) | ((differ == 2) & (parts == 2) & np.logical_or.reduce(swapped))] = Birth.SLIP
    crossed = ((a >> 8 & 0xFF) == (b & 0xFF)) & ((b >> 8 & 0xFF) == (a & 0xFF))
    names[((other & _YEAR_DIGITS) == 0) & crossed] = Birth.SWAPPED
    level[at] = names
    return level


def _email(sides: Sides) -> Levels:
    level = sides.same(sides.columns.email)
    level[level == Same.DIFFERENT] = Code.DIFFERENT
    level[(level == Code.DIFFERENT) & sides.equal(sides.columns.local)] = Code.ALIKE
    return level


def _home(sides: Sides, first: Levels, last: Levels, birth: Levels) -> Levels:
    columns = sides.columns
    street, postcode = sides.same(columns.street), sides.same(columns.postcode)
    if not (street.any() or postcode.any()):
        return street
    level = np.where((street | postcode) == 0, Home.MISSING, Home.DIFFERENT).astype(np.uint8)
    level[postcode == Same.EQUAL] = Home.POSTCODE
    level[street == Same.EQUAL] = np.where(postcode[street == Same.EQUAL] == Same.DIFFERENT, Home.ALIKE, Home.EQUAL)
    # A street that is spelt otherwise says something of people only who agree in other things.
    born = birth == Birth.EQUAL
    agree = ((first != First.DIFFERENT) | born) & ((postcode == Same.EQUAL) | (last < Last.DIFFERENT) | born)
    at, rest = sides.among((street == Same.DIFFERENT) & agree)
    if len(at):
        texts = columns.values("c_street")
        close = alike(texts, columns.street, rest.left, rest.right, 0.95)
        words = words_in_common(texts, columns.street, rest.left, rest.right)
        near = (postcode[at] == Same.EQUAL) | rest.equal(columns.house)
        level[at[(words >= 88) | ((words >= 80) & near)]] = Home.WORDS
        level[at[close]] = Home.ALIKE
    return level


def _identifier(sides: Sides) -> Levels:
    ids, types = sides.columns.ids, sides.columns.id_types
    level = np.zeros(len(sides.left), np.uint8)
    for one, (codes, kinds) in enumerate(zip(ids, types, strict=True)):
        for two, (others, other_kinds) in enumerate(zip(ids, types, strict=True)):
            comparable = (kinds[sides.left] == other_kinds[sides.right]) & (kinds[sides.left] != 0)
            equal = comparable & (codes[sides.left] == others[sides.right])
            at, rest = sides.among(comparable & ~equal & (level == Code.MISSING))
            if len(at):
                texts = sides.columns.values("c_ids")
                a = [row[one] for row in chosen(texts, rest.left)]
                b = [row[two] for row in chosen(texts, rest.right)]
                level[at] = np.where(one_step(a, b), Code.ALIKE, Code.DIFFERENT)
            level[equal] = Code.EQUAL
    return level


def _time(sides: Sides, school: Levels, role: Levels) -> Levels:
    columns = sides.columns
    (b1, b2), (e1, e2) = (
        (v[sides.left].astype(np.int64), v[sides.right].astype(np.int64)) for v in (columns.begin, columns.end)
    )
    on1, on2 = columns.active[sides.left], columns.active[sides.right]
    far = 10**8
    ended = ((e1 != NO_DAY) | on1) & ((e2 != NO_DAY) | on2)
    stop1, stop2 = np.where(e1 == NO_DAY, far, e1), np.where(e2 == NO_DAY, far, e2)
    together = np.minimum(stop1, stop2) - np.maximum(b1, b2)
    dated = (b1 != NO_DAY) & (b2 != NO_DAY) & ended
    # Two roles of one person are told at the same time.
    one_source = (columns.source[sides.left] == columns.source[sides.right]) & (role != Same.DIFFERENT)
    level = np.where(dated & (together <= 0), Time.APART, Time.MISSING).astype(np.uint8)
    level[(school == Same.DIFFERENT) & (((together > _OVERLAP) & dated) | (on1 & on2))] = Time.OVERLAP
    gap1, gap2 = np.where(e1 == NO_DAY, far, b2 - stop1), np.where(e2 == NO_DAY, far, b1 - stop2)
    low, high = _HAND_OVER
    follows = ((gap1 >= low) & (gap1 <= high) & (b2 > b1)) | ((gap2 >= low) & (gap2 <= high) & (b1 > b2))
    level[dated & follows] = Time.HAND_OVER
    coexist = (on1 & on2) | (dated & ~follows & (together > _OVERLAP))
    level[one_source & coexist] = Time.COEXIST
    return level


def _grade(sides: Sides) -> Levels:
    """A record's grade is that of its last day. Of one that goes on it is that of a day not before it began."""
    columns = sides.columns
    g1, g2 = (columns.grade[side].astype(np.int32) for side in (sides.left, sides.right))
    b1, b2, e1, e2 = (
        values[side].astype(np.int64) for values in (columns.begin, columns.end) for side in (sides.left, sides.right)
    )
    on1, on2 = columns.active[sides.left], columns.active[sides.right]
    known1, known2 = (np.where(on, b, e) != NO_DAY for on, b, e in ((on1, b1, e1), (on2, b2, e2)))
    known = known1 & known2
    last1, last2 = np.where(on1, np.maximum(b1, e2), e1), np.where(on2, np.maximum(b2, e1), e2)
    years = np.where(known & ~(on1 & on2), (last2 - last1) / _YEAR, 0)
    off = np.abs(g2 - g1 - years)
    # Time may have passed since, and with it grades.
    later = known & ((on1 & ~on2 & (g1 - g2 + years > 0)) | (on2 & ~on1 & (g2 - g1 - years > 0)))
    level = np.where((off <= 1.2) | later, Same.EQUAL, np.where(off > 2.2, Same.DIFFERENT, Same.MISSING)).astype(
        np.uint8
    )
    level[(g1 == NO_GRADE) | (g2 == NO_GRADE)] = Same.MISSING
    return level
