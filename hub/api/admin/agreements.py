"""Agreements of two districts, and people of one's own of whom the other one has a record (docs/agreements.md)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AwareDatetime, Field

from hub.api.admin.call import Call, missing
from hub.api.admin.paging import Page, Paging, cursor, place, unknown
from hub.api.admin.route import DISTRICT, Route
from hub.api.admin.shapes import Asked, Shown
from hub.crypto import load_key
from hub.errors import Code, HubError
from hub.store import agreements as store
from hub.store import districts
from hub.store.database import Transaction
from hub.sync import agreements as acts

Who = Literal["student", "staff"]
Schools = Annotated[
    list[UUID] | None,
    Field(max_length=1000, description="The sourcedIds of the schools whose people count; null: all. The other "
          "district is not told."),
]  # fmt: skip
_TOGETHER = (Code.CONFLICT,)


class NewAgreement(Asked):
    """What is proposed to another district. Both ends have the same terms; only `schools` is each end's own."""

    partner: UUID = Field(description="The other district's id, as its staff tells you.")
    roles: Annotated[list[Who], Field(min_length=1, max_length=2)] = Field(
        default=["student"], description="Whose records are looked for."
    )
    identifiers: Annotated[list[Annotated[str, Field(min_length=1, max_length=100)]], Field(max_length=10)] = Field(
        default=[],
        description="Types of `userIds` (or `userMasterIdentifier`) that mean the same in both districts, such as the "
        "state's. Without one, names, birth date and one thing more have to be equal.",
    )
    remember_days: Annotated[int, Field(ge=0, le=730)] = Field(
        default=365, description="How long tokens of people who left stay, so that they are found where they went."
    )
    most_share: Annotated[int, Field(ge=1, le=100)] = Field(
        default=10,
        description="Per cent of a district's people that may be found within 30 days (50 people always): more ends "
        "the agreement.",
    )
    until: AwareDatetime | None = Field(default=None, description="When it ends by itself.")
    schools: Schools = None


class Acceptance(Asked):
    """How a proposal is accepted."""

    schools: Schools = None


class OwnSchools(Asked):
    """Whose people of this end count."""

    schools: Schools


class Agreement(Shown):
    """An agreement or a proposal, as one of its ends sees it."""

    agreement_id: UUID
    partner_id: UUID = Field(description="The other district.")
    partner_name: str | None = Field(description="Its name; null as long as it has not accepted.")
    proposed_by_us: bool
    state: store.State
    roles: list[str]
    identifiers: list[str]
    remember_days: int
    most_share: int
    until: datetime | None
    schools: list[UUID] | None = Field(description="Of this end; null: all.")
    proposed_at: datetime
    accepted_at: datetime | None
    looked_at: datetime | None = Field(description="When this end's people were last looked through.")
    told: int = Field(
        description="Of how many people the other district is told that this one has a record, or was within 30 days: "
        "0 below ten, and in tens above. Never of whom."
    )
    ended_at: datetime | None
    ended_by: Literal["us", "partner", "hub"] | None
    ended_because: str | None = Field(
        description="What the hub ended it for: `until`, `not accepted`, `too many found`."
    )


class Agreements(Shown):
    """All agreements and proposals of a district, newest first."""

    items: list[Agreement]


class TransfersQuery(Paging):
    """Which people."""

    asked: bool = Field(default=False, description="Those of whom somebody has asked, in place of those who wait.")


class Transfer(Shown):
    """One of the district's own people: a record exists in the partner's district. Ask there."""

    sourced_id: UUID = Field(description="The person's sourcedId in this district.")
    agreement_id: UUID
    partner_id: UUID
    partner_name: str
    found_at: datetime
    asked_at: datetime | None
    asked_by: str | None


class TransferPage(Page[Transfer]):
    """Some of them, oldest first."""


async def propose(call: Call, body: NewAgreement) -> Agreement:
    """Proposes an agreement; nothing happens until the other district accepts it."""
    if body.until is not None and body.until <= call.context.clock.now():
        raise HubError(Code.INVALID_REQUEST, "`until` is over already.")
    terms = store.Terms(**body.model_dump(exclude={"partner", "schools"}))
    async with call.writing() as writing:
        made = await acts.propose(writing.tx, body.partner, terms, body.schools)
        writing.note(f"agreement/{made.agreement_id}", partner=str(body.partner))
        return await _shown(call, writing.tx, made)


async def listing(call: Call) -> Agreements:
    """All agreements and proposals."""
    async with call.reading() as tx:
        return Agreements(items=[await _shown(call, tx, one) for one in await store.listing(tx)])


async def get(call: Call) -> Agreement:
    """One agreement or proposal."""
    async with call.reading() as tx:
        return await _shown(call, tx, await store.get(tx, call.id("agreement")))


async def accept(call: Call, body: Acceptance) -> Agreement:
    """Accepts what another district has proposed."""
    which = call.id("agreement")
    key = await _key(call, which)
    async with call.writing() as writing:
        made = await acts.accept(writing.tx, which, body.schools, key)
        writing.note(f"agreement/{which}", partner=str(made.partner_id))
        return await _shown(call, writing.tx, made)


async def end(call: Call) -> Agreement:
    """Ends an agreement, takes a proposal back or declines it: its key, tokens and findings go at once."""
    which = call.id("agreement")
    async with call.writing() as writing:
        made = await acts.end(writing.tx, which)
        writing.note(f"agreement/{which}", partner=str(made.partner_id))
        return await _shown(call, writing.tx, made)


async def rotate(call: Call) -> Agreement:
    """Gives an agreement another key: all its tokens go and are made anew."""
    which = call.id("agreement")
    key = await _key(call, which, "active")
    async with call.writing() as writing:
        made = await acts.rotate(writing.tx, which, key)
        writing.note(f"agreement/{which}", partner=str(made.partner_id))
        return await _shown(call, writing.tx, made)


async def set_schools(call: Call, body: OwnSchools) -> Agreement:
    """Says whose people of this end count."""
    which = call.id("agreement")
    async with call.writing() as writing:
        made = await acts.set_schools(writing.tx, which, body.schools)
        writing.note(f"agreement/{which}", schools=None if body.schools is None else len(body.schools))
        return await _shown(call, writing.tx, made)


async def transfers(call: Call, query: TransfersQuery) -> TransferPage:
    """People of one's own of whom a partner has a record. Each look is written down."""
    async with call.writing() as writing:
        found = await store.findings(
            writing.tx, asked=query.asked, after=_place(query.after), limit=query.limit + 1
        )  # fmt: skip
        writing.note(f"district/{call.district_id}", shown=min(len(found), query.limit))
        names = {one.partner_id: await _name(writing.tx, one.partner_id) for one in found}
    items = [
        Transfer(partner_name=names[one.partner_id], **{n: getattr(one, n) for n in _TRANSFER})
        for one in found[: query.limit]
    ]
    last = items[-1] if len(found) > query.limit else None
    return TransferPage(items=items, next=cursor(f"{last.found_at.isoformat()} {last.sourced_id}") if last else None)


async def asked(call: Call) -> None:
    """Notes that the partner was asked about a person."""
    await _asked(call, call.actor_name)


async def not_asked(call: Call) -> None:
    """Takes that back."""
    await _asked(call, None)


async def _asked(call: Call, by: str | None) -> None:
    async with call.writing() as writing:
        if not await store.asked(writing.tx, call.id("agreement"), call.id("user"), by=by):
            raise missing()
        writing.note(f"user/{call.id('user')}", agreement=str(call.id("agreement")))


_TRANSFER = tuple(name for name in Transfer.model_fields if name != "partner_name")
_MADE_HERE = ("partner_name", "proposed_by_us", "told", "ended_by")


async def _key(call: Call, which: UUID, state: store.State = "proposed") -> bytes:
    """A key for an agreement that is there: for none else one is made."""
    async with call.reading() as tx:
        found = await store.get(tx, which)
    if found.state != state:
        raise HubError(Code.CONFLICT, f"The agreement is {found.state}, not {state}.")
    keys = await asyncio.to_thread(load_key, call.context.settings)
    return await acts.new_key(call.context.db, keys, which)


async def _shown(call: Call, tx: Transaction, one: store.Agreement) -> Agreement:
    ours = one.proposer == call.district_id
    named = not ours or one.accepted_at is not None
    ends: Mapping[UUID | None, Literal["us", "partner"]] = {call.district_id: "us", one.partner_id: "partner"}
    shared = {name: getattr(one, name) for name in Agreement.model_fields if name not in _MADE_HERE}
    return Agreement(
        partner_name=await _name(tx, one.partner_id) if named else None, proposed_by_us=ours,
        told=await store.told(tx, one.agreement_id) if one.state == "active" else 0,
        ended_by=None if one.ended_by is None else ends.get(one.ended_by, "hub"), **shared,
    )  # fmt: skip


async def _name(tx: Transaction, district_id: UUID) -> str:
    return (await districts.get(tx, district_id)).name


def _place(after: str | None) -> tuple[datetime, UUID] | None:
    text = place(after)
    if text is None:
        return None
    try:
        moment, sourced_id = text.split(" ")
        return datetime.fromisoformat(moment), UUID(sourced_id)
    except ValueError as error:
        raise unknown() from error


_ONE = "/districts/{district}/agreements/{agreement}"
ROUTES = (
    Route("GET", "/districts/{district}/agreements", listing, "Agreements with other districts", roles=DISTRICT,
          answer=Agreements),
    Route("POST", "/districts/{district}/agreements", propose, "Propose an agreement to another district",
          roles=DISTRICT, body=NewAgreement, answer=Agreement, status=201, action="agreement.propose",
          errors=_TOGETHER),
    Route("GET", _ONE, get, "One agreement", roles=DISTRICT, answer=Agreement),
    Route("POST", _ONE + "/accept", accept, "Accept a proposal", roles=DISTRICT, body=Acceptance, answer=Agreement,
          action="agreement.accept", errors=_TOGETHER),
    Route("POST", _ONE + "/end", end, "End an agreement", roles=DISTRICT, answer=Agreement, action="agreement.end",
          errors=_TOGETHER),
    Route("POST", _ONE + "/rotate", rotate, "Give an agreement another key", roles=DISTRICT, answer=Agreement,
          action="agreement.rotate", errors=_TOGETHER),
    Route("PUT", _ONE + "/schools", set_schools, "Say whose people of this end count", roles=DISTRICT,
          body=OwnSchools, answer=Agreement, action="agreement.schools", errors=_TOGETHER),
    Route("GET", "/districts/{district}/transfers", transfers, "Own people of whom a partner has a record",
          roles=DISTRICT, query=TransfersQuery, answer=TransferPage, action="agreement.transfers", writes=True),
    Route("PUT", _ONE + "/transfers/{user}/asked", asked, "Note that the partner was asked", roles=DISTRICT,
          action="agreement.asked"),
    Route("DELETE", _ONE + "/transfers/{user}/asked", not_asked, "Take that back", roles=DISTRICT,
          action="agreement.not_asked"),
)  # fmt: skip
