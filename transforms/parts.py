"""Files of changes and the parts of objects that have files of their own: roles, profiles, score scales, resources.

A delta of users.csv says nothing of the roles that it does not bring, so the others stay. Which of two roles is the
same is decided by what they say: rows of roles.csv are not kept one by one.
"""

from __future__ import annotations

import polars as pl

from transforms.catalogue import CATALOGUE, Entity, Field, Kind, Version

#: What tells the entries of a component apart.
_SAME = {"roles": ("role", "org"), "userProfiles": ("profileId",)}
_OBJECTIVES = (Kind.OBJECTIVES, Kind.OBJECTIVE_RESULTS)


def fields(entity: Entity, version: Version) -> tuple[Field, ...]:
    """The fields of an entity whose values come from files of their own in a version."""
    files = {component.name for component in CATALOGUE.components_of(entity.name) if version in component.versions}
    return tuple(f for f in entity.body if f.component in files)


def keep(entity: Entity, version: Version, new: pl.DataFrame, stored: pl.DataFrame) -> pl.DataFrame:
    """The rows of ``new`` with the parts that ``stored`` has beside those which are new, in front of them.

    Both have rid and the canonical body, with references of one kind. Of a part that is one value the new one stays.
    """
    for field in fields(entity, version):
        if field.kind in _OBJECTIVES:
            kept = _objectives(field.name, new, stored)
        elif field.many:
            kept = _entries(field.name, new, stored)
        else:
            both = new.select("rid", now=field.name).join(stored.select("rid", before=field.name), on="rid", how="left")
            kept = both.select("rid", pl.coalesce("now", "before").alias(field.name))
        new = new.drop(field.name).join(kept, on="rid", how="left", maintain_order="left")
    return new


def _entries(name: str, new: pl.DataFrame, stored: pl.DataFrame) -> pl.DataFrame:
    """Rid and the entries of a list, those that the store alone has first."""
    before, now = (frame.select("rid", name).explode(name).drop_nulls(name) for frame in (stored, new))
    same = _SAME.get(name)
    if same is None:
        left = before.join(now, on=["rid", name], how="anti")
    else:
        keys = [pl.col(name).struct.field(one).alias(f"part.{one}") for one in same]
        left = before.with_columns(keys).join(
            now.select("rid", *keys), on=["rid", *(f"part.{one}" for one in same)], how="anti", nulls_equal=True
        )
    together = pl.concat([left.select("rid", name), now])
    return together.group_by("rid", maintain_order=True).agg(name)


def _objectives(name: str, new: pl.DataFrame, stored: pl.DataFrame) -> pl.DataFrame:
    """The same for learning objectives, each of which has a place of its own in the list of its source.

    Sorted as those of a whole package are (transforms.normalise.objectives).
    """
    inner = new.schema[name].inner.fields[1].name  # type: ignore[attr-defined]
    before, now = (_flat(name, inner, frame) for frame in (stored, new))
    left = before.join(now, on=["rid", "source", "id"], how="anti", nulls_equal=True)
    together = pl.concat([left, now]).sort("rid", "source", "id")
    by_source = together.group_by("rid", "source", maintain_order=True).agg(inner)
    entries = by_source.select("rid", pl.struct("source", inner).cast(new.schema[name].inner).alias(name))  # type: ignore[attr-defined]
    return entries.group_by("rid", maintain_order=True).agg(name)


def _flat(name: str, inner: str, frame: pl.DataFrame) -> pl.DataFrame:
    """One row per objective: rid, source, what is said of it, and its id."""
    flat = frame.select("rid", name).explode(name).drop_nulls(name).unnest(name).explode(inner).drop_nulls(inner)
    one = pl.col(inner)
    is_result = isinstance(flat.schema[inner], pl.Struct)
    return flat.with_columns(id=one.struct.field("learningObjectiveId") if is_result else one)
