"""The types of canonical columns: one for each kind of field of the catalogue."""

from __future__ import annotations

import polars as pl

from transforms.catalogue import Field, Kind
from transforms.normalise.objectives import OBJECTIVE_RESULTS, OBJECTIVES
from transforms.normalise.profiles import PROFILE
from transforms.normalise.roles import ROLE
from transforms.normalise.scales import SCALE_VALUE
from transforms.normalise.userids import ITEM

_COMPONENTS = {"roles": ROLE, "userProfiles": PROFILE}
#: The kinds whose values are objects, not files of their own.
SHAPES: dict[Kind, pl.Struct] = {
    Kind.USER_ID: ITEM,
    Kind.SCALE_VALUE: SCALE_VALUE,
    Kind.OBJECTIVES: OBJECTIVES,
    Kind.OBJECTIVE_RESULTS: OBJECTIVE_RESULTS,
}
_TYPES: dict[Kind, pl.DataType | type[pl.DataType]] = {
    Kind.STRING: pl.String,
    Kind.ENUM: pl.String,
    Kind.YEAR: pl.String,
    Kind.URI: pl.String,
    Kind.REF: pl.String,
    Kind.METADATA: pl.String,
    Kind.BOOLEAN: pl.Boolean,
    Kind.DATE: pl.Date,
    Kind.DATETIME: pl.Datetime("ms", "UTC"),
    Kind.INTEGER: pl.Int64,
    Kind.FLOAT: pl.Float64,
    **SHAPES,
}


def dtype(field: Field) -> pl.DataType | type[pl.DataType]:
    """The type of a field's canonical column."""
    one = _COMPONENTS[field.name] if field.kind is Kind.COMPONENT else _TYPES[field.kind]
    return pl.List(one) if field.many else one
