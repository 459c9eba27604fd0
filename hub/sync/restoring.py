"""The inverse of a change, field by field: a field that still has the value of the change gets its former one back."""

from __future__ import annotations

from collections.abc import Sequence

from hub.store.statement_history import Spoken, Word
from transforms.catalogue import Entity
from transforms.members import members_of, put_together

Documents = tuple[str, str]


def restored(
    entity: Entity, before: Documents, after: Documents, now: Documents
) -> tuple[list[str], Documents, list[str]]:
    """The fields that get back what they said, what the documents become, and the fields that were changed since."""
    was, became, says = (members_of(*documents) for documents in (before, after, now))
    fields, conflicts = [], []
    for each in entity.body:
        name = each.name
        if was.get(name) == became.get(name) or says.get(name) == was.get(name):
            continue
        if says.get(name) == became.get(name):
            fields.append(name)
            _put(says, name, was.get(name))
        else:
            conflicts.append(name)
    return fields, put_together(entity, says) if fields else now, conflicts


def _put(members: dict[str, str], name: str, value: str | None) -> None:
    if value is None:
        members.pop(name, None)
    else:
        members[name] = value


def reworded(entity: Entity, spoken: Spoken) -> tuple[Word | None, Sequence[str]]:
    """What a source says once a change of its words is undone, None for nothing, and fields that it changed since.

    A source that has begun to speak of a record, or has gone silent, and said something else since goes on with that.
    """
    before, after, now = spoken.before, spoken.after, spoken.now
    if _documents(now) == _documents(after):
        return before, ()
    if before is None or after is None or now is None:
        return now, ()
    fields, documents, conflicts = restored(entity, before.documents, after.documents, now.documents)
    return Word(now.at, *documents) if fields else now, conflicts


def _documents(word: Word | None) -> Documents | None:
    return None if word is None else word.documents
