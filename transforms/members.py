"""Stored documents taken apart into the text of their members, and put together again, byte for byte.

An undo gives a record some of its former members back and leaves the others as they are. Parsed and dumped again,
numbers and escapes could come out otherwise than ``render`` wrote them, so the texts themselves are kept.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from transforms.canonical import body
from transforms.catalogue import Entity, Privacy

#: What a member's value is made of: strings, short references between two marks, and everything that opens or closes.
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|\x02[^\x02]*\x02|[{}\[\],:]')


def taken_apart(doc: str) -> dict[str, str]:
    """Name to the JSON text of each member of one part of a document (see ``render``), in its order."""
    found: dict[str, str] = {}
    depth, name, start = 0, "", 0
    for token in _TOKEN.finditer(doc):
        match token[0]:
            case "{" | "[":
                depth += 1
            case "}" | "]":
                depth -= 1
            case "," if depth == 0:
                if name:
                    found[name] = doc[start : token.start()]
                name = ""
            case ":" if depth == 0:
                start = token.end()
            case text if depth == 0 and not name:
                name = text[1:-1]
            case _:
                pass
    if name:
        found[name] = doc[start:]
    return found


def members_of(doc: str, doc_private: str) -> dict[str, str]:
    """Name to the JSON text of each member of a stored record."""
    return taken_apart(doc) | taken_apart(doc_private)


def put_together(entity: Entity, members: Mapping[str, str]) -> tuple[str, str]:
    """``doc`` and ``doc_private`` of these members, as ``render`` orders them."""
    parts: tuple[list[str], list[str]] = ([], [])
    for field in body(entity):
        if field.name in members:
            parts[field.privacy is not Privacy.DIRECTORY].append(f',"{field.name}":{members[field.name]}')
    return "".join(parts[0]), "".join(parts[1])
