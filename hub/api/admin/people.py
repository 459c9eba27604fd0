"""Who is one person: records that are the same or may be, decisions about them, and where old ids lead."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field

from hub.api.admin.call import Call, missing
from hub.api.admin.paging import Page, Paging, cursor, place
from hub.api.admin.route import DISTRICT, STAFF, Route
from hub.api.admin.runs import Run
from hub.api.admin.shapes import Asked, Shown
from hub.errors import Code, HubError
from hub.store import columns, lives, matching, people
from hub.store.database import Transaction
from hub.store.people import USERS, Pair
from hub.sync import deciding
from hub.sync.deciding import Decided
from hub.sync.lives import values
from hub.sync.matching import Mode
from transforms.catalogue import CATALOGUE
from transforms.matching.people import plain

State = Literal["review", "unsure", "same", "different"]
_OF_PEOPLE = ("users", "demographics")


class MatchesQuery(Paging):
    """Which pairs of records."""

    state: State = Field(default="review", description="`review` waits for a decision; the others were decided.")


class Alike(Shown):
    """What people have decided of other pairs of which the same fields were alike in the same way."""

    same: int
    different: int


class Match(Shown):
    """Two users that are one person, are not, or may be."""

    records: list[UUID] = Field(description="Their sourcedIds, the older one first.")
    state: State
    tier: str = Field(description="Which rule found it; empty where a person named it.")
    score: float | None = Field(description="In bits; the more, the likelier the same.")
    model: str = Field(description="The version of the weights.")
    evidence: list[dict[str, Any]] = Field(description="What was compared and how alike it is; never a value.")
    because: list[str] = Field(description="The same in plain words.")
    decided_alike: Alike = Field(
        description="How many other pairs with the same evidence people have decided on, and how."
    )
    found_at: datetime
    proposed_by: str | None = Field(description="Who said first that they are the same; another's word is needed.")
    decided_at: datetime | None
    decided_by: str | None
    seconded_by: str | None


class MatchPage(Page[Match]):
    """Some pairs, by the age of their records."""


class Compared(Match):
    """A pair with what its records say."""

    values: list[dict[str, dict[str, Any]]] = Field(description="Of each record, by entity: users and demographics.")


class NewDecision(Asked):
    """Somebody's word about two records."""

    records: Annotated[list[UUID], Field(min_length=2, max_length=2, description="The sourcedIds of two users.")]
    decision: deciding.Decision = Field(
        description="`same` merges them into the older one; `different` keeps them apart for ever, or splits them; "
        "`unsure` leaves them."
    )
    dry_run: bool = Field(default=False, description="Only say what would change.")


class NewSplit(Asked):
    """How to split."""

    dry_run: bool = Field(default=False, description="Only say what would change.")


class Decision(Shown):
    """What came of a decision."""

    second_needed: bool = Field(description="Another person has to say the same: the two have many enrollments.")
    run: Run | None = Field(description="What carries it out; null where nothing has to change.")


class Matching(Asked):
    """How much the hub decides by itself about records that may be one person."""

    mode: Mode = Field(
        default=Mode.PROPOSE,
        description="`off`: nobody is compared; `propose`: whatever is found waits for a person; `merge`: what is sure "
        "is merged, the rest waits.",
    )
    email_domains: list[Annotated[str, Field(min_length=1, max_length=255)]] | None = Field(
        default=None, max_length=100,
        description="Domains of which an address belongs to one person in any role. Without them an address counts "
        "within one role, unless a mail provider gave it out.",
    )  # fmt: skip


class CrosswalkQuery(Asked):
    """An id that somebody knows."""

    sourced_id: UUID | None = Field(default=None, description="An id of the hub, of now or of earlier.")
    key: str | None = Field(default=None, max_length=255, description="An id that a source uses, or used.")
    source: UUID | None = Field(default=None, description="With `key`: of this source alone.")


class Standing(Shown):
    """What one source calls a person."""

    source_id: UUID
    key: str
    active: bool = Field(description="Whether the source says so still.")
    home: UUID = Field(description="The sourcedId that this led to by itself: a split gives it back.")


class Person(Shown):
    """One person with all ids."""

    sourced_id: UUID = Field(description="The id of now.")
    active: bool
    aliases: list[UUID] = Field(description="Ids of earlier, which lead to it.")
    sources: list[Standing]


class Persons(Shown):
    """The people whom an id may mean: several where sources use the same id for different people."""

    items: list[Person]


async def listing(call: Call, query: MatchesQuery) -> MatchPage:
    """The pairs in a state."""
    async with call.reading() as tx:
        found = await people.matches(tx, [query.state], after=_place(query.after), limit=query.limit + 1)
        names = await people.named(tx, {rid for one in found for rid in (one.left_rid, one.right_rid)})
        alike = await people.decided_alike(tx, [(one.left_rid, one.right_rid) for one in found])
    items = [_shown(one, names, alike) for one in found[: query.limit]]
    last = found[query.limit - 1] if len(found) > query.limit else None
    return MatchPage(items=items, next=cursor(f"{last.left_rid},{last.right_rid}") if last else None)


async def compared(call: Call) -> Compared:
    """A pair side by side."""
    async with call.reading() as tx:
        pair = await _pair(tx, call.id("left"), call.id("right"))
        found = await people.match(tx, pair)
        if found is None:
            raise missing()
        names = await people.named(tx, pair)
        alike = await people.decided_alike(tx, [pair])
        said = [await _values(tx, names[rid][0]) for rid in pair]
    return Compared(**_shown(found, names, alike).model_dump(), values=said)


async def decide(call: Call, body: NewDecision) -> Decision:
    """Says whether two records are one person."""
    async with call.writing() as writing:
        left, right = body.records
        made = await deciding.decide(
            writing.tx, (left, right), body.decision, by=call.actor_name, dry_run=body.dry_run
        )  # fmt: skip
        writing.note(f"user/{left}", other=str(right), decision=body.decision, **_noted(made, body.dry_run))
    return await _queued(call, made)


async def split(call: Call, body: NewSplit) -> Decision:
    """Takes a record out of the person it was merged with."""
    user = call.id("user")
    async with call.writing() as writing:
        made = await deciding.split(writing.tx, user, by=call.actor_name, dry_run=body.dry_run)
        writing.note(f"user/{user}", **_noted(made, body.dry_run))
    return await _queued(call, made)


async def crosswalk(call: Call, query: CrosswalkQuery) -> Persons:
    """Whom an id means now, and by which other ids the person is known."""
    if (query.sourced_id is None) == (query.key is None):
        raise HubError(Code.INVALID_REQUEST, "Give either `sourced_id` or `key`.")
    async with call.reading() as tx:
        if query.sourced_id is not None:
            found = list((await columns.rids_of(tx, USERS, [str(query.sourced_id)])).values())
        else:
            found = await people.by_key(tx, query.key or "", query.source)
        led = await people.into(tx, found)
        return Persons(items=[await _person(tx, rid) for rid in sorted({led.get(rid, rid) for rid in found})])


async def _person(tx: Transaction, rid: int) -> Person:
    aliases = await people.aliases_of(tx, [rid])
    names = await people.named(tx, [rid, *aliases])
    sources = [Standing.model_validate(one) for one in await people.standing(tx, rid)]
    return Person(
        sourced_id=names[rid][0], active=names[rid][1], aliases=[names[one][0] for one in aliases], sources=sources
    )


async def _values(tx: Transaction, sourced_id: UUID) -> dict[str, dict[str, Any]]:
    found = {}
    for name in _OF_PEOPLE:
        row = await lives.now(tx, CATALOGUE[name], sourced_id)
        if row is not None:
            found[name] = values(row)
    return found


async def _pair(tx: Transaction, left: UUID, right: UUID) -> Pair:
    found = await columns.rids_of(tx, USERS, [str(left), str(right)])
    rids = sorted(found.values())
    if len(rids) != 2:
        raise missing()
    return rids[0], rids[1]


def _place(after: str | None) -> Pair | None:
    text = place(after)
    if text is None:
        return None
    parts = text.split(",")
    if len(parts) != 2 or not all(part.isdecimal() and len(part) < 10 for part in parts):
        raise HubError(Code.INVALID_REQUEST, "`after` is no place in this list.")
    return int(parts[0]), int(parts[1])


def _shown(
    one: people.Match, names: dict[int, tuple[UUID, bool]], alike: dict[Pair, people.Alike]
) -> Match:  # fmt: skip
    pair = one.left_rid, one.right_rid
    made = {"records", "because", "decided_alike"}
    shared = {name: getattr(one, name) for name in Match.model_fields if name not in made}
    before = Alike.model_validate(alike.get(pair, people.Alike()))
    because = plain(json.dumps(one.evidence))
    return Match(records=[names[rid][0] for rid in pair], because=because, decided_alike=before, **shared)


def _noted(made: Decided, dry_run: bool) -> dict[str, Any]:
    return {"run": str(made.run.run_id) if made.run else None, "second_needed": made.second, "dry_run": dry_run}


async def _queued(call: Call, made: Decided) -> Decision:
    if made.run is not None:
        await call.context.wake("sync", call.district_id)
    return Decision(second_needed=made.second, run=Run.model_validate(made.run) if made.run else None)


async def matching_policy(call: Call) -> Matching:
    """How much the hub decides by itself."""
    async with call.reading() as tx:
        return Matching.model_validate(await matching.policy(tx))


async def set_matching(call: Call, body: Matching) -> Matching:
    """Sets how much the hub decides by itself; all people are compared anew."""
    async with call.writing() as writing:
        await matching.set_policy(writing.tx, body.model_dump(mode="json"))
        writing.note(f"district/{call.district_id}", mode=body.mode)
    return body


async def exempt(call: Call) -> None:
    """Has a person compared with nobody."""
    await _exempt(call, by=call.actor_name)


async def include(call: Call) -> None:
    """Has a person compared with others again."""
    await _exempt(call, by=None)


async def _exempt(call: Call, *, by: str | None) -> None:
    user = call.id("user")
    async with call.writing() as writing:
        found = await columns.rids_of(writing.tx, USERS, [str(user)])
        if not found:
            raise missing()
        await matching.set_exempt(writing.tx, found[str(user)], by=by)
        writing.note(f"user/{user}")


ROUTES = (
    Route("GET", "/districts/{district}/matches", listing, "Records that are or may be one person", roles=DISTRICT,
          query=MatchesQuery, answer=MatchPage),
    Route("GET", "/districts/{district}/matches/{left}/{right}", compared, "Two such records side by side",
          roles=DISTRICT, answer=Compared),
    Route("POST", "/districts/{district}/matches", decide, "Say whether two records are one person", roles=DISTRICT,
          body=NewDecision, answer=Decision, status=202, action="match.decide", errors=(Code.CONFLICT,)),
    Route("POST", "/districts/{district}/users/{user}/split", split, "Split what was merged", roles=DISTRICT,
          body=NewSplit, answer=Decision, status=202, action="user.split", errors=(Code.CONFLICT,)),
    Route("GET", "/districts/{district}/matching", matching_policy, "How much the hub decides by itself", roles=STAFF,
          answer=Matching),
    Route("PUT", "/districts/{district}/matching", set_matching, "Set how much the hub decides by itself", roles=STAFF,
          body=Matching, answer=Matching, action="matching.set"),
    Route("PUT", "/districts/{district}/users/{user}/match-exemption", exempt, "Have a person compared with nobody",
          roles=DISTRICT, action="match.exempt"),
    Route("DELETE", "/districts/{district}/users/{user}/match-exemption", include,
          "Have a person compared with others again", roles=DISTRICT, action="match.include"),
    Route("GET", "/districts/{district}/crosswalk", crosswalk, "Whom an id means now", roles=DISTRICT,
          query=CrosswalkQuery, answer=Persons),
)  # fmt: skip
