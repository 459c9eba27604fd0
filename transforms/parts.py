"""Files of changes and the parts of objects that have files of their own: roles, profiles, resources of a class.

A delta of users.csv says nothing of the roles that it does not bring, so the others stay. Which of two roles is the
same is decided by what they say: rows of roles.csv are not kept one by one.
"""

from __future__ import annotations

import polars as pl

from transforms.catalogue import CATALOGUE, Entity, Field, Kind, Version

#: What tells the entries of a component apart.
_SAME = {"roles": ("role", "org"), "userProfiles": ("profileId",)}


def fields(entity: Entity, version: Version) -> tuple[Field, ...]:
    """The fields of an entity whose values come from files of their own in a version."""
    files = {component.name for component in CATALOGUE.components_of(entity.name) if version in component.versions}
    return tuple(f for f in entity.body if f.component in files and f.many and f.kind in {Kind.COMPONENT, Kind.REF})


def keep(entity: Entity, version: Version, new: pl.DataFrame, stored: pl.DataFrame) -> pl.DataFrame:
    """The rows of ``new`` with the parts that ``stored`` has beside those which are new, in front of them.

    Both have rid and the canonical body, with references of one kind.
    """
    for field in fields(entity, version):
        before = stored.select("rid", field.name).explode(field.name).drop_nulls(field.name)
        now = new.select("rid", field.name).explode(field.name).drop_nulls(field.name)
        names = _SAME.get(field.name)
        if names is None:
            left = before.join(now, on=["rid", field.name], how="anti")
        else:
            keys = [pl.col(field.name).struct.field(name).alias(f"part.{name}") for name in names]
            left = before.with_columns(keys).join(
                now.select("rid", *keys), on=["rid", *(f"part.{name}" for name in names)], how="anti", nulls_equal=True
            )
        together = pl.concat([left.select("rid", field.name), now]).group_by("rid", maintain_order=True).agg(field.name)
        new = new.drop(field.name).join(together, on="rid", how="left", maintain_order="left")
    return new
