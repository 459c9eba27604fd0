"""From pairs to people: average-link clustering that respects what must stay apart."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import polars as pl

from transforms.matching.decide import Decisions
from transforms.matching.policy import ROSTER, Policy

#: What a pair counts that was not compared or was too unlike to be told, and the most that a pair may count, in bits.
_MISSING, _MOST, _SURE = -3.0, 20.0, 40.0
#: What a pair counts of which it is less likely than this that it is one person, where names alone do not make it one:
#: more than names say for any other pair of two groups, less than an identifier does.
_UNLIKELY, _DENIED = 0.9, -30.0
Pair = tuple[int, int]


def clusters(
    decisions: Decisions, people: pl.DataFrame, cannot: pl.DataFrame | None = None, policy: Policy = ROSTER
) -> pl.DataFrame:  # fmt: skip
    """The cluster of every record of ``people``: rid, cluster (the least rid of it), by rid. Only merges join.

    Of each two groups those whose pairs say most on average are joined first, as long as that is above nothing;
    never across a pair of ``cannot``, and never so that two records would be active in one source in one role unless an
    identifier or an address says so (tiers B and C). The order of rows makes no difference.
    """
    rid = people["rid"].sort().to_numpy()
    cluster = rid.copy()
    merges = decisions.frame.filter(pl.col("outcome") == "merge")
    groups = _connected(merges)
    if groups:
        members = pl.DataFrame(
            {
                "rid": [r for group in groups for r in group],
                "group": [i for i, group in enumerate(groups) for _ in group],
            },
            {"rid": pl.UInt32, "group": pl.UInt32},
        )
        sure, weights = _weights(decisions.frame, members, policy)
        apart = _apart(cannot, members)
        active, missing = _active(people, members), max(_MISSING, -policy.doubt)
        parts = [
            part
            for number, group in enumerate(groups)
            for part in _average_link(group, weights[number], sure[number], apart[number], active, missing)
        ]
        # All at once and of one type: else every look would copy the rids of a whole district.
        joined, first = (
            np.array([member for part in parts for member in ([part[0]] * len(part) if named else part)], rid.dtype)
            for named in (False, True)
        )
        cluster[np.searchsorted(rid, joined)] = first
    return pl.DataFrame({"rid": rid, "cluster": cluster})


def _connected(merges: pl.DataFrame) -> list[list[int]]:
    """Groups within which merges lead from one record to the other, sorted."""
    parent: dict[int, int] = {}

    def root(of: int) -> int:
        while parent.setdefault(of, of) != of:
            parent[of] = parent[parent[of]]
            of = parent[of]
        return of

    for left, right in zip(merges["left"], merges["right"], strict=True):
        one, other = sorted((root(left), root(right)))
        parent[other] = one
    groups = defaultdict(list)
    for member in sorted(parent):
        groups[root(member)].append(member)
    return list(groups.values())


def _weights(
    frame: pl.DataFrame, members: pl.DataFrame, policy: Policy
) -> tuple[dict[int, set[Pair]], dict[int, dict[Pair, float]]]:
    """Of each group the pairs that tiers B and C join, and what each pair of it counts."""
    group = members.rename({"group": "of"})
    inside = frame.join(group, left_on="left", right_on="rid").join(
        members, left_on=["right", "of"], right_on=["rid", "group"], how="semi"
    )
    sure: dict[int, set[Pair]] = defaultdict(set)
    weights: dict[int, dict[Pair, float]] = defaultdict(dict)
    doubt = policy.doubt
    posterior = inside["posterior"].clip(1e-12, 1 - 1e-12)
    bits = ((posterior / (1 - posterior)).log(2)).clip(-doubt, _MOST)
    denied = np.log2(_UNLIKELY / (1 - _UNLIKELY))
    columns = (inside["of"], inside["left"], inside["right"], inside["outcome"], inside["tier"], bits)
    for of, left, right, outcome, tier, value in zip(*columns, strict=True):
        counts = value if outcome != "separate" else min(value, max(_MISSING, -doubt))
        if policy.households and outcome == "separate" and value < denied:
            counts = _DENIED
        if outcome == "merge" and tier in ("B", "C"):
            sure[of].add((left, right))
            counts = _SURE
        elif outcome == "merge":
            counts = max(value, 1.0)
        weights[of][left, right] = counts
    return sure, weights


def _apart(cannot: pl.DataFrame | None, members: pl.DataFrame) -> dict[int, set[Pair]]:
    apart: dict[int, set[Pair]] = defaultdict(set)
    if cannot is not None and cannot.height:
        pairs = cannot.select(pl.col("left", "right").cast(pl.UInt32))
        both = pairs.join(members, left_on="left", right_on="rid")
        for left, right, of in zip(both["left"], both["right"], both["group"], strict=True):
            apart[of].add((min(left, right), max(left, right)))
    return apart


def _active(people: pl.DataFrame, members: pl.DataFrame) -> dict[int, tuple[str, str]]:
    """Source and role of the active records among ``members``."""
    active = people.filter(pl.col("active").fill_null(value=True)).select(
        "rid", pl.col("source").fill_null(""), pl.col("kind").fill_null("")
    )
    active = active.join(members, on="rid", how="semi")
    return dict(zip(active["rid"], zip(active["source"], active["kind"], strict=True), strict=True))


def _average_link(
    group: list[int], weights: dict[Pair, float], sure: set[Pair], apart: set[Pair], active: dict[int, tuple[str, str]],
    missing: float,
) -> list[list[int]]:  # fmt: skip
    """The parts of a group, each sorted."""
    size = len(group)
    if size == 2:  # most are, and arrays for each would take longer than all that was before
        one, other = group
        told = active.get(one)
        both_active = told is not None and told == active.get(other) and (one, other) not in sure
        return [[one], [other]] if both_active or (one, other) in apart else [group]
    place = {member: at for at, member in enumerate(group)}
    total = np.full((size, size), missing)
    barred = np.zeros((size, size), np.bool_)
    for (left, right), value in weights.items():
        _both(total, place, left, right, value)
    for at, one in enumerate(group):
        for other in group[at + 1 :]:
            told = active.get(one)
            if told is not None and told == active.get(other) and (one, other) not in sure:
                _both(barred, place, one, other, 1)
    for left, right in apart:
        if right in place:
            _both(barred, place, left, right, 1)
    return [[group[at] for at in part] for part in _joined(total, barred)]


def _both(matrix: npt.NDArray[np.generic], place: dict[int, int], left: int, right: int, value: float) -> None:
    one, other = place[left], place[right]
    matrix[one, other] = matrix[other, one] = value


def _joined(total: npt.NDArray[np.float64], barred: npt.NDArray[np.bool_]) -> Iterable[list[int]]:
    """Parts as lists of places. ``total`` and ``barred`` are used up."""
    parts = [[at] for at in range(len(total))]
    sizes = np.ones(len(total))
    alive = np.triu(np.ones(total.shape, np.bool_), 1)
    while True:
        average = np.where(alive & ~barred, total / np.outer(sizes, sizes), -np.inf)
        best = int(np.argmax(average))
        one, other = divmod(best, len(total))
        if average[one, other] <= 0:
            return [sorted(part) for at, part in enumerate(parts) if part and sizes[at] > 0]
        total[one] += total[other]
        total[:, one] += total[:, other]
        barred[one] |= barred[other]
        barred[:, one] |= barred[:, other]
        parts[one] += parts[other]
        sizes[one] += sizes[other]
        parts[other] = []
        sizes[other] = 1
        alive[other] = alive[:, other] = False
