"""What the guard says of a run as findings of rules (``transforms.rules.guarded``), for reports and trends."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import polars as pl

from hub.sync.guard import MASS_CHANGE, Reason
from transforms.catalogue import CATALOGUE
from transforms.issues import Rule, collect, one
from transforms.rules.guarded import ID_005, ORG_003, ORG_004, SNAP_001, SNAP_002
from transforms.sheet import file_of

_SCHOOLS: dict[str, Rule] = {
    "school_renumbered": ORG_003, "school_vanished": ORG_004, "school_emptied": ORG_004,
}  # fmt: skip


def of_reasons(reasons: Iterable[Reason]) -> pl.DataFrame:
    """Findings of the guard's reasons that have a rule, schools by their sourcedIds in the hub (the cause)."""
    found = []
    for reason in reasons:
        entity, _, name = reason.subject.partition(".")
        if reason.code in _SCHOOLS:
            rule = _SCHOOLS[reason.code]
            found += [_one(rule, "orgs", "sourcedId", cause=f"orgs:{school}") for school in reason.schools]
        elif reason.code == MASS_CHANGE:
            found.append(_one(SNAP_002, entity, name))
        elif "too_many_" in reason.code and not reason.code.endswith(("rebound", "_let_pass")) and entity in CATALOGUE:
            found.append(_one(SNAP_001, entity))
    return collect(found)


def of_people(keys: Sequence[str]) -> pl.DataFrame:
    """Findings about users whose sourcedId names somebody else now."""
    return collect([_one(ID_005, "users", "sourcedId", key=key) for key in keys])


def _one(rule: Rule, entity: str, field: str = "", *, key: str = "", cause: str = "") -> pl.DataFrame:
    file = file_of(CATALOGUE[entity])
    return one(rule, entity=entity, file=file, field=field, key=key, cause=cause)
