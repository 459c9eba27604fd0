"""Ids that an app was shown, back to the hub's own, and the other way round: for whoever helps the app's developers.

Nobody else can do this for a grant with pseudonyms or a source's ids, so each look leaves a row in the audit log.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated

from pydantic import Field, StringConstraints

from hub import vault
from hub.api.admin.call import Call
from hub.api.admin.route import STAFF, Route
from hub.api.admin.shapes import Asked, Shown
from hub.crypto import load_key
from hub.identifiers import Identifiers, is_canonical
from hub.scope.personas import split
from hub.scope.pseudonyms import is_pseudonym
from hub.store import gradebook, named, shown_ids
from hub.store import grants as store
from hub.store.database import Transaction
from hub.store.people import USERS
from transforms.catalogue import CATALOGUE

MOST_IDS = 1_000
_Id = Annotated[str, StringConstraints(min_length=1, max_length=255)]


class Given(Asked):
    """Ids, as the app was shown them or as the hub has them."""

    identifiers: list[_Id] = Field(min_length=1, max_length=MOST_IDS)


class Identified(Shown):
    """One record that an id is of."""

    given: str
    entity: str
    sourced_id: str = Field(description="The hub's own id.")
    shown_id: str = Field(description="The id by which the app knows the record; without the role of a 1.1 persona.")


class Identifications(Shown):
    """The records that the ids are of, in the order of the ids; an id that is no record's has none."""

    items: list[Identified]


async def identify(call: Call, body: Given) -> Identifications:
    """Which records some ids are of, whether the app sees them now or not."""
    key = await asyncio.to_thread(load_key, call.context.settings)
    async with call.writing() as writing:
        grant = await store.get(writing.tx, call.id("grant"))
        await vault.to_open(writing.tx, key, grant.id_key)
        identifiers = Identifiers.of(grant, call.district_id, key)
        items = await _identified(writing.tx, identifiers, body.identifiers)
        writing.note(
            f"grant/{grant.grant_id}", app=str(grant.app_id), asked=len(body.identifiers), found=len(items)
        )  # fmt: skip
    return Identifications(items=items)


async def _identified(tx: Transaction, identifiers: Identifiers, given: Sequence[str]) -> list[Identified]:
    meant = {text: _canonical(identifiers, split(text)[0]) for text in given}
    entities = await named.entities_of(tx, [id_ for id_ in meant.values() if id_ is not None])
    found = [(text, entities[id_], id_) for text, id_ in meant.items() if id_ in entities]
    chosen = await gradebook.own_ids(
        tx, identifiers.app_id, [(entity, text) for entity in gradebook.WRITTEN for text in meant]
    )  # fmt: skip
    found += [(text, entity, id_) for (entity, text), id_ in chosen.items()]
    if identifiers.by_source is not None:
        asked = {(e.name, text): text for e in CATALOGUE.entities if e.rid_of is None for text in meant}
        asked |= {(USERS.name, split(text)[0]): text for text in meant}
        of_source = await shown_ids.meant(tx, identifiers.by_source, asked)
        found += [(asked[key], key[0], id_) for key, id_ in of_source.items()]
    shown = await identifiers.names(tx, [id_ for *_, id_ in found])
    order = {text: place for place, text in enumerate(meant)}
    return [
        Identified(given=text, entity=entity, sourced_id=id_, shown_id=shown.get(id_, id_))
        for text, entity, id_ in sorted(dict.fromkeys(found), key=lambda each: order[each[0]])
    ]


def _canonical(identifiers: Identifiers, text: str) -> str | None:
    """The canonical id that a text is, or is the pseudonym of."""
    if identifiers.pseudonyms is not None and is_pseudonym(text):
        return identifiers.pseudonyms.canonical([text])[0]
    return text if is_canonical(text) else None


ROUTES = (
    Route("POST", "/districts/{district}/grants/{grant}/identifiers", identify, "Find the records that ids are of",
          roles=STAFF, body=Given, answer=Identifications, action="grant.identify"),
)  # fmt: skip
