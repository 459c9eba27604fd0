"""Components: CSV files whose rows nest inside the objects of another file (roles and userProfiles inside users)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import polars as pl

from transforms.catalogue import CATALOGUE, Entity, Kind, Need, Version
from transforms.issues import RULES, Action
from transforms.normalise.profiles import PROFILE, profile_ids, profiles_of_users
from transforms.normalise.roles import ROLE, USR_001, administrators, check_primary, roles_of_users
from transforms.normalise.status import deleted
from transforms.normalise.values import normalise
from transforms.sheet import Sheet, no_keys, open_sheet, split
from transforms.validate.duplicates import resolve_duplicates
from transforms.validate.identifiers import trimmed
from transforms.validate.known import Known
from transforms.validate.references import REF_001, REF_002, check_references
from transforms.validate.relations import check_relations

STRUCTS = {"roles": ROLE, "userProfiles": PROFILE}


@dataclass
class Parts:
    """``nested`` holds one frame per component field (columns key, the owner's, and the field), ``sheets`` the rows."""

    nested: dict[str, pl.DataFrame] = field(default_factory=dict)
    sheets: list[Sheet] = field(default_factory=list)


def read(entity: Entity, version: Version, files: Mapping[str, Iterable[pl.DataFrame]], known: Known) -> Parts:
    """Reads the component files of ``entity`` whole. A bad row is kept out alone; its owner goes on with the others."""
    parts = Parts()
    names = {c.name for c in CATALOGUE.components_of(entity.name) if version in c.versions}
    profiles = pl.DataFrame(schema={"key": pl.String, "user": pl.String, "profileId": pl.String})
    if "userProfiles" in names and (sheet := _sheet("userProfiles", version, files, known)):
        parts.sheets.append(sheet)
        parts.nested["userProfiles"] = profiles_of_users(sheet)
        profiles = profile_ids(sheet)
    if "roles" in names and (sheet := _sheet("roles", version, files, known)):
        parts.sheets.append(sheet)
        administrators(sheet, known.rows("orgs"))
        _link_profiles(sheet, profiles)
        check_primary(sheet)
        parts.nested["roles"] = roles_of_users(sheet)
    return parts


def attach(sheet: Sheet, parts: Parts) -> None:
    """Puts the component columns on a sheet; an owner without a required component is kept out."""
    for column in (f for f in sheet.entity.body if f.kind is Kind.COMPONENT):
        if column.name not in sheet.frame.columns:
            sheet.put(column.name, _owned(sheet, column.name, parts))
        if column.rest12 is Need.REQUIRED:
            lacking = sheet[column.name].is_null() & ~sheet.out
            if lacking.any():
                sheet.report(USR_001, lacking, column.name, _reasons(sheet["key"], column.name, parts))


def robbed(parts: Parts) -> pl.Series:
    """The keys of the owners of component rows that were kept out."""
    owners = [sheet["user"].filter(sheet.out).drop_nulls() for sheet in parts.sheets]
    return pl.concat([no_keys(), *owners]).unique()


def leftovers(parts: Parts, owners: pl.Series, known: Known) -> list[pl.DataFrame]:
    """All findings of the component files, with those about rows whose owner is not among ``owners``."""
    found = []
    for sheet in parts.sheets:
        orphans = ~sheet["user"].is_in(owners.implode()) & ~sheet.out
        if orphans.any():
            sheet.report(REF_001, orphans, "user", known.cause("users", sheet["user"]))
        found.append(sheet.issues())
    return found


def _sheet(name: str, version: Version, files: Mapping[str, Iterable[pl.DataFrame]], known: Known) -> Sheet | None:
    frames = list(files.get(CATALOGUE[name].csv_file, ()))
    if not frames:
        return None
    sheet = open_sheet(CATALOGUE[name], version, pl.concat(frames, how="diagonal"))
    normalise(sheet)
    gone = deleted(sheet, delta=False)
    sheet = resolve_duplicates(split(sheet, gone)[0])
    sheet.put("user", trimmed(sheet["user"]))
    check_references(sheet, known)
    check_relations(sheet, known)
    return sheet


def _link_profiles(sheet: Sheet, profiles: pl.DataFrame) -> None:
    """Replaces the profile row's sourcedId in roles by the profileId, where the profile is the same user's."""
    wanted = sheet.frame.select("user", key=trimmed(sheet["userProfile"]))
    found = wanted.join(profiles, on=["user", "key"], how="left", maintain_order="left")["profileId"]
    sheet.report(REF_002, found.is_null() & wanted["key"].is_not_null(), "userProfile")
    sheet.put("userProfile", found)


def _owned(sheet: Sheet, name: str, parts: Parts) -> pl.Series:
    nested = parts.nested.get(name)
    if nested is None:
        return pl.repeat(None, sheet.frame.height, dtype=pl.List(STRUCTS[name]), eager=True)
    return sheet.frame.select("key").join(nested, on="key", how="left", maintain_order="left")[name]


def _reasons(owners: pl.Series, name: str, parts: Parts) -> pl.Series:
    """Why an owner's component rows were kept out, where they were."""
    nothing = pl.DataFrame(schema={"owner": pl.String, "cause": pl.String})
    reasons = [nothing]
    for sheet in (s for s in parts.sheets if s.entity.name == name):
        bad = [f for f in sheet.findings if f.height and RULES[f["code"][0]].action is Action.QUARANTINE]
        for finding in bad:
            rows = finding.select("line", cause=pl.col("cause").fill_null(f"{name}:" + pl.col("key")))
            reasons.append(sheet.frame.join(rows, on="line").select(owner="user", cause="cause"))
    first = pl.concat(reasons).drop_nulls().sort("owner", "cause").unique("owner", keep="first")
    return owners.alias("owner").to_frame().join(first, on="owner", how="left", maintain_order="left")["cause"]
