"""Every column of a sheet to its kind, as the catalogue states it."""

from __future__ import annotations

from collections.abc import Callable

from transforms.catalogue import Field, Kind, Privacy
from transforms.catalogue.vocabularies import GRADES
from transforms.normalise.contacts import read_email, read_phone
from transforms.normalise.dates import read_date, read_moment, read_year
from transforms.normalise.grades import read_grades
from transforms.normalise.lists import read_list
from transforms.normalise.look import look
from transforms.normalise.metadata import metadata_columns, read_metadata
from transforms.normalise.names import check_names
from transforms.normalise.numbers import read_number
from transforms.normalise.scales import read_scale
from transforms.normalise.sensitive import drop_sensitive, tells
from transforms.normalise.text import drop_long_lists, tidy_columns
from transforms.normalise.userids import read_user_ids
from transforms.normalise.vocabulary import read_boolean, read_enum, read_enums
from transforms.sheet import Sheet
from transforms.validate.identifiers import check_keys
from transforms.validate.required import check_blank, needed

_READERS: dict[Kind, Callable[[Sheet, Field], None]] = {
    Kind.BOOLEAN: read_boolean,
    Kind.DATE: read_date,
    Kind.DATETIME: read_moment,
    Kind.YEAR: read_year,
    Kind.ENUM: read_enum,
    Kind.INTEGER: read_number,
    Kind.FLOAT: read_number,
    Kind.USER_ID: read_user_ids,
    Kind.SCALE_VALUE: read_scale,
}


def normalise(sheet: Sheet, calling_code: str | None = None) -> None:
    """Types all columns but references, which are resolved when the keys they may point to are known.

    ``calling_code`` is that of the district's country, for telephone numbers in national form.
    """
    fields = sheet.fields
    texts = [f.name for f in fields if f.kind is Kind.STRING and not f.many and f.vocabulary is None]
    texts += metadata_columns(sheet)
    lists = [f.name for f in fields if f.kind in {Kind.USER_ID, Kind.SCALE_VALUE} or (f.many and f.kind is Kind.STRING)]
    references = [f.name for f in fields if f.kind is Kind.REF and not f.many]
    _mend(sheet, texts, lists, references)
    for field in fields:
        _read(sheet, field, calling_code)
    if sheet.entity.name == "users":
        check_names(sheet)
    if "metadata" in sheet.entity:
        read_metadata(sheet)


def _mend(sheet: Sheet, texts: list[str], lists: list[str], references: list[str]) -> None:
    """What is done to columns of any kind, to those of which a look at all of them tells that it may be needed."""
    blank = {f.name: "nobody" if f.kind is Kind.REF else "blank" for f in needed(sheet) if f.kind is not Kind.STRING}
    seen = look(sheet, [
        *(("odd", name) for name in texts), *(("long", name) for name in lists),
        *(("part", name) for name in texts + lists), *(("whole", name) for name in [*references, "key"]),
        ("unusual", "key"), *((question, name) for name, question in blank.items()),
    ])  # fmt: skip
    tidy_columns(sheet, [name for name in texts if seen.may("odd", name)])
    drop_long_lists(sheet, [name for name in lists if seen.may("long", name)])
    drop_sensitive(
        sheet,
        texts=[name for name in texts + lists if seen.may("part", name) or tells(name)],
        identifiers=[name for name in [*references, "key"] if seen.may("whole", name)],
    )
    if sheet["key"].null_count() or seen.may("unusual", "key"):
        check_keys(sheet)
    check_blank(sheet, [
        f for f in needed(sheet) if sheet[f.name].null_count() or (f.name in blank and seen.may(blank[f.name], f.name))
    ])  # fmt: skip


def _read(sheet: Sheet, field: Field, calling_code: str | None) -> None:
    if field.kind is Kind.STRING:
        _read_text(sheet, field, calling_code)
        return
    reader = read_enums if field.kind is Kind.ENUM and field.many else _READERS.get(field.kind)
    if reader is not None:
        reader(sheet, field)


def _read_text(sheet: Sheet, field: Field, calling_code: str | None) -> None:
    if field.many and field.vocabulary is GRADES:
        read_grades(sheet, field)
    elif field.many:
        read_list(sheet, field)
    elif field.name == "email":
        read_email(sheet, field.name)
    elif field.privacy is Privacy.CONTACT:
        read_phone(sheet, field.name, calling_code)
