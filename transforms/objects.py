"""A JSON object that an app writes, read into canonical values, or the faults that keep it out.

It derives from the catalogue: which members an object has in a version of OneRoster, their types and which must be
there. Input may be sloppy where only one reading is possible: references with the ``sourcedId`` alone, whatever their
``type``; numbers as texts; truth in any spelling; date-times for days and days for date-times; ``null`` and empty texts
for what is absent. ``status`` and ``dateLastModified`` need not come; the second is the hub's to set.

Pure: values in, values out. Source: OneRoster 1.2 Gradebook information model and OpenAPI document; 1.1 tables.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from functools import cache, partial
from typing import Any

import orjson

from transforms.catalogue import BASE_NAMES, CATALOGUE, Entity, Field, Kind, Need, Version
from transforms.catalogue import vocabularies as voc
from transforms.faults import Fault, FaultCode
from transforms.normalise.dates import FIRST_YEAR, LAST_YEAR
from transforms.normalise.grades import grade
from transforms.normalise.text import LONGEST
from transforms.normalise.vocabulary import token_reader
from transforms.storable import storable

MOST_ITEMS = 1_000
LARGEST_METADATA = 64 * 1024
_DEEPEST = 32
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
_NUMBER = re.compile(r"-?(?:[0-9]{1,17}\.?[0-9]{0,17}|\.[0-9]{1,17})(?:[eE][+-]?[0-9]{1,2})?", re.ASCII)
_DIGITS = re.compile(r"[0-9]{4}", re.ASCII)
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9].*", re.ASCII)
_UUID = re.compile(r"(?:urn:uuid:)?([0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12})", re.ASCII)
# The expression that the official document has for other sources of learning objectives, as it is written there.
_SOURCE = re.compile(r"/(?!case$)(?!unknown$)[a-z0-9]+", re.ASCII)


class _FaultError(Exception):
    """A value that cannot be read; ``path`` is below the member."""

    def __init__(self, code: FaultCode, path: str = "") -> None:
        super().__init__(code.value)
        self.code, self.path = code, path


@dataclass(slots=True)
class Written:
    """One object as an app sent it.

    ``place`` is where it stood in the body (``lineItems[3]``). ``values`` has the entity's canonical values by field,
    of absent ones none; references are the ids as they were given. ``ended``: the app marked it as deleted.
    """

    place: str
    sourced_id: str | None = None
    ended: bool = False
    values: dict[str, Any] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)

    def fault(self, name: str, code: FaultCode) -> None:
        """Notes a fault of a member."""
        self.faults.append(Fault(f"{self.place}.{name}", code))


def read(
    entity: Entity, version: Version, value: object, *, place: str, filled: frozenset[str] = frozenset()
) -> Written:
    """Reads one JSON object of an entity. ``filled`` are required members that need not come: the path names them."""
    written = Written(place)
    if not isinstance(value, dict):
        written.faults.append(Fault(place, FaultCode.NOT_AN_OBJECT))
        return written
    _read_base(value, written)
    known = _members(entity, version)
    written.unknown = [name for name in value if name not in known and name not in BASE_NAMES]
    for name, item in known.items():
        member = value.get(name)
        try:
            one = None if _absent(member) else _one(item, member)
        except _FaultError as fault:
            written.fault(name + fault.path, fault.code)
            continue
        if one is not None:
            written.values[name] = one
        elif item.rest_need(version) is Need.REQUIRED and name not in filled:
            written.fault(name, FaultCode.MISSING)
    return written


def _read_base(value: dict[str, Any], written: Written) -> None:
    """The base fields: an id that can be kept, and whether the object is to be deleted."""
    sourced_id, status = value.get("sourcedId"), value.get("status")
    if not _absent(sourced_id):
        if isinstance(sourced_id, str) and storable(sourced_id):
            written.sourced_id = sourced_id
        else:
            written.fault("sourcedId", FaultCode.BAD_IDENTIFIER)
    if not _absent(status):
        meant = token_reader(voc.STATUS)(status) if isinstance(status, str) else None
        if not meant:  # what nobody knows is never taken for active
            written.fault("status", FaultCode.UNKNOWN_WORD)
        written.ended = meant == "tobedeleted"


@cache
def _members(entity: Entity, version: Version) -> dict[str, Field]:
    return {f.name: f for f in entity.members(version) if f.name not in BASE_NAMES and not f.derived}


def _absent(value: object) -> bool:
    return value is None or value == ""


def _one(item: Field, value: object) -> Any:
    """The canonical value of a member; None where nothing is left of it."""
    reader = _READERS[item.kind]
    if not item.many:
        return reader(item, value)
    if not isinstance(value, list):
        raise _FaultError(FaultCode.NOT_A_LIST)
    return [one for one in _items(value, lambda entry: reader(item, entry)) if one is not None] or None


def _items(values: list[Any], reader: Callable[[Any], Any]) -> list[Any]:
    if len(values) > MOST_ITEMS:
        raise _FaultError(FaultCode.TOO_LONG)
    out = []
    for number, value in enumerate(values):
        try:
            out.append(reader(value))
        except _FaultError as fault:
            raise _FaultError(fault.code, f"[{number}]{fault.path}") from None
    return out


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise _FaultError(FaultCode.NOT_TEXT)
    if len(value) > LONGEST:
        raise _FaultError(FaultCode.TOO_LONG)
    if _CONTROL.search(value):
        raise _FaultError(FaultCode.CONTROL_CHARACTER)
    return value


def _string(item: Field, value: object) -> str | None:
    text = _text(value)
    if not text.strip():
        return None
    if item.vocabulary is not voc.GRADES:
        return text
    code = grade(text)
    if code is None:
        raise _FaultError(FaultCode.UNKNOWN_WORD)
    return code


def _number(_item: Field, value: object) -> float:
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise _FaultError(FaultCode.NOT_A_NUMBER)
    return float(value)


def _boolean(_item: Field, value: object) -> bool:
    if isinstance(value, bool):
        return value
    meant = token_reader(voc.BOOLEAN)(str(value)) if isinstance(value, str | int) else None
    if not meant:
        raise _FaultError(FaultCode.NOT_A_BOOLEAN)
    return meant == "true"


def _word(item: Field, value: object) -> str:
    assert item.vocabulary is not None
    meant = token_reader(item.vocabulary)(_text(value))
    if not meant:
        raise _FaultError(FaultCode.UNKNOWN_WORD)
    return meant


def _moment(value: object, code: FaultCode) -> datetime | None:
    """A date-time in UTC, without an offset taken for UTC; None for what is none. Raises for one out of bounds."""
    if not isinstance(value, str):
        raise _FaultError(code)
    text = value.strip()
    if not _MOMENT.fullmatch(text):
        return None
    try:
        at = datetime.fromisoformat(text)
        at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError):
        raise _FaultError(code) from None
    if not FIRST_YEAR <= at.year <= LAST_YEAR:
        raise _FaultError(code)
    return at.replace(microsecond=at.microsecond // 1000 * 1000)


def _day(value: str, code: FaultCode) -> date:
    try:
        day = date.fromisoformat(value.strip()) if _DAY.fullmatch(value.strip()) else None
    except ValueError:
        day = None
    if day is None or not FIRST_YEAR <= day.year <= LAST_YEAR:
        raise _FaultError(code)
    return day


def _date(_item: Field, value: object) -> date:
    """A day; of a date-time the day in UTC."""
    at = _moment(value, FaultCode.NOT_A_DATE)
    return at.date() if at is not None else _day(str(value), FaultCode.NOT_A_DATE)


def _year(_item: Field, value: object) -> str:
    """A year of four digits."""
    text = str(value).strip() if isinstance(value, str | int) and not isinstance(value, bool) else ""
    if not (_DIGITS.fullmatch(text) and FIRST_YEAR <= int(text) <= LAST_YEAR):
        raise _FaultError(FaultCode.NOT_A_YEAR)
    return text


def _datetime(item: Field, value: object) -> datetime:
    """A moment; a day is its first one, or its last second where something is due, as in CSV."""
    at = _moment(value, FaultCode.NOT_A_DATE_TIME)
    if at is not None:
        return at
    day = _day(str(value), FaultCode.NOT_A_DATE_TIME)
    return datetime.combine(day, time(23, 59, 59) if item.name == "dueDate" else time(), UTC)


def _reference(_item: Field, value: object) -> str:
    """The id of a reference; its address and type are not looked at."""
    sourced_id = value.get("sourcedId") if isinstance(value, dict) else None
    if not isinstance(sourced_id, str) or not storable(sourced_id):
        raise _FaultError(FaultCode.NOT_A_REFERENCE)
    return sourced_id


#: What has 64 bits, with a sign or without one.
_INTEGERS = (-(2**63), 2**64 - 1)


def _metadata(_item: Field, value: object) -> str:
    """An object of any members as JSON text."""
    if not isinstance(value, dict):
        raise _FaultError(FaultCode.NOT_AN_OBJECT)
    for node in _walk(value):
        if isinstance(node, str) and _CONTROL.search(node):
            raise _FaultError(FaultCode.CONTROL_CHARACTER)
        if isinstance(node, float) and not math.isfinite(node):
            raise _FaultError(FaultCode.NOT_A_NUMBER)
        if isinstance(node, int) and not _INTEGERS[0] <= node <= _INTEGERS[1]:
            raise _FaultError(FaultCode.NOT_A_NUMBER)
    text = orjson.dumps(value)
    if len(text) > LARGEST_METADATA:
        raise _FaultError(FaultCode.TOO_LONG)
    return text.decode()


def _walk(root: object) -> Iterator[object]:
    """All keys and values, without recursion. Raises for what lies too deep."""
    waiting = [(root, 0)]
    while waiting:
        node, depth = waiting.pop()
        if depth > _DEEPEST:
            raise _FaultError(FaultCode.TOO_DEEP)
        yield node
        if isinstance(node, dict):
            yield from node
            waiting += [(child, depth + 1) for child in node.values()]
        elif isinstance(node, list):
            waiting += [(child, depth + 1) for child in node]


def _user_id(_item: Field, value: object) -> dict[str, Any]:
    return {name: _needed(value, name) for name in ("type", "identifier")}


def _component(item: Field, value: object) -> dict[str, Any]:
    """An object that has a file of its own in CSV, as JSON 1.2 has it, such as one of a user's roles."""
    if not isinstance(value, dict):
        raise _FaultError(FaultCode.NOT_AN_OBJECT)
    known = _members(CATALOGUE[item.name], "1.2")
    if value.keys() - known.keys():
        raise _FaultError(FaultCode.UNKNOWN_MEMBER)
    return {name: _below(name, partial(_nested, member), value.get(name)) for name, member in known.items()}


def _nested(member: Field, value: object) -> Any:
    """A member of a component; None for one that is absent and need not be there."""
    if _absent(value):
        if member.rest12 is Need.REQUIRED:
            raise _FaultError(FaultCode.MISSING)
        return None
    if member.target in CATALOGUE and CATALOGUE[member.target or ""].component_of is not None:
        return _text(value)  # a URI
    found = _READERS[member.kind](member, value)
    if member.vocabulary is not None and found in member.vocabulary.only_11:
        raise _FaultError(FaultCode.UNKNOWN_WORD)
    return found


def _scale_value(_item: Field, value: object) -> dict[str, Any]:
    return {name: _needed(value, name) for name in ("itemValueLHS", "itemValueRHS")}


def _objectives(_item: Field, value: object) -> dict[str, Any]:
    source, name = _source(value), "learningObjectiveIds"
    ids = _list(value, name, lambda entry: _objective(source, _text(entry)))
    return {"source": source, name: ids}


def _objective_results(_item: Field, value: object) -> dict[str, Any]:
    source, name = _source(value), "learningObjectiveResults"

    def result(entry: object) -> dict[str, Any]:
        sourced_id = _needed(entry, "learningObjectiveId")
        found = {"learningObjectiveId": _below("learningObjectiveId", lambda v: _objective(source, v), sourced_id)}
        for member, reader in (("score", lambda v: _number(_item, v)), ("textScore", _text)):
            given = entry.get(member) if isinstance(entry, dict) else None
            found[member] = None if _absent(given) else _below(member, reader, given)
        return found

    return {"source": source, name: _list(value, name, result)}


def _source(value: object) -> str:
    text = _needed(value, "source")
    meant = text if _SOURCE.fullmatch(text) else token_reader(voc.OBJECTIVE_SOURCE)(text)
    if not meant:
        raise _FaultError(FaultCode.UNKNOWN_WORD, ".source")
    return meant


def _objective(source: str, sourced_id: str) -> str:
    if not sourced_id:
        raise _FaultError(FaultCode.MISSING)
    if source != "case":
        return sourced_id
    match = _UUID.fullmatch(sourced_id.strip().lower())
    if match is None:
        raise _FaultError(FaultCode.NOT_A_UUID)
    return match[1]


def _needed(value: object, name: str) -> str:
    """A text member of a nested object."""
    if not isinstance(value, dict):
        raise _FaultError(FaultCode.NOT_AN_OBJECT)
    if _absent(value.get(name)):
        raise _FaultError(FaultCode.MISSING, f".{name}")
    text: str = _below(name, _text, value[name])
    return text


def _list(value: object, name: str, reader: Callable[[Any], Any]) -> list[Any]:
    """A list member of a nested object, with at least one item."""
    found = value.get(name) if isinstance(value, dict) else None
    if _absent(found) or found == []:
        raise _FaultError(FaultCode.MISSING, f".{name}")
    if not isinstance(found, list):
        raise _FaultError(FaultCode.NOT_A_LIST, f".{name}")
    items: list[Any] = _below(name, lambda values: _items(values, reader), found)
    return items


def _below(name: str, reader: Callable[[Any], Any], value: object) -> Any:
    try:
        return reader(value)
    except _FaultError as fault:
        raise _FaultError(fault.code, f".{name}{fault.path}") from None


_READERS: dict[Kind, Callable[[Field, Any], Any]] = {
    Kind.STRING: _string,
    Kind.ENUM: _word,
    Kind.BOOLEAN: _boolean,
    Kind.FLOAT: _number,
    Kind.DATE: _date,
    Kind.DATETIME: _datetime,
    Kind.YEAR: _year,
    Kind.REF: _reference,
    Kind.USER_ID: _user_id,
    Kind.COMPONENT: _component,
    Kind.SCALE_VALUE: _scale_value,
    Kind.OBJECTIVES: _objectives,
    Kind.OBJECTIVE_RESULTS: _objective_results,
    Kind.METADATA: _metadata,
}
