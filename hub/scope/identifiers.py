"""Ids in documents: finding those of records, and writing others in their places.

Documents hold canonical ids, the hub's own. An app may know a record by another one. Ids stand in three places: at the
beginning of an object, in members where they stand in for a value that is missing (``render.FALLBACKS``), and in
references, which begin with the raw byte of a base address (``render.BASES``). No value can hold such a byte, so
nothing that only looks like a reference is ever touched.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from urllib.parse import quote

import orjson

from transforms.catalogue import Entity
from transforms.render import BASES, FALLBACKS

_HEAD = '{"sourcedId":"'
_UUID_LENGTH = 36
_END = len(_HEAD) + _UUID_LENGTH
_REFERENCE = re.compile(
    rf'\{{"href":"([{"".join(BASES.values())}])/([A-Za-z]+)/([0-9a-f-]{{36}})","sourcedId":"\3"', re.ASCII
)


def named(objects: Iterable[str], entities: Collection[str] | None, *, heads: bool) -> set[str]:
    """The ids in the objects of a page: of references to ``entities`` (None: to any), and (``heads``) of themselves."""
    found = set()
    for text in objects:
        if heads and text.startswith(_HEAD):
            found.add(text[len(_HEAD) : _END])
        found.update(match[3] for match in _REFERENCE.finditer(text) if entities is None or match[2] in entities)
    return found


def standing_in(entity: Entity) -> tuple[str, ...]:
    """The members of an entity in which an object's own id may stand."""
    return tuple(f.name for f in entity.fields if (entity.name, f.name) in FALLBACKS)


def renamed(objects: Sequence[str], names: Mapping[str, str], members: Sequence[str] = ()) -> list[str]:
    """The objects with ``names`` (canonical id to another one) in the places of ids; ids without one stay.

    ``members``: as ``standing_in`` has them. They can only be told of objects that begin with their id.
    """
    written = {id_: (quote(name, safe=""), as_json(name)) for id_, name in names.items()}

    def reference(match: re.Match[str]) -> str:
        found = written.get(match[3])
        if found is None:
            return match[0]
        return f'{{"href":"{match[1]}/{match[2]}/{found[0]}","sourcedId":"{found[1]}"'

    return [_REFERENCE.sub(reference, _with_head(text, written, members)) for text in objects]


def without_head(text: str) -> str:
    """An object without its id, which is a UUID."""
    return "{" + text[_END + 1 :].removeprefix(",") if text.startswith(_HEAD) else text


def _with_head(text: str, written: Mapping[str, tuple[str, str]], members: Sequence[str]) -> str:
    own = text[len(_HEAD) : _END]
    head = written.get(own) if text.startswith(_HEAD) else None
    if head is None:
        return text
    rest = text[_END:]
    for member in members:
        rest = rest.replace(f'"{member}":"{own}"', f'"{member}":"{head[1]}"', 1)
    return f"{_HEAD}{head[1]}{rest}"


def as_json(name: str) -> str:
    """An id as it stands between quotes in JSON."""
    return orjson.dumps(name).decode()[1:-1]
