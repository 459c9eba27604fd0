"""Rules about sessions and about the moments at which objects were modified."""

from __future__ import annotations

from datetime import date, timedelta

import polars as pl

from transforms.issues import Action, Phase, Severity
from transforms.marks import present, rows_of
from transforms.rules.given import ANY, Given, found, nothing, rule, whole

#: Parent, type, first and last day of a session.
_Span = tuple[str, str, date, date]
_DAY = timedelta(days=1)
#: The first day of a weekend (Monday is 1), and the months in which nearly all schools are closed.
_SATURDAY, _HOLIDAYS = 6, (6, 7, 8)
_SPAN = ("startDate", "endDate")
_ZONE = r"(?i)(?:z|[+-][0-9]{2}:?[0-9]{2})$"
_LONGEST_DAY = 10


@rule(
    "TRM-001", Severity.WARN, Action.REPORT, "A class whose terms have all been over for long",
    "End such classes in the student system, or correct the dates of their terms, which the cause names.",
    entity="classes", fields=("terms",), phase=Phase.CROSS_ENTITY,
    reads={"classes": ("terms",), "academicSessions": _SPAN}, params={"days": 120},
)  # fmt: skip
def over(given: Given) -> pl.DataFrame:
    """Classes of which each term ended more than ``days`` ago; the cause is the last one."""
    if given.today is None:
        return nothing()
    before = given.today - given.params["days"] * _DAY
    first = given["academicSessions"]["endDate"].min()
    if not isinstance(first, date) or first >= before:  # no session is over for so long
        return nothing()
    rows = given["classes"].explode("terms")
    sessions = given["academicSessions"].select("endDate", terms="key")
    ends = rows.join(sessions, on="terms", how="left").sort("key", "endDate", "terms", nulls_last=True)
    last = ends.group_by("key", "line", maintain_order=True).agg(
        pl.col("endDate").max(), cause=pl.lit("academicSessions:") + pl.col("terms").last(),
        known=pl.col("endDate").is_not_null().all(),
    )  # fmt: skip
    return found(last, last["known"] & (last["endDate"] < before), last["cause"])


@rule(
    "TRM-002", Severity.INFO, Action.REPORT, "Terms of one kind and parent that overlap, or leave a gap of weeks",
    "Correct the dates of the terms in the student system. The hub keeps them as they are.",
    entity="academicSessions", fields=("startDate",), phase=Phase.ENTITY,
    reads={"academicSessions": ("type", "parent", *_SPAN)}, params={"overlap_days": 14, "gap_days": 45},
)  # fmt: skip
def overlapping(given: Given) -> pl.DataFrame:
    """Sessions that begin long before the one before them ends, or long after; schools' like terms count as one."""
    rows = given["academicSessions"]
    rows = rows_of(rows, present(rows["parent"]) & (rows["type"] != "schoolYear"))
    spans = list(zip(*(rows[name].to_list() for name in ("parent", "type", *_SPAN)), strict=True))
    odd = _odd(set(spans), given.params["overlap_days"] * _DAY, given.params["gap_days"] * _DAY)
    mark = pl.Series([span in odd for span in spans], dtype=pl.Boolean)
    return found(rows, mark, "academicSessions:" + rows["parent"])


def _odd(spans: set[_Span], overlap: timedelta, gap: timedelta) -> set[_Span]:
    """The spans that overlap with those before them of their parent and type, or leave a gap, by more than that."""
    until: dict[tuple[str, str], date] = {}
    odd = set[_Span]()
    # The longer goes first: a term inside of another one (a summer school, a school of other terms) is no mistake.
    for span in sorted(spans, key=lambda span: (*span[:3], -span[3].toordinal())):
        parent, kind, start, end = span
        last = until.get((parent, kind))
        if last is not None and (start + overlap < last < end or start > last + gap):
            odd.add(span)
        until[parent, kind] = end if last is None else max(last, end)
    return odd


@rule(
    "TRM-003", Severity.WARN, Action.HOLD, "No session is under way on a school day",
    "Export the sessions of this school year too. If there is no school today, nothing needs doing.",
    entity="academicSessions", fields=_SPAN, phase=Phase.ENTITY, reads={"academicSessions": ("type", *_SPAN)},
)  # fmt: skip
def no_session(given: Given) -> pl.DataFrame:
    """On a weekday outside of the summer: one finding where no session but a school year holds today, or none at all.

    Between two sessions and before the first is no school.
    """
    rows, today = given["academicSessions"], given.today
    if today is None or not rows.height or today.isoweekday() >= _SATURDAY or today.month in _HOLIDAYS:
        return nothing()
    terms = rows.filter(pl.col("type") != "schoolYear")
    rows = terms if terms.height else rows
    return whole().with_columns(field=pl.lit("endDate")) if (rows["endDate"] + _DAY < today).all() else nothing()


@rule(
    "DAT-003", Severity.INFO, Action.REPORT, "dateLastModified in the future, or without a time zone",
    "Write moments as 2026-08-25T07:30:00.000Z. The hub does not go by them.",
    entity="", fields=("dateLastModified",), phase=Phase.ROW, reads={ANY: ("dateLastModified",)},
)  # fmt: skip
def modified(given: Given) -> pl.DataFrame:
    """Rows of changes whose moment is later than tomorrow, or has a time and no zone."""
    rows = given[ANY]
    if not given.delta or rows["dateLastModified"].null_count() == rows.height:
        return nothing()
    text = rows["dateLastModified"].str.strip_chars()
    mark = (text.str.len_bytes() > _LONGEST_DAY) & ~text.str.contains(_ZONE)
    if given.today is not None:
        days = text.str.head(_LONGEST_DAY).str.to_date("%Y-%m-%d", strict=False)
        mark |= (days > given.today + _DAY).fill_null(value=False)
    return found(rows, mark)
