"""Rows of the files whose content nests in other objects over REST: roles, profiles, links, learning objectives.

The hub keeps no ids of such rows, so each gets one that is made of what it is: the same row has the same id in every
package. Rows come in the order of their owners.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any

import numpy as np
import polars as pl

from hub.export.cells import references
from hub.export.complete import member
from hub.export.layout import File
from hub.export.sight import Sight
from hub.store.extract import BETWEEN, Document
from transforms.catalogue import Field, Kind
from transforms.nesting import owner
from transforms.normalise.profiles import URN

LONGEST_ID = 255
_GUID = rf"^[0-9A-Za-z./@_-]{{1,{LONGEST_ID}}}$"
_NOT_GUID = r"[^0-9A-Za-z./@_-]"
#: So much of a role's name stands in an id that two sourcedIds and a number still fit beside it.
_LONGEST_ROLE = 170
_TEXT = "text"


def fields(file: File) -> tuple[Field, ...]:
    """The fields of the owner that rows are made of."""
    field = file.field
    assert field is not None
    return () if _document_only(field) else (field,)


def documents(file: File, sight: Sight) -> tuple[tuple[str, Document], ...]:
    """The parts of documents that rows are made of."""
    field = file.field
    assert field is not None
    if field.name == "roles":
        # Which profile a role is of stands in the document alone.
        return ((_TEXT, Document("doc", "userProfile")),) if sight.shows("users", "userProfiles") else ()
    if not _document_only(field):
        return ()
    return ((_TEXT, Document("doc_private" if field.name == "userProfiles" else "doc", field.name)),)


def _document_only(field: Field) -> bool:
    return field.kind in {Kind.OBJECTIVES, Kind.OBJECTIVE_RESULTS} or field.name == "userProfiles"


def rows(file: File, sight: Sight, table: pl.DataFrame) -> pl.DataFrame:
    """The rows of records: rid (the owner's) and cells under their headers."""
    field = file.field
    assert field is not None
    owners = sight.own(file.owner.name, table["sourcedId"])
    match field.kind:
        case Kind.COMPONENT if field.name == "roles":
            made = _roles(sight, table, owners)
        case Kind.COMPONENT:
            made = _profiles(table, owners)
        case Kind.REF:
            made = _links(file, field, sight, table, owners)
        case _:
            made = _objectives(file, table, owners)
    return made.rename({name: file.column(name) for name in made.columns if name in file.entity})


def _of_owners(items: pl.DataFrame, table: pl.DataFrame, owners: pl.Series) -> pl.DataFrame:
    """Items (column row) with the rid and the sourcedId of their owners, as rid and owner."""
    return items.with_columns(table["rid"].gather(items["row"]), owners.gather(items["row"]).alias("owner"))


def _roles(sight: Sight, table: pl.DataFrame, owners: pl.Series) -> pl.DataFrame:
    """The visible roles of users: those at visible orgs, with a role that the grant admits."""
    items = visible_roles(sight, table)
    if _TEXT in table.columns and table[_TEXT].null_count() < table.height:
        items = items.join(_profiles_of_roles(table), on=["row", "place"], how="left", maintain_order="left")
    else:
        items = items.with_columns(userProfile=pl.lit(None, pl.String))
    items = _of_owners(items, table, owners)
    plain = pl.col("role").str.replace_all(_NOT_GUID, "-").str.slice(0, _LONGEST_ROLE)
    items = items.with_columns(sourcedId=pl.concat_str("owner", "org", plain, separator="."))
    return _told_apart(items).select(
        "rid", "sourcedId", pl.col("owner").alias("user"), "roleType", "role", "beginDate", "endDate", "org",
        "userProfile",
    )  # fmt: skip


def visible_roles(sight: Sight, table: pl.DataFrame) -> pl.DataFrame:
    """The role entries of users that show: row, place in the document, and the members, org as its sourcedId."""
    names = [c for c in table.columns if c.startswith("roles.")]
    items = table.select(pl.int_range(pl.len(), dtype=pl.UInt32).alias("row"), *names).drop_nulls("roles.org")
    # Roles stand side by side in their arrays, so all have the same number of items.
    items = items.with_columns(pl.col(names).str.split(BETWEEN)).explode(names)
    items = items.rename({name: name.removeprefix("roles.") for name in names})
    items = items.with_columns(
        _places(items["row"]),
        sight.seen("orgs", items["org"].cast(pl.Int32)).alias("org"),
        pl.col("beginDate", "endDate").replace("", None),
    ).drop_nulls("org")
    admitted = sight.projections["users"].admitted_roles
    return items if admitted is None else items.filter(pl.col("role").is_in(list(admitted)))


def _profiles_of_roles(table: pl.DataFrame) -> pl.DataFrame:
    """The profile rows that roles name: row, place and userProfile."""
    found: list[tuple[int, int, str]] = []
    for row, text in _texts(table):
        for place, role in enumerate(member(text, "roles")):
            if profile := role.get("userProfile"):
                found.append((row, place, str(profile)))
    schema = {"row": pl.UInt32, "place": pl.UInt32, "userProfile": pl.String}
    made = pl.DataFrame(found, schema=schema, orient="row")
    return made.with_columns(profile_key(made["userProfile"]))


def profile_key(profile_ids: pl.Series) -> pl.Series:
    """The row ids of profiles: what the hub made a URI of, so that the next reader makes the same URI; else null."""
    keys = profile_ids.str.strip_prefix(URN)
    fits = profile_ids.str.starts_with(URN) & keys.str.contains(_GUID)
    return pl.select(pl.when(fits).then(keys)).to_series().alias(profile_ids.name)


def _profiles(table: pl.DataFrame, owners: pl.Series) -> pl.DataFrame:
    """One row for each account of a profile; profiles without an account have no row, CSV requires one."""
    found: list[dict[str, Any]] = []
    for row, text in _texts(table):
        for profile in member(text, "userProfiles"):
            accounts = profile.get("credentials", ())
            found += ({**profile, "row": row, "number": n, **_account(a)} for n, a in enumerate(accounts, start=1))
    columns = (
        "profileId", "profileType", "vendorId", "applicationId", "description", "credentialType", "username",
    )  # fmt: skip
    schema = {"row": pl.UInt32, "number": pl.UInt32} | dict.fromkeys(columns, pl.String)
    items = _of_owners(pl.DataFrame(found, schema=schema), table, owners)
    number = pl.when(pl.col("number") > 1).then(pl.format(".{}", "number")).otherwise(pl.lit(""))
    items = items.with_columns(sourcedId=profile_key(items["profileId"]) + number).drop_nulls("sourcedId")
    return items.sort("row", "sourcedId").select(
        "rid", "sourcedId", pl.col("owner").alias("user"), *columns[1:],
    )  # fmt: skip


def _account(account: Mapping[str, str]) -> dict[str, str | None]:
    return {"credentialType": account.get("type"), "username": account.get("username")}


def _links(file: File, field: Field, sight: Sight, table: pl.DataFrame, owners: pl.Series) -> pl.DataFrame:
    """One row for each reference to what shows."""
    target = field.target or ""
    if field.many:
        items = references(sight, target, table[field.name]).select("row", far="item")
    else:
        rows_ = pl.arange(0, table.height, dtype=pl.UInt32, eager=True)
        items = pl.DataFrame({"row": rows_, "far": sight.seen(target, table[field.name])}).drop_nulls("far")
    near = owner(file.entity).name
    far = next(f.name for f in file.entity.fields if f.target == target and f.stored)
    items = _of_owners(items, table, owners)
    ids = _fitting(items["owner"] + "." + items["far"]).alias("sourcedId")
    made = items.select(
        "rid", ids, pl.col("owner").alias(near),
        pl.col("far").alias(far), "row",
    ).sort("row", "sourcedId")  # fmt: skip
    return made.drop("row")


def _objectives(file: File, table: pl.DataFrame, owners: pl.Series) -> pl.DataFrame:
    """One row for each learning objective of a line item, or of a result with its scores."""
    found = [(row, *objective) for row, text in _texts(table) for objective in _in_sets(text)]
    schema = {
        "row": pl.UInt32, "source": pl.String, "learningObjectiveId": pl.String, "score": pl.String,
        "textScore": pl.String,
    }  # fmt: skip
    items = _of_owners(pl.DataFrame(found, schema=schema, orient="row"), table, owners)
    digests = [
        sha256(f"{source}\n{objective}".encode()).hexdigest()[:16]
        for source, objective in items.select("source", "learningObjectiveId").iter_rows()
    ]
    ids = _fitting(items["owner"] + "." + pl.Series(digests, dtype=pl.String))
    objective = pl.col("learningObjectiveId")
    urn = pl.when(pl.col("source") == "case").then("urn:uuid:" + objective).otherwise(objective)
    made = items.with_columns(ids.alias("sourcedId"), urn.alias("learningObjectiveId"))
    made = made.sort("row", "sourcedId").rename({"owner": owner(file.entity).name})
    return made.select("rid", *(name for name in made.columns if name in file.entity))


def _fitting(keys: pl.Series) -> pl.Series:
    """Ids as OneRoster has them. Owners that apps wrote may have any, which are then told by a digest."""
    odd = keys.filter(~keys.str.contains(_GUID)).unique()
    return keys.replace(odd, pl.Series([sha256(key.encode()).hexdigest()[:32] for key in odd], dtype=pl.String))


def _in_sets(text: str) -> Iterator[tuple[str, str, str | None, str | None]]:
    """Source, id, score and textScore of each objective in a document."""
    for objectives in member(text, "learningObjectiveSet"):
        source = objectives["source"]
        ids = objectives.get("learningObjectiveIds", ())
        yield from ((source, each, None, None) for each in ids)
        results = objectives.get("learningObjectiveResults", ())
        for each in results:
            score = each.get("score")
            yield source, each["learningObjectiveId"], None if score is None else str(score), each.get("textScore")


def _texts(table: pl.DataFrame) -> Iterator[tuple[int, str]]:
    """The documents that were read, each with the number of its row."""
    texts = table[_TEXT]
    return ((row, text) for row, text in enumerate(texts) if text is not None)


def _places(rows: pl.Series) -> pl.Series:
    """The number of each item within its row, from 0; rows ascend."""
    numbers = rows.to_numpy()
    at = np.arange(len(numbers))
    first = np.maximum.accumulate(np.where(np.append(True, numbers[1:] != numbers[:-1])[: len(at)], at, 0))
    return pl.Series("place", at - first, dtype=pl.UInt32)


def _told_apart(items: pl.DataFrame) -> pl.DataFrame:
    """Rows in the order of their owners and ids; of equal ids each but the first gets its number behind."""
    several = items["row"].is_duplicated()
    if not several.any():
        return items
    some = items.filter(several).sort("row", "sourcedId", "place")
    number = pl.int_range(1, pl.len() + 1).over("row", "sourcedId")
    suffix = pl.when(number > 1).then(pl.format(".{}", number)).otherwise(pl.lit(""))
    some = some.with_columns(pl.col("sourcedId") + suffix)
    return pl.concat([items.filter(~several), some]).sort("row", maintain_order=True)
