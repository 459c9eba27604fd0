"""Ids in documents: finding those of records, and writing others in their places.

Documents hold canonical ids, the hub's own. An app may know a record by another one. Ids stand in two places: at the
beginning of an object, and in references, which begin with the raw byte of a base address (``render.BASES``). No value
can hold such a byte, so nothing that only looks like a reference is ever touched.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from urllib.parse import quote

import orjson

from transforms.render import BASES

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


def renamed(objects: Sequence[str], names: Mapping[str, str]) -> list[str]:
    """The objects with ``names`` (canonical id to another one) in the places of ids; ids without one stay."""
    written = {id_: (quote(name, safe=""), as_json(name)) for id_, name in names.items()}

    def reference(match: re.Match[str]) -> str:
        found = written.get(match[3])
        if found is None:
            return match[0]
        return f'{{"href":"{match[1]}/{match[2]}/{found[0]}","sourcedId":"{found[1]}"'

    return [_REFERENCE.sub(reference, _with_head(text, written)) for text in objects]


def _with_head(text: str, written: Mapping[str, tuple[str, str]]) -> str:
    head = written.get(text[len(_HEAD) : _END]) if text.startswith(_HEAD) else None
    return text if head is None else f"{_HEAD}{head[1]}{text[_END:]}"


def as_json(name: str) -> str:
    """An id as it stands between quotes in JSON."""
    return orjson.dumps(name).decode()[1:-1]
