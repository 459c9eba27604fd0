"""docs/catalogue.md, written from the catalogue."""

from __future__ import annotations

from transforms.catalogue import CATALOGUE, Entity, Field, Kind, Need


def catalogue_page() -> str:
    """Every entity and field: kind, where it must be present, CSV column, privacy class."""
    lines = [
        "# Catalogue",
        "",
        "All entities and fields that the hub knows. R: required, O: optional, D: required in delta files only, -: not",
        "there. This page is generated: `make docs`.",
    ]
    for entity in CATALOGUE.all:
        lines += ["", *_section(entity)]
    return "\n".join(lines) + "\n"


def _section(entity: Entity) -> list[str]:
    inside = f", nested in {entity.component_of}" if entity.component_of else ""
    head = [
        f"## {entity.name}",
        "",
        f"Service {entity.service}, file `{entity.csv_file}.csv` ({', '.join(entity.versions)}){inside}.",
        "",
        "| Field | Kind | JSON 1.2 | JSON 1.1 | CSV column | CSV 1.2 | CSV 1.1 | Privacy | Notes |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    return head + [_row(entity, field) for field in entity.fields]


def _row(entity: Entity, field: Field) -> str:
    column = f"`{field.csv_name}`" if field.csv_name else Need.ABSENT.value
    cells = (
        f"`{field.name}`", _kind(field), field.rest12.value, _of_11(entity, field.rest11), column,
        field.csv_need("1.2").value, _of_11(entity, field.csv_need("1.1")), field.privacy.value, _notes(field),
    )  # fmt: skip
    return "| " + " | ".join(cells) + " |"


def _of_11(entity: Entity, need: Need) -> str:
    return (need if "1.1" in entity.versions else Need.ABSENT).value


def _kind(field: Field) -> str:
    kind = field.target if field.kind is Kind.REF and field.target else field.kind.value
    text = f"reference to {kind}" if field.kind is Kind.REF else kind
    return f"list of {text}" if field.many else text


def _notes(field: Field) -> str:
    notes = [field.note] if field.note else []
    if field.vocabulary is not None:
        words = field.vocabulary
        notes.append(", ".join(f"`{t}`" for t in words.both))
        notes += [f"1.2 only: {', '.join(f'`{t}`' for t in words.only_12)}"] if words.only_12 else []
        notes += [f"1.1 only: {', '.join(f'`{t}`' for t in words.only_11)}"] if words.only_11 else []
        notes += ["`ext:` words in 1.2"] if words.extensible else []
    if field.target_type:
        notes.append(f"of type {' or '.join(field.target_type)}")
    if field.derived:
        notes.append("derived")
    return "; ".join(notes)
