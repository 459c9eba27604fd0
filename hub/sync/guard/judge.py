"""From the totals of a difference to the reasons to hold it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

from hub.sync.guard.rules import KINDS, Limit, Rules

_VERBS: Final = {
    "deleted": "deleted", "updated": "updated", "moved": "moved to another school",
    "rebound": "bound to another person",
}  # fmt: skip

#: One field of very many records: approved once, it may go on for a while (``hub.sync.judging.EPOCH_DAYS``).
MASS_CHANGE: Final = "mass_change"


@dataclass(slots=True)
class Counts:
    """What a run does to one entity. ``before`` is how many active records the source had.

    ``moved`` and ``rebound`` records are among the updated ones; ``withheld`` changes were left for a later run.
    """

    before: int = 0
    created: int = 0
    updated: int = 0
    deleted: int = 0
    unchanged: int = 0
    quarantined: int = 0
    moved: int = 0
    rebound: int = 0
    withheld: int = 0

    def as_json(self) -> dict[str, int]:
        """The counts by name."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a run is held: a stable code, the entity or file, the number and the limit that it went over.

    ``schools``: the sourcedIds of the schools where it happens, empty where it concerns the district as a whole.
    ``holds``: whether the run waits for it; otherwise it only explains what the guard did.
    """

    code: str
    subject: str
    number: int
    limit: float
    text: str
    schools: tuple[str, ...] = ()
    holds: bool = True

    def as_json(self) -> dict[str, Any]:
        """The reason as it is stored and shown."""
        return asdict(self) | {"schools": list(self.schools)}


@dataclass(frozen=True, slots=True)
class Share:
    """How many records of a school change, and how many it had."""

    number: int
    before: int


@dataclass(frozen=True, slots=True)
class Loss:
    """How many records of one entity leave the view of an app, and how many it saw."""

    app: str
    entity: str
    left: int
    before: int


@dataclass(frozen=True, slots=True)
class Facts:
    """What a run does, as the guard looks at it.

    ``schools``: (entity, kind) to the shares of schools by their sourcedIds; ``emptied``: schools that lose all their
    classes or enrollments, ``vanished``: those that end, ``renumbered``: those of them that come with the same name
    and identifier under another sourcedId; ``missing``: files that the last applied package had and this
    one has not, those of ``headers`` with their header alone; ``cut``: files that end in the middle of a row.
    ``usual``: (entity, kind) to the share below which earlier runs stayed. ``fields``: (entity, field) to the number of
    records in which the field differs; ``learnt``: those ("users.email") of which somebody has approved that not long
    ago.
    """

    counts: Mapping[str, Counts]
    schools: Mapping[tuple[str, str], Mapping[str, Share]] = field(default_factory=dict)
    emptied: Sequence[str] = ()
    vanished: Sequence[str] = ()
    renumbered: Sequence[str] = ()
    missing: Sequence[str] = ()
    headers: Sequence[str] = ()
    cut: Sequence[str] = ()
    losses: Sequence[Loss] = ()
    usual: Mapping[tuple[str, str], float] = field(default_factory=dict)
    fields: Mapping[tuple[str, str], int] = field(default_factory=dict)
    learnt: frozenset[str] = frozenset()


def suspects(
    rules: Rules, counts: Mapping[str, Counts], schools: Mapping[tuple[str, str], Mapping[str, int]]
) -> set[str]:
    """The entities of which ``reasons`` wants to know how many records each school had: most runs have none.

    ``schools``: (entity, kind) to the number of changed records by school.
    """
    found = {e for e, c in counts.items() for kind in KINDS if _over(rules, e, kind, c)}
    for (entity, kind), numbers in schools.items():
        limit = rules.limit("per_school", entity, kind)
        if limit is not None and any(
            limit.exceeded(number, max(number, limit.size + 1)) for number in numbers.values()
        ):
            found.add(entity)
    return found


def reasons(rules: Rules, facts: Facts) -> list[Reason]:
    """Why the run must wait, and what an open rollover window lets pass; empty when there is nothing to say."""
    strict, now = _reasons(rules, facts), _reasons(rules.in_windows, facts)
    kept = {(r.code, r.subject) for r in now}
    window = rules.open("rollover")
    passed = [] if window is None else [
        replace(r, code=f"{r.code}_let_pass", holds=False, text=f"{r.text} The window {window.name} lets it pass.")
        for r in strict if (r.code, r.subject) not in kept
    ]  # fmt: skip
    return [*now, *passed]


def passes(reason: Reason, approved: Mapping[str, Any] | None) -> bool:
    """Whether a person has seen this reason, with this number or a larger one, and approved.

    Data may have moved on in between: what is new, larger or in other schools is asked about again.
    """
    if approved is not None and approved.get("waived"):
        return True
    if approved is None:
        return False
    return any(
        seen["code"] == reason.code and seen["subject"] == reason.subject and reason.number <= seen["number"]
        and set(reason.schools) <= set(seen["schools"])
        for seen in approved.get("reasons", ())
    )  # fmt: skip


def _reasons(rules: Rules, facts: Facts) -> list[Reason]:
    found = [
        r for entity, c in facts.counts.items() for kind in KINDS for r in _of_entity(rules, facts, entity, kind, c)
    ]
    for (entity, name), number in facts.fields.items():
        found += _of_field(rules, facts, entity, name, number)
    for (entity, kind), shares in facts.schools.items():
        found += _of_schools(rules, entity, kind, shares)
    if rules.holds("emptied_school"):
        found += _ended_schools(facts)
    if rules.holds("missing_file"):
        found += [_missing(name, headers=name in facts.headers) for name in facts.missing]
    cut = "{}.csv ends in the middle of a row: it was probably cut short."
    found += [Reason("file_cut_short", name, 1, 0, cut.format(name)) for name in facts.cut]
    for loss in facts.losses:
        found += _of_app(rules, loss)
    return found


def _over(rules: Rules, entity: str, kind: str, counts: Counts) -> Limit | None:
    """The limit of an entity that is exceeded, if it is."""
    limit = rules.limit("limits", entity, kind)
    return limit if limit is not None and limit.exceeded(getattr(counts, kind), counts.before) else None


def _of_entity(rules: Rules, facts: Facts, entity: str, kind: str, counts: Counts) -> Iterable[Reason]:
    limit = _over(rules, entity, kind, counts)
    if limit is None:
        return
    number = getattr(counts, kind)
    text = f"{number} of {counts.before} {entity} would be {_VERBS[kind]}; the limit is {limit.words}."
    if (entity, kind) in facts.usual:
        text += f" Usually it is below {100 * facts.usual[entity, kind]:.2g}%."
    # Where it happens: schools that are over the same share by themselves.
    share = limit.share or 0.0
    schools = [s for s, part in facts.schools.get((entity, kind), {}).items() if part.number > share * part.before]
    yield Reason(f"too_many_{kind}", entity, number, _shown(limit), text, tuple(sorted(schools)))


def _of_field(rules: Rules, facts: Facts, entity: str, name: str, number: int) -> Iterable[Reason]:
    limit, before = rules.limit("limits", entity, "same_field"), facts.counts[entity].before
    if limit is None or not limit.exceeded(number, before):
        return
    subject = f"{entity}.{name}"
    text = f"{name} would change in {number} of {before} {entity}; the limit for one field is {limit.words}."
    if subject in facts.learnt:
        text += " Somebody has approved that lately, so it is let pass."
        yield Reason(f"{MASS_CHANGE}_let_pass", subject, number, _shown(limit), text, holds=False)
    else:
        yield Reason(MASS_CHANGE, subject, number, _shown(limit), text)


def _of_schools(rules: Rules, entity: str, kind: str, shares: Mapping[str, Share]) -> Iterable[Reason]:
    limit = rules.limit("per_school", entity, kind)
    if limit is None:
        return
    over = sorted(school for school, part in shares.items() if limit.exceeded(part.number, part.before))
    if over:
        text = (
            f"{len(over)} schools would have too many of their {entity} {_VERBS[kind]}; "
            f"the limit is {limit.words} of a school."
        )
        yield Reason(f"school_too_many_{kind}", entity, len(over), _shown(limit), text, tuple(over))


def _ended_schools(facts: Facts) -> Iterable[Reason]:
    if facts.emptied:
        text = f"{len(facts.emptied)} schools would lose all their classes or all their people."
        yield Reason("school_emptied", "orgs", len(facts.emptied), 0, text, tuple(sorted(facts.emptied)))
    if facts.vanished:
        text = f"{len(facts.vanished)} schools would end."
        yield Reason("school_vanished", "orgs", len(facts.vanished), 0, text, tuple(sorted(facts.vanished)))
    if facts.renumbered:
        text = (
            f"{len(facts.renumbered)} of these schools come again with the same name and identifier under another "
            "sourcedId. If it is the same school, give it its old sourcedId back, in the source or by its transform."
        )
        yield Reason("school_renumbered", "orgs", len(facts.renumbered), 0, text, tuple(sorted(facts.renumbered)))


def _of_app(rules: Rules, loss: Loss) -> Iterable[Reason]:
    limit = rules.limit("per_app", loss.entity, "left")
    if limit is not None and limit.exceeded(loss.left, loss.before):
        text = (
            f"{loss.left} of {loss.before} {loss.entity} would leave the view of the app {loss.app}; "
            f"the limit is {limit.words}."
        )
        yield Reason("app_loses_too_many", f"{loss.app}/{loss.entity}", loss.left, _shown(limit), text)


def _missing(name: str, *, headers: bool) -> Reason:
    if headers:
        return Reason(
            "file_empty", name, 1, 0, f"{name}.csv had rows in the last package and has its header alone now."
        )
    return Reason("file_missing", name, 1, 0, f"{name}.csv came with the last package and is missing now.")


def _shown(limit: Limit) -> float:
    return limit.share if limit.share is not None else float(limit.most or 0)
