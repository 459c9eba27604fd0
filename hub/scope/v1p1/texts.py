"""Objects of 1.1 made from those of 1.2 as text, for the many of which no value has to be looked at.

This rests on how documents are written (transforms.render): members stand in the catalogue's order, a quote inside a
string is escaped, so that no string looks like a member, and references hold neither braces nor quotes. What stands in
metadata may look like anything, so objects with metadata are parsed, where it matters. Each function gives None for an
object that has to be parsed; a test compares both ways.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from urllib.parse import unquote

from hub.scope.personas import RoleNames
from transforms.catalogue import BASE_NAMES, CATALOGUE, Entity, Field, Kind, Need, Privacy
from transforms.references import BASES

#: Users with several roles: sourcedId to roles of 1.1, the main one first.
Several = Mapping[str, Sequence[str]]

#: Begins the metadata. It comes after the other members of its part of a document.
METADATA = ',"metadata":{'
_USERS = f"{BASES['rostering']}/users/"
_USER_ID = re.compile(f'{_USERS}([^"]+)"')
_STRING = r'"(?:[^"\\]|\\.)*"'
_REFERENCE = r"\{[^{}]*\}"
_ONE_ROLE = re.compile(
    r',"roles":\[\{"roleType":"[a-z]+","role":"([^"]+)"(?:,"beginDate":"[^"]*")?(?:,"endDate":"[^"]*")?'
    rf',"org":({_REFERENCE})(?:,"userProfile":{_STRING})?\}}\]'
)
_PROFILES = ',"userProfiles":['
_ROLE = re.compile(r',"role":"([^"]+)"')
_TYPE = re.compile(r',"type":"[a-zA-Z]+"\}')


def _is_new(field: Field) -> bool:
    return field.rest11 is Need.ABSENT and field.name not in BASE_NAMES


def _value(field: Field) -> str | None:
    """A pattern of a member's value; None for one that is nested."""
    match field.kind:
        case Kind.REF:
            return rf"\[(?:{_REFERENCE},?)*\]" if field.many else _REFERENCE
        case Kind.FLOAT | Kind.INTEGER:
            return r"[-+.0-9eE]+"
        case Kind.STRING | Kind.ENUM | Kind.BOOLEAN | Kind.DATE | Kind.DATETIME if not field.many:
            return _STRING
        case _:
            return None


def _new_members(entity: Entity) -> re.Pattern[str]:
    """Members that 1.1 does not know, but for nested ones."""
    values = [(f.name, _value(f)) for f in entity.body if _is_new(f)]
    return re.compile("|".join(f',"{name}":{value}' for name, value in values if value is not None))


_NEW_IN_USERS = _new_members(CATALOGUE["users"])
_NEW_IN_RESULTS = _new_members(CATALOGUE["results"])
if [f.name for f in CATALOGUE["users"].body if f.privacy is not Privacy.DIRECTORY][-1] != "userProfiles":
    raise ValueError("the profiles of users are not the last member of their documents")


def user(text: str, names: RoleNames, several: Several) -> str | None:
    """A user with one role entry and a name to log in by."""
    held, profiles = _ONE_ROLE.search(text), text.rfind(_PROFILES)
    if profiles >= 0:
        text = text[:profiles] + "}"
    if held is None or ',"username":' not in text or METADATA in text:
        return None
    role = names.of(held[1])
    if role is None or (several and not several.keys().isdisjoint(_users(text))):
        return None
    rest = _NEW_IN_USERS.sub("", text[held.end() :])
    return f'{text[: held.start()]},"role":"{role}","orgs":[{held[2]}]{rest}'


def result(text: str, several: Several) -> str | None:
    """A result with a number."""
    if METADATA in text or ',"score":' not in text or '"scoreStatus":"ext:' in text or "learningObjectiveSet" in text:
        return None
    if several and not several.keys().isdisjoint(_users(text)):
        return None
    return _NEW_IN_RESULTS.sub("", text)


def _users(text: str) -> list[str]:
    """The ids of users to which the text refers."""
    return [unquote(each) for each in _USER_ID.findall(text)]


def is_of(text: str, several: Several) -> bool:
    """Whether an enrollment is of one of these users. The mark before the path is in no data."""
    found = _USER_ID.search(text)
    return found is None or unquote(found[1]) in several


def word(text: str, name: str, words: Sequence[str]) -> bool | None:
    """Whether a member is one of ``words``; None where it is missing."""
    members = text.partition(METADATA)[0]
    if f'"{name}":"' not in members:
        return None
    return any(f'"{name}":"{one}"' in members for one in words)


def role(text: str) -> str | None:
    """The role of an enrollment."""
    found = _ROLE.search(text.partition(METADATA)[0])
    return None if found is None else found[1]


def typed(text: str, name: str, word: str) -> str:
    """An object whose reference ``name``, or list of them, has the type ``word``. The mark in hrefs is in no data."""
    return _named(name).sub(lambda found: _TYPE.sub(f',"type":"{word}"}}', found[0]), text, count=1)


@cache
def _named(name: str) -> re.Pattern[str]:
    """A member that is a reference, or a list of some."""
    mark = f"[{''.join(BASES.values())}]"
    return re.compile(rf'"{name}":\[?\{{"href":"{mark}[^{{}}]*\}}(?:,\{{[^{{}}]*\}})*')


def booleans(entity: Entity) -> tuple[str, ...]:
    """The members of an entity that are true or false."""
    return tuple(f.name for f in entity.body if f.kind is Kind.BOOLEAN)


def json_booleans(names: Sequence[str], text: str) -> str:
    """An object with ``true`` for ``"true"`` in these members; what stands in metadata stays as it is."""
    if not names:
        return text
    head, between, tail = text.partition(METADATA)
    for name in names:
        head = head.replace(f'"{name}":"true"', f'"{name}":true').replace(f'"{name}":"false"', f'"{name}":false')
    return head + between + tail
