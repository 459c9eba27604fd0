"""Stored documents back to canonical columns: what ``transforms.render`` made, made undone in columns.

Whoever wants the values of a record that the hub holds (to merge what several sources say, say) reads them from its
document, which has them all; the columns of its table do not. References are the hub's sourcedIds, as ``render`` takes
them.
"""

from __future__ import annotations

import polars as pl

from transforms.canonical import body
from transforms.catalogue import BASE_NAMES, CATALOGUE, Entity, Field, Kind, Need
from transforms.marks import blank, rows_of
from transforms.references import FALLBACKS, SHORT, escaped_bases
from transforms.shapes import SHAPES, dtype
from transforms.sheet import spread

Type = pl.DataType | type[pl.DataType]
_REFERENCE = pl.Struct({"sourcedId": pl.String})


def parse(name: str, documents: pl.DataFrame) -> pl.DataFrame:
    """The canonical body columns of records from their documents; the other columns stay.

    ``documents`` has sourcedId, doc and doc_private (String). A member that stands for an absent value (see
    ``references.FALLBACKS``) is absent again.
    """
    entity = CATALOGUE[name]
    fields = [field for field in body(entity) if field.kind is not Kind.METADATA]
    text = pl.concat_str(pl.lit("{"), (pl.col("doc") + pl.col("doc_private")).str.slice(1), pl.lit("}"))
    whole = documents.select(_escaped(entity, text)).to_series()
    decoded = whole.str.json_decode(pl.Struct({field.name: _wire(field) for field in fields})).struct.unnest()
    columns = [_typed(pl.col(field.name), field).alias(field.name) for field in fields]
    frame = decoded.select(columns) if fields else pl.DataFrame()
    others = documents.drop("doc", "doc_private")
    found = pl.concat([others, frame], how="horizontal").with_columns(_metadata(entity, whole))
    return found.with_columns(_absent_again(entity)).select(*others.columns, *(field.name for field in body(entity)))


def _escaped(entity: Entity, text: pl.Expr) -> pl.Expr:
    """As a parser takes it: short references spelled, as far as they matter, and the bytes of bases escaped."""
    if entity.compact:
        return text.str.replace_all(f"{SHORT}.([^{SHORT}]*){SHORT}", '{"sourcedId":"$1"}')
    return text.str.replace_many(list(_BYTES), list(_BYTES.values()))


_BYTES = {byte: escaped_bases(byte) for byte in map(chr, range(0x20)) if escaped_bases(byte) != byte}


def _wire(field: Field) -> Type:
    """The type that a member has in JSON."""
    one = _wire_of_one(field)
    return pl.List(one) if field.many else one


def _wire_of_one(field: Field) -> Type:
    if field.kind is Kind.COMPONENT:
        inner = {f.name: _wire(f) for f in _members(field)}
        if field.name == "userProfiles":
            inner["credentials"] = pl.List(pl.Struct({"type": pl.String, "username": pl.String}))
        return pl.Struct(inner)
    if field.kind in SHAPES:
        return SHAPES[field.kind]
    match field.kind:
        case Kind.REF if not _is_uri(field):
            return _REFERENCE
        case Kind.INTEGER:
            return pl.Int64
        case Kind.FLOAT:
            return pl.Float64
        case _:
            return pl.String


def _members(component: Field) -> tuple[Field, ...]:
    return tuple(f for f in CATALOGUE[component.name].body if f.name not in BASE_NAMES)


def _is_uri(field: Field) -> bool:
    target = field.target or ""
    return target in CATALOGUE and CATALOGUE[target].component_of is not None


def _typed(value: pl.Expr, field: Field) -> pl.Expr:
    """A member as the canonical column has it."""
    if not field.many:
        return _typed_one(value, field)
    if field.kind in {Kind.REF, Kind.COMPONENT}:
        value = value.list.eval(_typed_one(pl.element(), field))
    return value.cast(dtype(field))


def _typed_one(value: pl.Expr, field: Field) -> pl.Expr:
    match field.kind:
        case Kind.REF if not _is_uri(field):
            return value.struct.field("sourcedId")
        case Kind.BOOLEAN:
            return value == "true"
        case Kind.DATE:
            return value.str.to_date("%Y-%m-%d")
        case Kind.DATETIME:
            return value.str.to_datetime("%Y-%m-%dT%H:%M:%S%.3fZ", time_unit="ms", time_zone="UTC")
        case Kind.COMPONENT:
            parts = [_typed(value.struct.field(f.name), f).alias(f.name) for f in _members(field)]
            if field.name == "userProfiles":
                parts.append(value.struct.field("credentials"))
            return pl.struct(parts)
        case _:
            return value


def _metadata(entity: Entity, whole: pl.Series) -> list[pl.Series]:
    """The metadata as the text that it is: its members are anybody's."""
    if not any(field.kind is Kind.METADATA for field in body(entity)):
        return []
    none = blank(whole.len(), pl.String).alias("metadata")
    some = whole.str.contains('"metadata":', literal=True)
    return [spread(none, some, rows_of(whole.to_frame("whole"), some)["whole"].str.json_path_match("$.metadata"))]


def _absent_again(entity: Entity) -> list[pl.Expr]:
    found = []
    for field in body(entity):
        value = pl.col(field.name)
        if (entity.name, field.name) in FALLBACKS:
            found.append(pl.when(value != pl.col("sourcedId")).then(value).alias(field.name))
        elif field.kind is Kind.STRING and field.rest12 is Need.REQUIRED and not field.many:
            found.append(pl.when(value != "").then(value).alias(field.name))
    return found
