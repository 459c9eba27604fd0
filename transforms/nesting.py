"""Components: CSV files whose rows nest inside the objects of another file.

Roles and userProfiles become members of users; links become references (the resources of a class, the score scale of a
line item); learning objectives become sets. A field of the catalogue names the file that it comes from.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import polars as pl

from transforms import kept_rows
from transforms.catalogue import CATALOGUE, Entity, Field, Kind, Need, Version
from transforms.issues import RULES, Action, Severity, declare
from transforms.marks import absent, as_list, blank, nowhere, rows_of
from transforms.near import near
from transforms.normalise.objectives import objectives_of, read_objectives
from transforms.normalise.profiles import profile_ids, profiles_of_users
from transforms.normalise.roles import USR_001, administrators, check_primary, roles_of_users
from transforms.normalise.status import deleted
from transforms.normalise.values import normalise
from transforms.shapes import dtype
from transforms.sheet import Sheet, is_owner, no_keys, open_sheet, split
from transforms.validate.duplicates import resolve_duplicates
from transforms.validate.identifiers import trimmed
from transforms.validate.known import Known
from transforms.validate.references import REF_001, REF_002, check_references
from transforms.validate.relations import check_relations

GRB_004 = declare(
    "GRB-004", Severity.WARN, Action.DROP_VALUE, "Several score scales of one line item or result",
    "Link one score scale: JSON has room for one. The hub kept the one whose row has the first sourcedId.",
    fields=("scoreScale",),
)  # fmt: skip


@dataclass
class Parts:
    """``nested`` holds one frame per field (columns key, the owner's, and the field), ``sheets`` the rows.

    ``kept``, by file: the rows as they came (``kept_rows.rows_of``).
    """

    nested: dict[str, pl.DataFrame] = field(default_factory=dict)
    sheets: list[Sheet] = field(default_factory=list)
    kept: dict[str, pl.DataFrame] = field(default_factory=dict)


def fed(entity: Entity) -> tuple[Field, ...]:
    """The fields of an entity whose values come from component files."""
    return tuple(f for f in entity.body if f.component is not None)


def owner(component: Entity) -> Field:
    """The reference of a component's rows to the object that they nest in."""
    return next(f for f in component.fields if is_owner(f) and f.target == component.component_of)


def read(
    entity: Entity, version: Version, files: Mapping[str, Iterable[pl.DataFrame]], known: Known, *, delta: bool = False
) -> Parts:
    """Reads the component files of ``entity`` whole. A bad row is kept out alone; its owner goes on with the others."""
    parts = Parts()
    profiles = pl.DataFrame(schema={"key": pl.String, "user": pl.String, "profileId": pl.String})
    # Profiles first: roles name them.
    for column in sorted(fed(entity), key=lambda f: f.component != "userProfiles"):
        component = CATALOGUE[column.component or ""]
        sheet = _sheet(component, version, files, known, parts, delta=delta) if version in component.versions else None
        if sheet is None:
            continue
        parts.sheets.append(sheet)
        match component.name:
            case "userProfiles":
                found = profiles_of_users(sheet)
                profiles = profile_ids(sheet)
            case "roles":
                administrators(sheet, known.rows("orgs"))
                _link_profiles(sheet, profiles)
                check_primary(sheet)
                found = roles_of_users(sheet)
            case _ if column.kind is Kind.REF:
                found = _links(sheet, component, column)
            case _:
                read_objectives(sheet)
                found = objectives_of(sheet, owner(component).name)
        parts.nested[column.name] = found
    return parts


def attach(sheet: Sheet, parts: Parts, complete: pl.Series) -> None:
    """Puts the component columns on a sheet; an owner without a required component is kept out.

    ``complete``: keys of owners whose components the store has, so that rows of changes need not name them.
    """
    for column in fed(sheet.entity):
        if column.name not in sheet.frame.columns:
            sheet.put(column.name, _owned(sheet, column, parts))
        if column.rest12 is Need.REQUIRED:
            lacking = absent(sheet[column.name]) & ~sheet.out
            if complete.len() and lacking.any():
                lacking &= ~sheet["key"].is_in(as_list(complete))
            if lacking.any():
                sheet.report(USR_001, lacking, column.name, _reasons(sheet["key"], column, parts))


def robbed(parts: Parts) -> pl.Series:
    """The keys of the owners of component rows that were kept out."""
    owners = [sheet[owner(sheet.entity).name].filter(sheet.out) for sheet in parts.sheets if sheet.out.any()]
    return pl.concat([no_keys(), *owners]).drop_nulls().unique() if owners else no_keys()


def lone(entity: Entity, version: Version, keys: pl.Series, parts: Parts) -> Sheet:
    """A sheet of owners of which only component rows came, with the component columns alone."""
    frame = pl.DataFrame({"line": pl.repeat(None, keys.len(), dtype=pl.UInt32, eager=True), "key": keys})
    sheet = Sheet(entity, version, frame, nowhere(keys.len()))
    attach(sheet, parts, no_keys())
    return sheet


def leftovers(parts: Parts, owners: pl.Series, known: Known) -> list[pl.DataFrame]:
    """All findings of the component files, with those about rows whose owner is not among ``owners``."""
    found = []
    for sheet in parts.sheets:
        name = owner(sheet.entity).name
        orphans = ~sheet[name].is_in(as_list(owners)) & ~sheet.out
        if orphans.any():
            sheet.report(REF_001, orphans, name, known.cause(sheet.entity.component_of or "", sheet[name]))
        found.append(kept_rows.without_lines(sheet.issues()))
    return found


def _sheet(
    component: Entity, version: Version, files: Mapping[str, Iterable[pl.DataFrame]], known: Known, parts: Parts, *,
    delta: bool,
) -> Sheet | None:  # fmt: skip
    frames = list(files.get(component.csv_file, ()))
    if not frames:
        return None
    raw = pl.concat(frames, how="diagonal")
    sheet = open_sheet(component, version, raw)
    normalise(sheet)
    gone = deleted(sheet, delta=delta)
    parts.kept[component.csv_file] = kept_rows.rows_of(component, version, raw.filter(~gone) if gone.any() else raw)
    sheet = resolve_duplicates(split(sheet, gone)[0])
    name = owner(component).name
    sheet.put(name, trimmed(sheet[name]))
    check_references(sheet, known)
    check_relations(sheet, known)
    return sheet


def _links(sheet: Sheet, component: Entity, column: Field) -> pl.DataFrame:
    """One row per owner: columns key and the field, a sorted List of the targets' keys or the one target's."""
    near = owner(component).name
    far = next(f.name for f in component.body if f.kind is Kind.REF and f.target == column.target)
    rows = rows_of(sheet.frame, ~sheet.out).select("key", near, far).drop_nulls()
    if column.many:
        lists = rows.select(near, far).unique().sort(near, far).group_by(near, maintain_order=True).agg(far)
        return lists.select(key=near, **{column.name: far})
    first = rows.sort("key").unique(near, keep="first", maintain_order=True)
    others = rows.join(first, on=["key"], how="anti").join(first.select(near, kept=far), on=near)
    lost = others.filter(pl.col(far) != pl.col("kept"))["key"]
    sheet.report(GRB_004, sheet["key"].is_in(as_list(lost)), far)
    return first.select(key=near, **{column.name: far})


def _link_profiles(sheet: Sheet, profiles: pl.DataFrame) -> None:
    """Replaces the profile row's sourcedId in roles by the profileId, where the profile is the same user's."""
    wanted = sheet.frame.select("user", key=trimmed(sheet["userProfile"]))
    found = wanted.join(profiles, on=["user", "key"], how="left", maintain_order="left")["profileId"]
    sheet.report(REF_002, found.is_null() & wanted["key"].is_not_null(), "userProfile")
    sheet.put("userProfile", found)


def _owned(sheet: Sheet, column: Field, parts: Parts) -> pl.Series:
    nested = parts.nested.get(column.name)
    if nested is None:
        return blank(sheet.frame.height, dtype(column))
    found = near(nested, sheet["key"])
    return sheet.frame.select("key").join(found, on="key", how="left", maintain_order="left")[column.name]


def _reasons(owners: pl.Series, column: Field, parts: Parts) -> pl.Series:
    """Why an owner's component rows were kept out, where they were."""
    nothing = pl.DataFrame(schema={"owner": pl.String, "cause": pl.String})
    reasons = [nothing]
    for sheet in (s for s in parts.sheets if s.entity.name == column.component):
        bad = [f for f in sheet.findings if f.height and RULES[f["code"][0]].action is Action.QUARANTINE]
        for finding in bad:
            rows = finding.select("line", cause=pl.col("cause").fill_null(f"{sheet.entity.name}:" + pl.col("key")))
            reasons.append(sheet.frame.join(rows, on="line").select(owner=owner(sheet.entity).name, cause="cause"))
    first = pl.concat(reasons).drop_nulls().sort("owner", "cause").unique("owner", keep="first")
    return owners.alias("owner").to_frame().join(first, on="owner", how="left", maintain_order="left")["cause"]
