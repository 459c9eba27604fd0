"""What makes pseudonyms vain: fields by which two apps recognise the same person whatever the ids are."""

from __future__ import annotations

from hub.scope.grants import GrantDefinition
from hub.scope.projection import Projection

#: Numbers, names of accounts and addresses that other systems have for the same people, and what may hold such.
JOINING: dict[str, tuple[str, ...]] = {
    "users": (
        "username", "userIds", "identifier", "email", "sms", "phone", "userMasterIdentifier", "userProfiles",
        "metadata",
    ),
    "demographics": ("metadata",),
    "enrollments": ("metadata",),
}  # fmt: skip


def joining(definition: GrantDefinition) -> list[tuple[str, str]]:
    """The fields of ``JOINING``, each with its entity, that a grant shows whole."""
    found = []
    for entity, names in JOINING.items():
        if entity in definition.entities:
            projection = Projection(definition, entity)
            found += [(entity, name) for name in names if name in projection.visible - projection.masks.keys()]
    return found
