"""How one record looks through one grant: which members show, which are masked, which references are left out.

A document's text comes in two parts, the members of privacy class directory (``doc``) and the others
(``doc_private``), each a run of ``,"name":value``. Most grants show one or both as they are, so that serving is
concatenation. A raw byte (``transforms.references.BASES``) stands for a service's base URL at the start of each href;
no JSON text may hold it otherwise, and the rewriting below puts it back at the hrefs of reference objects only, never
by searching: data cannot forge it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal

import orjson

from hub.scope.forms import Form, end_of
from hub.scope.grants import FieldRule, GrantDefinition, Mask, policy_fields
from hub.scope.identifiers import referred
from transforms.catalogue import BASE_NAMES, CATALOGUE, Entity, Field, Kind, Need, Privacy
from transforms.references import BASES, escaped_bases, reference, spelled_out

Sees = Callable[[str, int], bool]
Refs = Mapping[str, Sequence[int]]

_HREF_STARTS = {b'{"href":"\\u%04x' % ord(base): b'{"href":"' + base.encode() for base in BASES.values()}
_ID_KEY = b'"sourcedId":'  # inside a JSON string a quote is escaped
_DEL, _DEL_ESCAPED = "\x7f", "\\u007f"  # as documents have it, which orjson does not
_NEXT = b"},{"
#: The member of a change, and of the metadata of a record that has left, that names the other record.
MERGED_INTO: Final = "mergedInto"
NO_LETTER = "-"  # a required member may be neither absent nor empty


class Projection:
    """What a grant shows of the records of one entity.

    ``visible``: the fields that show, masked ones included. ``filterable``: those by which an app may filter or sort,
    the base fields included. ``mode``: whether a record that is not trimmed shows all its members, the directory
    members alone, or has to be rewritten. ``references``: the fields whose references are filtered in trimmed records
    (``roles`` stands for its orgs); ``render`` wants the rids of each of them. Filtering or sorting by one of these
    must not look at what is filtered out: stored rids and roles tell more than the app sees (T14).
    ``private``: whether any member beside the directory ones shows.
    """

    def __init__(self, definition: GrantDefinition, entity: str) -> None:
        self.entity = entity
        self._compact = CATALOGUE[entity].compact
        body = policy_fields(CATALOGUE[entity])
        rule = definition.fields.get(entity, FieldRule())
        self.masks: dict[str, Mask] = dict(rule.masks)
        self.visible = frozenset(f.name for f in body if _shows(f, rule, definition))
        self.filterable = frozenset(BASE_NAMES) | self.visible - self.masks.keys()
        self.references = tuple(f.name for f in body if f.name in self.visible and _may_point_outside(f))
        self.admitted_roles = definition.admitted_roles
        self.mode: Literal["all", "directory", "rewrite"] = _mode(body, self.visible, masked=bool(self.masks))
        self._targets = {f.name: f.target or "" for f in body if f.kind is Kind.REF}
        self._many = frozenset(f.name for f in body if f.many)
        self._required = frozenset(f.name for f in body if f.rest12 is Need.REQUIRED)
        self._components = {
            f.name: _Component(CATALOGUE[f.component or ""], self.visible) for f in body if f.kind is Kind.COMPONENT
        }
        self._special = self._targets.keys() | self._components.keys() | self.masks.keys()
        self.private = any(f.privacy is not Privacy.DIRECTORY and f.name in self.visible for f in body)
        #: Members inside components that must go, as the document spells them. Inside a JSON string a quote is escaped,
        #: so no value looks like this; a key in metadata may, and is then only slower.
        self.dangling = tuple(inner for c in self._components.values() for inner in c.dangling)
        directory = [f for f in body if f.privacy is Privacy.DIRECTORY]
        rest = [f for f in body if f.privacy is not Privacy.DIRECTORY] if self.private else []
        special = {*self.masks, *(n for n, c in self._components.items() if c.dangling)}
        self._form = Form([*directory, *rest], self.visible, {*special, *self.references})
        #: Of documents that are not trimmed.
        initials = [name for name, mask in self.masks.items() if mask is Mask.INITIAL]
        self._whole_form = Form([*directory, *rest], self.visible, special, initials)
        outward = [f for f in body if f.name in self.references]
        self._by_role = self.admitted_roles is not None and "roles" in self.references
        self._outward = [(f.name, f',"{f.name}":'.encode(), f, self._target(f.name)) for f in outward]
        self._hanging = [(name.encode(), re.compile(rf',{name}"[^"]*+"'.encode())) for name in self.dangling]
        #: Bits of fields (bit i: the i-th of ``Entity.body``) that change the projection, and of those that may.
        self.plain_bits, self.reference_bits, self.check_bits = self._bits(CATALOGUE[entity].body)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Projection) and self.policy == other.policy

    def __hash__(self) -> int:
        return hash(self.policy)

    @property
    def policy(self) -> tuple[object, ...]:
        """What makes two projections equal, in an order of its own."""
        admitted = self.admitted_roles if "roles" in self.references else None
        roles = None if admitted is None else tuple(sorted(admitted))
        return self.entity, tuple(sorted(self.visible)), tuple(sorted(self.masks.items())), roles

    def _bits(self, body: Sequence[Field]) -> tuple[int, int, int]:
        plain = references = check = 0
        for number, field in enumerate(body):
            if field.name not in self.visible:
                continue
            if field.name in self.masks or field.name in self._components:
                check |= 1 << number
            elif field.name in self.references:
                references |= 1 << number
            else:
                plain |= 1 << number
        return plain, references, check

    def render(
        self, sourced_id: str, modified: str, doc: str, doc_private: str, *,
        refs: Refs | None = None, sees: Sees | None = None, fields: frozenset[str] | None = None,
    ) -> str:  # fmt: skip
        """The JSON object of an active record, with the base URL's mark in its hrefs.

        ``sourced_id`` and ``modified`` (UTC, three digits of a second, ``Z``) need no escaping. A trimmed record comes
        with ``refs``, the rids of its references in the order of the document for each of ``references``, and with
        ``sees``; references it does not see are left out. ``fields`` selects members, base fields included.

        Raises ``KeyError`` or ``ValueError`` where ``refs`` do not match the document: nothing unfiltered is returned.
        """
        if fields is not None:
            head = _head(sourced_id, "active", modified, fields)
            return "{" + (head + self.members(doc, doc_private, refs=refs, sees=sees, fields=fields))[1:] + "}"
        return (
            f'{{"sourcedId":"{sourced_id}","status":"active","dateLastModified":"{modified}"'
            f"{self.members(doc, doc_private, refs=refs, sees=sees)}}}"
        )

    def members(
        self, doc: str, doc_private: str, *, refs: Refs | None = None, sees: Sees | None = None,
        fields: frozenset[str] | None = None,
    ) -> str:  # fmt: skip
        """The members after the base fields, as text that is empty or starts with a comma.

        Two versions of a record look the same to the app exactly when these texts are equal.
        """
        doc = spelled_out(doc) if self._compact else doc
        if fields is None and self.mode != "rewrite" and not any(member in doc for member in self.dangling):
            whole = doc + doc_private if self.mode == "all" else doc
            if refs is None:
                return whole
            expected = [refs.get(name, ()) for name in self.references]
            shown = None if sees is None else self.trimmed(whole.encode(), 0, expected, sees)
            if shown is not None:
                return shown.decode()
        text = doc + doc_private if self.private else doc
        if fields is None:
            form = self._whole_form if refs is None else self._form
            cut = form.cut(text, lambda name, member: self._changed(name, member, refs, sees))
            if cut is not None:
                return cut
        return self._rewritten(text, refs, sees, self.visible if fields is None else self.visible & fields)

    def trimmed(self, record: bytes, start: int, refs: Sequence[Sequence[int]], sees: Sees) -> bytes | None:
        """Like ``members`` for a trimmed record, which has ``start`` bytes before its document; all is in UTF-8.

        ``refs``: of each of ``references``, as ``render`` has them. The members are looked for by their names, which
        costs less than going through all. None for an unusual record, which ``members`` knows what to do with.
        """
        if self.mode == "rewrite" or self._by_role or b"\\" in record:
            return None
        for inner, _ in self._hanging:
            if inner in record:
                return None
        for (name, begin, field, target), rids in zip(self._outward, refs, strict=True):
            place = record.find(begin, start)
            if place < 0:
                continue
            end = end_of(field, record, place, place + len(begin))
            if not rids or end < 0 or record.find(begin, end) >= 0:  # metadata may have such a name
                return None
            seen = [sees(target, rid) for rid in rids]
            left = self._left(name, record[place:end], seen)
            if left is None:
                return None
            if False in seen:
                record = record[:place] + left + record[end:]
        return record

    def all_members(self, records: Sequence[bytes], start: int) -> list[bytes]:
        """Like ``members`` for many records that are not trimmed, which have ``start`` bytes before their documents.

        These stay before what shows; all is in UTF-8.
        """
        if self.mode == "rewrite":
            made = self._whole_form.cut_all(records, start, self._changed_bytes)
        else:
            made = [None if any(name in record for name, _ in self._hanging) else record for record in records]
        return [
            record[:start] + self.members(record[start:].decode(), "").encode() if shown is None else shown
            for record, shown in zip(records, made, strict=True)
        ]

    def references_in(self, doc: str, doc_private: str) -> dict[str, list[str]]:
        """The sourcedIds that a document refers to, in its order, for each of ``references`` that it has."""
        record = _parse(spelled_out(doc) + doc_private)
        found = {}
        for name in self.references:
            if name in record:
                values = record[name] if name in self._many else [record[name]]
                member = self._components[name].scoped if name in self._components else None
                found[name] = [(value[member] if member else value)["sourcedId"] for value in values]
        return found

    def _changed(self, name: str, member: str, refs: Refs | None, sees: Sees | None) -> str:
        """What shows of one special member, as text."""
        if name in self.masks:
            return self._masked(name, member)
        component = self._components.get(name)
        if component is None or not any(inner in member for inner in component.dangling):
            if refs is None or name not in self.references:
                return member
            if sees is not None and (component is None or self.admitted_roles is None):
                target = self._target(name)
                left = self._left(name, member.encode(), [sees(target, rid) for rid in refs[name]])
                if left is not None:
                    return left.decode()
        return self._rewritten(member, refs, sees, self.visible)

    def _masked(self, name: str, member: str) -> str:
        start, end = len(f',"{name}":"'), -len('"')
        value = orjson.loads(member[start - 1 :]) if "\\" in member else member[start:end]
        left = masked(self.masks[name], value, required=name in self._required)
        return f'{member[:start]}{left}"' if left else ""

    def _changed_bytes(self, name: str, member: bytes) -> bytes:
        """Like ``_changed`` in a record that is not trimmed, in UTF-8 without a backslash."""
        if name in self.masks:
            return self._masked(name, member.decode()).encode()
        for inner, pattern in self._hanging:
            if inner in member:  # a quote before its name begins a key: other strings have been closed before it
                member = pattern.sub(b"", member)
                if inner in member:
                    return self._changed(name, member.decode(), None, None).encode()
        return member

    def _target(self, name: str) -> str:
        """The entity of which a reference, or the deciding one of a component, names records."""
        return self._targets[name] if name in self._targets else self._components[name].target

    def _left(self, name: str, member: bytes, seen: Sequence[bool]) -> bytes | None:
        """What is seen of the references or entries of a member; None where its text does not tell."""
        if False not in seen:
            return member if member.count(_ID_KEY) == len(seen) else None
        if name not in self._many:
            return b"" if len(seen) == 1 else None
        start, end = len(f',"{name}":[{{'), -len("}]")
        # References that the hub writes have only ids, which are its own. Entries may have lists of objects one day.
        entries = member[start:end].split(_NEXT)
        if len(entries) != len(seen):
            return None
        left = [entry for entry, kept in zip(entries, seen, strict=True) if kept]
        return member[:start] + _NEXT.join(left) + member[end:] if left else b""

    def _rewritten(self, text: str, refs: Refs | None, sees: Sees | None, shown: frozenset[str]) -> str:
        """The members of ``text`` that show, parsed and dumped."""
        kept = {}
        for name, value in _parse(text).items():
            if name not in shown:
                continue
            if name not in self._special:
                kept[name] = value
            elif left := self._shown(name, value, refs, sees):
                kept[name] = left
        return "," + orjson.dumps(kept)[1:-1].decode().replace(_DEL, _DEL_ESCAPED) if kept else ""

    def _shown(self, name: str, value: Any, refs: Refs | None, sees: Sees | None) -> Any:
        """A reference, component or masked value as it shows; ``None`` or empty where nothing is left."""
        if name in self.masks:
            return masked(self.masks[name], value, required=name in self._required)
        values = value if name in self._many else [value]
        if refs is not None and name in self.references:
            values = self._within(name, values, refs[name], sees)
        if name in self._components:
            return [self._components[name].shown_entry(entry) for entry in values]
        fragments = [_reference(entry) for entry in values]
        return fragments if name in self._many else next(iter(fragments), None)

    def _within(self, name: str, values: list[Any], rids: Sequence[int], sees: Sees | None) -> list[Any]:
        if sees is None:
            raise ValueError("references cannot be filtered without knowing what the view sees")
        if name in self._components:
            target, admitted = self._components[name].target, self.admitted_roles
            return [
                entry
                for entry, rid in zip(values, rids, strict=True)
                if sees(target, rid) and (admitted is None or entry["role"] in admitted)
            ]
        target = self._targets[name]
        return [entry for entry, rid in zip(values, rids, strict=True) if sees(target, rid)]


class _Component:
    """Nested entries of a record: the reference that decides whether one shows, and members that never do."""

    def __init__(self, component: Entity, visible: frozenset[str]) -> None:
        scoped = [f for f in component.body if f.kind is Kind.REF and f.target in _ENTITIES]
        self.scoped = scoped[0].name if scoped else None
        self.target = (scoped[0].target if scoped else None) or ""
        # A role names a profile of the same user; without the profiles it would point to nothing.
        self.hidden = frozenset(
            f.name
            for f in component.body
            if f.kind is Kind.REF and f.target not in _ENTITIES and f.target not in visible
        )
        self.dangling = tuple(f'"{name}":' for name in self.hidden if component.name in visible)

    def shown_entry(self, entry: dict[str, Any]) -> dict[str, Any]:
        kept = {name: value for name, value in entry.items() if name not in self.hidden}
        if self.scoped is not None and self.scoped in kept:
            kept[self.scoped] = _reference(kept[self.scoped])
        return kept


def tombstone(sourced_id: str, modified: str, *, fields: frozenset[str] | None = None) -> str:
    """The JSON object of a record that left the view: nothing but the base fields, of them those in ``fields``."""
    return "{" + _head(sourced_id, "tobedeleted", modified, fields)[1:] + "}"


def pointing(text: str, sourced_id: str) -> str:
    """A record that left the view, with the reference to the user who stands for the person now."""
    before, _, after = reference(_USERS.name)
    to = before + referred(sourced_id) + after.removeprefix('"')
    comma = "," if len(text) > len("{}") else ""
    return f'{text[:-1]}{comma}"metadata":{{"{MERGED_INTO}":{to}}}}}'


_ENTITIES = frozenset(e.name for e in CATALOGUE.entities)
_USERS = CATALOGUE["users"]


def _head(sourced_id: str, status: str, modified: str, fields: frozenset[str] | None) -> str:
    base = (("sourcedId", sourced_id), ("status", status), ("dateLastModified", modified))
    return "".join(f',"{name}":"{value}"' for name, value in base if fields is None or name in fields)


#: What stands in an active record before its sourcedId, its date and its document, and behind that.
AROUND: Final = ("{" + _head("\0", "active", "\0", None)[1:] + "\0}").split("\0")


def _shows(field: Field, rule: FieldRule, definition: GrantDefinition) -> bool:
    if field.rest12 is Need.REQUIRED or field.name in rule.masks:
        return True
    if field.name in rule.hide:
        return False
    return field.privacy is Privacy.DIRECTORY or field.privacy in definition.privacy or field.name in rule.show


def _may_point_outside(field: Field) -> bool:
    """Whether the reference is filtered: required single ones are inside the view by closure."""
    if field.kind is Kind.COMPONENT:
        return any(f.kind is Kind.REF and f.target in _ENTITIES for f in CATALOGUE[field.name].body)
    return field.kind is Kind.REF and (field.many or field.rest12 is not Need.REQUIRED)


def _mode(body: Sequence[Field], visible: frozenset[str], *, masked: bool) -> Literal["all", "directory", "rewrite"]:
    if masked:
        return "rewrite"
    if len(visible) == len(body):
        return "all"
    directory = {f.name for f in body if f.privacy is Privacy.DIRECTORY}
    return "directory" if visible == directory else "rewrite"


def _parse(members: str) -> dict[str, Any]:
    record: dict[str, Any] = orjson.loads("{" + escaped_bases(members[1:]) + "}")
    return record


def _reference(value: dict[str, Any]) -> orjson.Fragment | dict[str, Any]:
    """A reference object whose href starts with the raw byte again, to be dumped verbatim."""
    text = orjson.dumps({"href": value["href"], **value})
    start = text[: len('{"href":"\\u0000')]
    raw = _HREF_STARTS.get(start)
    return value if raw is None else orjson.Fragment(raw + text[len(start) :])


def masked(mask: Mask, value: str, *, required: bool) -> str | None:
    """A name by its first letter, a date by its year."""
    if mask is Mask.YEAR:
        return value[:4] + "-01-01"
    letter = value[:1] if value[:1].isalpha() else next((c for c in value if c.isalpha()), None)
    if letter is None:
        return NO_LETTER if required else None
    return letter.upper()[:1]  # the capital of some letters is two
