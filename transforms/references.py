r"""How references stand in documents.

A reference's ``href`` begins with a byte that stands for the base address of the service which has the target
(``BASES``); control characters are escaped everywhere else, so one replacement puts the address in. Documents of
compact entities (enrollments, which are most of a district) spell references short, between two bytes \x02:
``spelled_out`` makes them whole when they are read.

Plain text: nothing here needs the column engine, so that who only reads documents does not load it.
"""

from __future__ import annotations

from transforms.catalogue import CATALOGUE, Entity, Kind, Service

#: Stand for the base addresses of the services. None may be a byte that staging uses between columns.
BASES: dict[Service, str] = {"rostering": "\x01", "gradebook": "\x04", "resources": "\x05"}
_ESCAPED = {base: f"\\u{ord(base):04x}" for base in BASES.values()}
#: Stands before and after a short reference in documents of compact entities: the target's code and its id.
SHORT = "\x02"
#: Members that JSON requires and sources may leave out: the sourcedId takes their place.
FALLBACKS = frozenset({("orgs", "identifier"), ("courses", "courseCode")})


def reference(target_name: str) -> tuple[str, str, str]:
    """The text of a reference before, between and after the two places of the target's id."""
    target = CATALOGUE[target_name]
    return f'{{"href":"{BASES[target.service]}/{target.name}/', '","sourcedId":"', f'","type":"{target.singular}"}}'


def reference_to(target: str, sourced_id: str) -> str:
    """A reference to an object of the entity ``target``, with the mark of its service's address in the href."""
    before, between, after = reference(target)
    return f"{before}{sourced_id}{between}{sourced_id}{after}"


_SPELLED = {entity.code: reference(entity.name) for entity in CATALOGUE.entities}


def spelled_out(doc: str) -> str:
    """A document of a compact entity with its references in full. Others have no short references and stay equal.

    A text of many documents is done at once: records that follow each other mostly refer to the same class and school.
    """
    if SHORT not in doc:
        return doc
    parts = doc.split(SHORT)
    references = parts[1::2]
    spelled = {text: _in_full(text) for text in set(references)}
    parts[1::2] = [spelled[text] for text in references]
    return "".join(parts)


def spelled(text: str) -> tuple[str, str, str]:
    """What stands before, between and after the two places of the target's id, for a short reference without marks."""
    return _SPELLED[text[0]]


def _in_full(text: str) -> str:
    before, between, after = spelled(text)
    target = text[1:]
    return f"{before}{target}{between}{target}{after}"


def bases(entity: Entity) -> tuple[Service, ...]:
    """The services whose base addresses stand in documents of an entity."""
    targets = [f.target for f in entity.references]
    nested = [f.target for c in CATALOGUE.components_of(entity.name) for f in c.body if f.kind is Kind.REF]
    found = {CATALOGUE[t].service for t in (*targets, *nested) if t is not None}
    return tuple(service for service in BASES if service in found)


def escaped_bases(text: str) -> str:
    """JSON text that a parser takes: the bytes of base addresses escaped."""
    for base, spelled in _ESCAPED.items():
        text = text.replace(base, spelled)
    return text
