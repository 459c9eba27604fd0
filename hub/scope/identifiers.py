"""Ids in documents: finding those of records, and writing others in their places.

Documents hold canonical ids, the hub's own. An app may know a record by another one. Ids stand in three places: at the
beginning of an object, in members where they stand in for a value that is missing (``references.FALLBACKS``), and in
references, which begin with the raw byte of a base address (``references.BASES``). No value can hold such a byte, so
nothing that only looks like a reference is ever touched.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

import orjson

from transforms.catalogue import Entity
from transforms.references import BASES, FALLBACKS

_HEAD = '{"sourcedId":"'
_UUID_LENGTH = 36
_START, _END = len(_HEAD), len(_HEAD) + _UUID_LENGTH
_REFERENCE = re.compile(
    rf'(\{{"href":"[{"".join(BASES.values())}]/[A-Za-z]+/)([0-9a-f-]{{36}})","sourcedId":"\2"', re.ASCII
)
_TARGET = len('{"href":"_/')  # where a reference names its target's entity
_OWN_ID = re.compile(rf'^{re.escape(_HEAD)}(?:[^"\\]|\\.)*",?')
#: No JSON text has it.
_BETWEEN = "\0"
#: What looks for references in texts goes by these marks (hub.scope.v1p1.texts): ids have them in another spelling.
_ESCAPED = (('\\"', "\\u0022"), ("{", "\\u007b"), ("}", "\\u007d"))
_PLAIN = re.compile(r"[0-9A-Za-z._~-]*", re.ASCII)


def standing_in(entity: Entity) -> tuple[str, ...]:
    """The members of an entity in which an object's own id may stand."""
    return tuple(f.name for f in entity.fields if (entity.name, f.name) in FALLBACKS)


@dataclass(frozen=True, slots=True)
class Page:
    """Objects of one entity taken apart at the ids of references.

    ``pieces``: text, the beginning of a reference and its id, again and again, and text at the end. ``headed``: all
    objects begin with their ids, and the pieces are of what is behind these.
    """

    objects: Sequence[str]
    pieces: list[str]
    headed: bool

    @classmethod
    def of(cls, objects: Sequence[str]) -> Page:
        """The objects of a page; a long one takes some milliseconds."""
        headed = all(text.startswith(_HEAD) for text in objects)
        texts = [text[_END:] for text in objects] if headed else objects
        return cls(objects, _REFERENCE.split(_BETWEEN.join(texts)), headed)

    def ids(self, entities: Collection[str] | None, *, heads: bool) -> set[str]:
        """The ids of references to ``entities`` (None: to any), and (``heads``) of the objects themselves."""
        found = self.pieces[2::3]
        if entities is not None:
            starts = zip(self.pieces[1::3], found, strict=True)
            found = [id_ for start, id_ in starts if start[_TARGET:-1] in entities]
        own = [text[_START:_END] for text in self.objects if self.headed or text.startswith(_HEAD)] if heads else []
        return {*found, *own}

    def renamed(self, names: Mapping[str, str], members: Sequence[str] = ()) -> list[str]:
        """The objects with ``names`` (canonical id to another one) in the places of ids; ids without one stay.

        ``members``: as ``standing_in`` has them. They can only be told of objects that begin with their id.
        """
        if not self.objects:
            return []
        pieces = self.pieces.copy()
        # Mostly there is nothing to be written otherwise, which one look at all of them tells.
        plain = _PLAIN.fullmatch("".join(names.values())) is not None
        refer = _plainly_referred if plain else referred
        written = {id_: refer(names.get(id_, id_)) for id_ in set(pieces[2::3])}
        pieces[2::3] = [written[id_] for id_ in pieces[2::3]]
        texts = "".join(pieces).split(_BETWEEN)
        if not self.headed:
            return [_with_head(text, names, members) for text in texts]
        own = [text[_START:_END] for text in self.objects]
        if plain and not members:
            return [f"{_HEAD}{names.get(id_, id_)}{text}" for id_, text in zip(own, texts, strict=True)]
        return [_with_head(f"{_HEAD}{id_}{text}", names, members) for id_, text in zip(own, texts, strict=True)]


def without_head(text: str) -> str:
    """An object without its id, whatever that is."""
    return _OWN_ID.sub("{", text, count=1)


def as_json(name: str) -> str:
    """An id as it stands between quotes in JSON."""
    return orjson.dumps(name).decode()[1:-1]


def referred(name: str) -> str:
    """An id as it stands in a reference: in the address and by itself, without a brace or a quote as such."""
    if _PLAIN.fullmatch(name):
        return _plainly_referred(name)
    written = as_json(name)
    for mark, escaped in _ESCAPED:
        written = written.replace(mark, escaped)
    return f'{quote(name, safe="")}","sourcedId":"{written}"'


def _plainly_referred(name: str) -> str:
    return f'{name}","sourcedId":"{name}"'


def _with_head(text: str, names: Mapping[str, str], members: Sequence[str]) -> str:
    own = text[_START:_END]
    name = names.get(own) if text.startswith(_HEAD) else None
    if name is None:
        return text
    written = name if _PLAIN.fullmatch(name) else as_json(name)
    rest = text[_END:]
    for member in members:
        rest = rest.replace(f'"{member}":"{own}"', f'"{member}":"{written}"', 1)
    return f"{_HEAD}{written}{rest}"
