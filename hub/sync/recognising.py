"""People whom a source brings for the first time, recognised among those of other sources before a record is made.

For sources with the link ``person``, and by one identifier alone wherever the district has the hub merge what is sure:
no record is made that would be merged a moment later. Only what is sure is joined (transforms.matching, as after each
change); the rest becomes records of its own, and what may be the same waits for a person. A source that takes the place
of another one, with ids of its own, so finds everybody again, and apps see no double. The record that would have been
made is kept as an ended one that nobody has seen, so that a split has one to give back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from uuid import UUID

import polars as pl

from connectors.protocol import Package
from hub.store import districts, matching, people
from hub.store.database import Transaction
from hub.store.people import HUB, USERS
from hub.sync import compared, minting
from hub.sync.matching import MOST_CHANGED, Mode, policy_of
from hub.sync.parties import PERSON, Parties
from hub.sync.prepared import RECOGNISED
from transforms.catalogue import CATALOGUE, Entity
from transforms.marks import as_list
from transforms.matching.people import KINDS, Policy, candidates, decide, frequencies, keys, normalised

_DEMOGRAPHICS = CATALOGUE["demographics"].csv_file
_BATCH = 1 << 30
#: The tier of pairs with one identifier, which says the same whoever else is compared, and its kind of key.
_BY_IDENTIFIER, _IDENTIFIER = "B", next(n for n, kind in enumerate(KINDS) if kind.name == "identifier")


async def recognised(
    tx: Transaction, parties: Parties, entity: Entity, created: pl.DataFrame, found: pl.DataFrame, spoken: pl.Series,
    indexes: Mapping[str, pl.DataFrame], package: Package,
) -> pl.DataFrame:  # fmt: skip
    """Who of ``created`` (canonical rows that are new to the source) others have brought already (RECOGNISED).

    ``found``: key and rid of who was recognised in another way; ``spoken``: rids of which the source speaks already;
    ``indexes``: of orgs, key and rid. Nobody, where the source has no link ``person`` and the district does not have
    the hub merge, or no other source brings people.
    """
    left = created.filter(~pl.col("key").is_in(as_list(found["key"])))
    if entity is not USERS or not left.height or parties.own is None:
        return nobody()
    settings, linked = await matching.policy(tx), PERSON in parties.links(entity)
    if not (linked or settings.get("mode") == Mode.MERGE):
        return nobody()
    source, orgs = str(parties.own.source_id), indexes["orgs"]
    mine = await asyncio.to_thread(lambda: _people(source, left, orgs, birth_dates(package)))
    others = None if linked else await _identified(tx, mine, spoken)
    theirs = await compared.people(tx, others)
    theirs = theirs.filter(~pl.col("rid").is_in(as_list(pl.concat([spoken, found["rid"]]))))
    if not theirs.height:
        return nobody()
    apart = await people.undecided_by_hub(tx)
    sure = await asyncio.to_thread(lambda: _recognised(mine, theirs, policy_of(settings), apart, linked=linked))
    numbered = left.select("key", right=pl.int_range(pl.len(), dtype=pl.UInt32))
    told = sure.join(numbered, on="right", how="inner", maintain_order="left").with_columns(rid="left")
    return told.select(pl.col(name).cast(kind) for name, kind in RECOGNISED.items())


async def _identified(tx: Transaction, mine: pl.DataFrame, spoken: pl.Series) -> list[int] | None:
    """The users of other sources who have an identifier of ``mine``, by the index; None: nobody knows, so all."""
    state = await matching.state(tx)
    if state.speaking - bool(spoken.len()) < 1:
        return []
    own = await asyncio.to_thread(lambda: _identifiers(normalised(mine)))
    if not own.height:
        return []
    if not state.indexed or mine.height > MOST_CHANGED * await matching.population(tx):
        return None
    shared = await matching.sharing(tx, own["hash"].unique().to_list(), KINDS[_IDENTIFIER].cap)
    return shared.filter(pl.col("kind") == _IDENTIFIER)["rid"].unique().sort().to_list()


def _identifiers(people: pl.DataFrame) -> pl.DataFrame:
    return keys(people).filter(pl.col("kind") == _IDENTIFIER)


def _recognised(
    created: pl.DataFrame, theirs: pl.DataFrame, policy: Policy, apart: Collection[people.Pair], *, linked: bool
) -> pl.DataFrame:
    """Whom of ``theirs`` (left, a rid) who of ``created`` (right, by number) surely is. Both are ``PERSON``."""
    first = int(theirs["rid"].max()) + 1  # type: ignore[arg-type]
    mine, known = normalised(created.with_columns(pl.col("rid") + first)), normalised(theirs)
    everyone = pl.concat([known, mine])
    keyed = keys if linked else _identifiers
    pairs = candidates(keyed(mine), keyed(known)).filter((pl.col("left") < first) & (pl.col("right") >= first))
    told = decide(
        everyone, pairs, population=everyone.height, policy=policy, frequencies=frequencies(everyone)
    ).frame  # fmt: skip
    sure = told.filter((pl.col("outcome") == "merge") & (pl.lit(linked) | (pl.col("tier") == _BY_IDENTIFIER)))
    sure = sure.sort("score", "left", "right", descending=[True, False, False])
    # Of whom two could be the same nobody is sure; of two that one could be neither.
    sure = sure.filter(pl.col("left").is_unique() & pl.col("right").is_unique())
    sure = sure.filter(~pl.col("left").is_in([rid for pair in apart for rid in pair]))
    return sure.with_columns(pl.col("right") - first)


def _people(source: str, users: pl.DataFrame, orgs: pl.DataFrame, born: pl.DataFrame) -> pl.DataFrame:
    """New users as ``PERSON``, by their numbers among them."""
    users = users.with_columns(rid=pl.int_range(pl.len(), dtype=pl.UInt32))
    roles = users.select("rid", key=pl.col("roles").list.eval(pl.element().struct.field("org"))).explode("key")
    schools = roles.join(orgs.select("key", school="rid"), on="key", how="inner").group_by("rid")
    whole = users.join(born, on="key", how="left").join(schools.agg(schools="school"), on="rid", how="left")
    whole = whole.with_columns(source=pl.lit(source), guardians=pl.lit(None, pl.List(pl.UInt32)))
    return compared.as_people(whole, no_match=pl.lit(value=False))


def birth_dates(package: Package) -> pl.DataFrame:
    """Key, birthDate and sex of a package's demographics: they come behind the users, and tell them apart."""
    schema = {"key": pl.String, "birthDate": pl.Date, "sex": pl.String}
    frames = [pl.DataFrame(schema=schema)]
    if _DEMOGRAPHICS in package.mode:
        for batch in package.batches(_DEMOGRAPHICS, _BATCH):
            there = [
                pl.col(name) if name in batch.frame.columns else pl.lit(None, pl.String).alias(name)
                for name in ("sourcedId", "birthDate", "sex")
            ]
            raw = batch.frame.select(there)
            frames.append(
                raw.select(
                    key=pl.col("sourcedId").str.strip_chars(),
                    birthDate=pl.col("birthDate").str.strip_chars().str.to_date("%Y-%m-%d", strict=False),
                    sex=pl.col("sex").str.strip_chars(),
                )
            )
    return pl.concat(frames).unique("key", keep="first", maintain_order=True)


def nobody() -> pl.DataFrame:
    """Who was recognised where nobody was."""
    return pl.DataFrame(schema=RECOGNISED)


async def keep(tx: Transaction, source: str, found: pl.DataFrame) -> None:
    """Keeps, for those who were recognised, the record that a split gives back, and why they were joined.

    Not for those whose words were withheld from the run: the source's next package recognises them again.
    """
    said = await people.speakers(tx, USERS, found["rid"].to_list())
    found = found.filter(pl.col("rid").is_in([rid for rid, sources in said.items() if UUID(source) in sources]))
    first = await districts.reserve_rids(tx, USERS.name, found.height)
    homes = list(range(first, first + found.height))
    position, _ = await districts.lock(tx)
    await people.make_homes(tx, source, homes, minting.mint(found.height).to_list(), found["rid"].to_list())
    await people.set_aliases(tx, dict(zip(homes, found["rid"], strict=True)), position)
    rows = found.with_columns(left="rid", right=pl.Series(homes, dtype=pl.UInt32))
    await matching.keep(tx, (), rows)
    await people.decide(tx, dict.fromkeys(zip(found["rid"].to_list(), homes, strict=True), "same"), by=HUB)
