"""Members of lists of objects, as filters name them: ``roles.role``, ``userProfiles.credentials.username``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from hub.store import nested
from hub.store.schema import ROLE_COLUMNS, entry_columns
from transforms.catalogue import CATALOGUE, Field, Kind
from transforms.shapes import SHAPES, dtype

#: Words of a vocabulary, and ids that were agreed elsewhere: their case counts.
_KINDS = {
    "source": Kind.ENUM, "profileId": Kind.URI, "userProfile": Kind.URI,
    "learningObjectiveId": Kind.URI, "learningObjectiveIds": Kind.URI,
}  # fmt: skip
_PROFILE = "userProfile"


@dataclass(frozen=True, slots=True)
class Member:
    """``field`` says how it compares; ``inner`` is the list inside the entry that it is a member of, where it is."""

    field: Field
    inner: str | None = None

    @property
    def is_profile(self) -> bool:
        """Whether it says which profile a role is of, which its columns do not."""
        return self.field.name == _PROFILE


def is_list(field: Field) -> bool:
    """Whether a field is a list of objects."""
    return bool(entry_columns(field)) or nested.is_nested(field)


def member(field: Field, path: Sequence[str]) -> Member | None:
    """What a path behind the name of a list leads to; None where that is nothing that has a value to compare."""
    if field.name == "roles":
        return _of_role(path)
    if field.kind in SHAPES or nested.is_nested(field):
        return _of(dtype(field), path)
    return None


def _of_role(path: Sequence[str]) -> Member | None:
    name, *rest = path or ("",)
    if name == _PROFILE:
        return None if rest else Member(Field(_PROFILE, _KINDS[_PROFILE]))
    if name not in ROLE_COLUMNS or rest != (["sourcedId"] if name == "org" else []):
        return None
    return Member(CATALOGUE["roles"][name])


def _of(kind: object, path: Sequence[str], inner: str | None = None) -> Member | None:
    """What a path leads to in a list of structs."""
    if not path or not isinstance(kind, pl.List) or not isinstance(kind.inner, pl.Struct):
        return None
    name, *rest = path
    found = next((one.dtype for one in kind.inner.fields if one.name == name), None)
    if found is None or rest:
        return None if found is None or inner is not None else _of(found, rest, name)
    many = isinstance(found, pl.List)
    if many and not (isinstance(found, pl.List) and found.inner == pl.String):
        return None
    plain = Kind.FLOAT if found == pl.Float64 else Kind.STRING
    return Member(Field(name, _KINDS.get(name, plain), many), inner)
