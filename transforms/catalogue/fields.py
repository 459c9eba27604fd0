"""The fields that entities of all services share, and short ways to declare the others."""

from __future__ import annotations

from functools import partial
from typing import Any

from transforms.catalogue import vocabularies as voc
from transforms.catalogue.model import Entity, Field, Kind, Need, Service

R, O, ABSENT = Need.REQUIRED, Need.OPTIONAL, Need.ABSENT

ref = partial(Field, kind=Kind.REF)
NEW_IN_12: dict[str, Any] = {"rest11": ABSENT, "csv11": ABSENT}

BASE = (
    Field("sourcedId", rest12=R, rest11=R, csv_name="sourcedId", csv12=R, csv11=R),
    Field(
        "status", Kind.ENUM, rest12=R, rest11=R, csv_name="status", csv12=Need.DELTA,
        csv11=Need.DELTA, vocabulary=voc.STATUS,
    ),
    Field(
        "dateLastModified", Kind.DATETIME, rest12=R, rest11=R, csv_name="dateLastModified",
        csv12=Need.DELTA, csv11=Need.DELTA,
    ),
)  # fmt: skip
BASE_NAMES = tuple(f.name for f in BASE)
METADATA = Field("metadata", Kind.METADATA, note="any JSON object; CSV columns metadata.<name>")


def text(name: str, need: Need = O, *, csv: str | None = None, many: bool = False, **more: Any) -> Field:
    """A string that has the same name and need in JSON and CSV unless ``more`` says otherwise."""
    values: dict[str, Any] = {
        "rest12": need, "rest11": need, "csv12": need, "csv11": need,
        "csv_name": csv or name, "many": many,
    }  # fmt: skip
    return Field(name, **(values | more))


def resources(file: str, **more: Any) -> Field:
    """The resources of a class, course or user: references that CSV keeps in a file of links."""
    return ref("resources", many=True, target="resources", component=file, **more)


def links(
    file: str, owner: str, owner_field: str, target: str, target_field: str, *others: Field, service: Service,
    new_in_12: bool = True,
) -> Entity:  # fmt: skip
    """A CSV file of links: each row gives an object of ``owner`` one reference to an object of ``target``.

    The object can do without the reference, so a link to nowhere is left out and keeps nothing else out.
    """
    need11 = ABSENT if new_in_12 else R
    here: dict[str, Any] = {"rest12": ABSENT, "rest11": ABSENT, "csv12": R, "csv11": need11}
    title = text("title", rest12=ABSENT, rest11=ABSENT, csv11=ABSENT if new_in_12 else O)
    return Entity(
        file,
        file.removesuffix("s"),
        (
            *BASE,
            *(() if owner == "users" else (title,)),
            ref(owner_field, csv_name=f"{owner_field}SourcedId", target=owner, **here),
            *others,
            ref(target_field, csv_name=f"{target_field}SourcedId", target=target, **(here | {"rest12": O})),
        ),
        file,
        service=service,
        component_of=owner,
        versions=("1.2",) if new_in_12 else ("1.1", "1.2"),
    )
