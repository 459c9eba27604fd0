r"""Documents: the JSON 1.2 members of canonical rows, as text, made in columns.

Each row gives two texts, ``doc`` (members of privacy class directory) and ``doc_private`` (all others). Both are
empty or begin with a comma, so that a served record is its base members, ``doc``, ``doc_private`` and a closing
brace. How references stand in them, and where their addresses go: transforms.references.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby

import polars as pl

from transforms.canonical import body
from transforms.catalogue import CATALOGUE, Entity, Field, Kind, Need, Privacy
from transforms.json_text import escaped, joined_strings, may_need_escaping
from transforms.marks import beside, either, empty, present, run_together
from transforms.marks import numbers as row_numbers
from transforms.references import FALLBACKS, SHORT, reference
from transforms.shapes import SHAPES


@dataclass(frozen=True, slots=True)
class _Member:
    """A member that some rows do not have: null where one of its pieces is."""

    pieces: list[Piece]


Piece = pl.Series | str | _Member


@dataclass(frozen=True, slots=True)
class _Shape:
    """Pieces without their values: texts (True), names of columns (False), and members that may be null."""

    parts: tuple[tuple[str, bool] | _Shape, ...]


def render(name: str, frame: pl.DataFrame) -> pl.DataFrame:
    """Columns ``doc`` and ``doc_private`` for canonical rows whose references are hub sourcedIds.

    ``frame`` has the canonical body columns and ``sourcedId``. The sourcedIds are URL-safe as they are (the hub
    mints them).
    """
    entity = CATALOGUE[name]
    open_: list[Piece] = []
    private: list[Piece] = []
    odd = _odd(entity, frame)
    for field in body(entity):
        pieces = _member(entity, field, frame, odd)
        (open_ if field.privacy is Privacy.DIRECTORY else private).extend(pieces)
    return beside([_joined(open_, frame.height).alias("doc"), _joined(private, frame.height).alias("doc_private")])


def _odd(entity: Entity, frame: pl.DataFrame) -> frozenset[str]:
    """The columns of text that have something to escape, which one look at all of them tells."""
    columns = ((f, frame.get_column(f.name)) for f in body(entity) if not f.many and _is_text(f))
    names = tuple(f.name for f, column in columns if column.dtype == pl.String and not empty(column))
    return frozenset(
        name for name, text in zip(names, run_together(frame, names), strict=True) if may_need_escaping(text)
    )


def _member(entity: Entity, field: Field, frame: pl.DataFrame, odd: frozenset[str]) -> list[Piece]:
    """The pieces of one member: the column as it is, or (with nulls) the whole member as one piece that may be null."""
    values = frame[field.name]
    if values.null_count() == 0:
        pass
    elif (entity.name, field.name) in FALLBACKS:
        values = either(present(values), values, frame["sourcedId"])
    elif field.kind is Kind.STRING and field.rest12 is Need.REQUIRED and not field.many:
        nothing = pl.Series([""]).new_from_index(0, values.len())
        values = either(present(values), values, nothing)  # a person with one name: the other is required in JSON
    if empty(values):
        return []
    pieces: list[Piece] = [f',"{field.name}":', *_value(entity, field, values, odd=field.name in odd)]
    return pieces if values.null_count() == 0 and not field.many else [_Member(pieces)]


def _value(entity: Entity, field: Field, values: pl.Series, *, odd: bool) -> list[Piece]:
    if field.many:
        return ["[", _list(field, values), "]"]
    match field.kind:
        case Kind.REF if not _is_uri(field):
            if entity.compact:
                return [SHORT + CATALOGUE[field.target or ""].code, values, SHORT]
            before, between, after = reference(field.target or "")
            return [before, values, between, values, after]
        case Kind.METADATA:
            return [values]
        case Kind.INTEGER | Kind.FLOAT:
            return [_number(values)]
        case Kind.DATETIME:
            return ['"', values.dt.strftime("%Y-%m-%dT%H:%M:%S%.3fZ"), '"']
        case Kind.BOOLEAN | Kind.DATE:
            return ['"', values.cast(pl.String), '"']
        case _:
            return ['"', escaped(values) if odd else values, '"']


def _list(field: Field, values: pl.Series) -> pl.Series:
    """The items of each list, joined by commas; null for null and empty lists."""
    match field.kind:
        case Kind.USER_ID | Kind.SCALE_VALUE:
            return _structs(values, [f.name for f in SHAPES[field.kind].fields])
        case Kind.OBJECTIVES | Kind.OBJECTIVE_RESULTS:
            return _objectives(values, SHAPES[field.kind].fields[1].name)
        case Kind.COMPONENT if field.name == "userProfiles":
            return _profiles(values)
        case Kind.COMPONENT:
            return _components(CATALOGUE[field.name], values)
        case _:
            pass
    if field.kind is not Kind.REF:
        return joined_strings(values)
    before, between, after = reference(field.target or "")
    one = pl.concat_str([pl.lit(before), pl.element(), pl.lit(between), pl.element(), pl.lit(after)])
    ids = pl.col("ids").list
    return values.to_frame("ids").select(pl.when(ids.len() > 0).then(ids.eval(one).list.join(","))).to_series()


def _components(entity: Entity, lists: pl.Series) -> pl.Series:
    """Lists of structs as objects with the members of the component's catalogue entry."""
    rows = _exploded(lists)
    items = rows.select(pl.col("item").struct.unnest())
    return _regathered(rows, _object(_members(entity, items), items.height), lists.len())


def _members(component: Entity, items: pl.DataFrame) -> list[Piece]:
    odd = _odd(component, items)
    return [piece for field in body(component) for piece in _member(component, field, items, odd)]


def _profiles(lists: pl.Series) -> pl.Series:
    entity = CATALOGUE["userProfiles"]
    rows = _exploded(lists)
    items = rows.select(pl.col("item").struct.unnest())
    pieces = _members(entity, items)
    credentials = _structs(items["credentials"], ["type", "username"])
    pieces.append(_Member([',"credentials":[', credentials, "]"]))
    return _regathered(rows, _object(pieces, items.height), lists.len())


def _structs(lists: pl.Series, names: list[str], *numbers: str) -> pl.Series:
    """Lists of flat structs of strings (and ``numbers``) as objects; absent members are left out."""
    rows = _exploded(lists)
    items = rows.select(pl.col("item").struct.unnest())
    pieces: list[Piece] = [_Member([f',"{name}":"', escaped(items[name]), '"']) for name in names]
    pieces += [_Member([f',"{name}":', _number(items[name])]) for name in numbers]
    return _regathered(rows, _object(pieces, items.height), lists.len())


def _objectives(lists: pl.Series, name: str) -> pl.Series:
    """Lists of learning objectives by source: ids alone, or with their scores."""
    rows = _exploded(lists)
    items = rows.select(pl.col("item").struct.unnest())
    inner = _structs(items[name], ["learningObjectiveId", "textScore"], "score") if name.endswith("Results") else None
    values = joined_strings(items[name]) if inner is None else inner
    pieces: list[Piece] = [',"source":"', escaped(items["source"]), f'","{name}":[', values, "]"]
    return _regathered(rows, _object(pieces, items.height), lists.len())


def _number(values: pl.Series) -> pl.Series:
    """Numbers as JSON has them: whole ones without a fraction."""
    return values.cast(pl.String).str.strip_suffix(".0")


def _exploded(lists: pl.Series) -> pl.DataFrame:
    rows = beside([row_numbers(lists.len()).alias("row"), lists.alias("item")])
    return rows.filter(pl.col("item").list.len() > 0).explode("item")


def _regathered(rows: pl.DataFrame, texts: pl.Series, height: int) -> pl.Series:
    whole = beside([rows["row"], texts.alias("text")])
    if rows["row"].n_unique() < rows.height:  # several items of one list
        whole = whole.group_by("row", maintain_order=True).agg(pl.col("text").str.join(","))
    if whole.height == height:
        return whole["text"]
    every = row_numbers(height).to_frame("row")
    return every.join(whole, on="row", how="left", maintain_order="left")["text"]


def _object(pieces: list[Piece], height: int) -> pl.Series:
    """``{…}`` around members that each begin with a comma."""
    return _joined(pieces, height, as_object=True)


def _joined(pieces: list[Piece], height: int, *, as_object: bool = False) -> pl.Series:
    """The pieces of each row as one text, ``as_object`` in braces without the first comma. A null piece is left out."""
    columns: list[pl.Series] = []
    shape = _shape(pieces, columns)
    if not columns:
        same = "".join(p for p in pieces if isinstance(p, str))
        return pl.Series([f"{{{same[1:]}}}" if as_object else same]).new_from_index(0, height)
    return beside(columns).select(_expression(shape, as_object=as_object)).to_series()


def _shape(pieces: list[Piece], columns: list[pl.Series]) -> _Shape:
    """The pieces with the name of a column in the place of each series, which is put into ``columns``."""
    parts: list[tuple[str, bool] | _Shape] = []
    for fixed, group in groupby(pieces, lambda piece: isinstance(piece, str)):
        if fixed:
            parts.append(("".join(piece for piece in group if isinstance(piece, str)), True))
            continue
        for piece in group:
            if isinstance(piece, _Member):
                parts.append(_shape(piece.pieces, columns))
            elif isinstance(piece, pl.Series):
                columns.append(piece.alias(f"p{len(columns)}"))
                parts.append((columns[-1].name, False))
    return _Shape(tuple(parts))


@lru_cache(1_000)  # there are as many as documents with other members absent
def _expression(shape: _Shape, *, as_object: bool) -> pl.Expr:
    """What makes the text of a row of such columns."""
    text = _text(shape, ignore_nulls=True)
    return pl.concat_str(pl.lit("{"), text.str.slice(1), pl.lit("}")) if as_object else text


def _text(shape: _Shape, *, ignore_nulls: bool) -> pl.Expr:
    parts: list[pl.Expr] = []
    for part in shape.parts:
        if isinstance(part, _Shape):
            parts.append(_text(part, ignore_nulls=False))
        else:
            text, fixed = part
            parts.append(pl.lit(text) if fixed else pl.col(text))
    return pl.concat_str(parts, ignore_nulls=ignore_nulls)


def _is_text(field: Field) -> bool:
    """Whether a member's text is anybody's: ids are the hub's own, metadata is JSON already."""
    return field.kind is not Kind.METADATA and (field.kind is not Kind.REF or _is_uri(field))


def _is_uri(field: Field) -> bool:
    """Components have no address of their own: a role names its user profile by URI, in a plain string."""
    return field.target in CATALOGUE and CATALOGUE[field.target or ""].component_of is not None
