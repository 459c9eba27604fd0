"""Taking changes out of a prepared difference: what a person did not release, and deletions in an additive window.

What is taken out is as if the source had not said it yet: the records stay as they are, what the source said of them
last stays noted, and the next run finds the same differences again. Nothing that stays may point to what is gone, so
what hangs together is withheld together (``closed``).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pyroaring import BitMap

from hub.store import differences
from hub.store.differences import Link
from hub.sync.job import Job
from hub.sync.prepared import Prepared
from transforms.catalogue import CATALOGUE

Record = tuple[str, int]  # entity and rid
#: Records that are nothing without these: they are withheld with them, whatever changes of either.
_BELONGS = {"enrollments": {"classes", "users"}, "demographics": {"users"}}


@dataclass
class Links:
    """What changed records point to: ``after`` as the run leaves them, ``before`` as they are.

    ``appears``: records that are not there before the run, or not active; ``deleted``: those that end with it.
    """

    before: dict[Record, Link] = field(default_factory=dict)
    after: dict[Record, Link] = field(default_factory=dict)
    appears: set[Record] = field(default_factory=set)
    deleted: set[Record] = field(default_factory=set)

    @property
    def changed(self) -> set[Record]:
        """All records that the run changes."""
        return set(self.before) | set(self.after) | self.deleted


def of_schools(links: Links, schools: set[int]) -> set[Record]:
    """The changed records that belong to one of these schools (rids of orgs), before or after."""
    return {
        record for found in (links.before, links.after) for record, link in found.items() if link.orgs & schools
    }  # fmt: skip


def closed(links: Links, withheld: set[Record]) -> set[Record]:
    """``withheld``, and every change that must wait with it.

    A record waits that would point to one that does not appear yet; so does the end of one to which a record that stays
    as it is still points; so does what is nothing without a record whose change waits.
    """
    referring: dict[Record, set[Record]] = defaultdict(set)
    for found in (links.before, links.after):
        for record, link in found.items():
            for target in link.targets:
                referring[target].add(record)
    out, queue = set(withheld), list(withheld)
    while queue:
        record = queue.pop()
        waits = {other for other in referring[record] if _waits(links, other, record)} | _still_needed(links, record)
        queue += waits - out
        out |= waits
    return out


def _waits(links: Links, other: Record, record: Record) -> bool:
    """Whether a record that points to one whose change waits has to wait too."""
    if record[0] in _BELONGS.get(other[0], ()):
        return True
    after = links.after.get(other)
    return after is not None and record in after.targets and record in links.appears


def _still_needed(links: Links, record: Record) -> set[Record]:
    """What a record that stays as it is points to, and what would end."""
    if record in links.appears or record not in links.before:
        return set()
    return set(links.before[record].targets & links.deleted)


async def take_out(
    job: Job, prepared: Prepared, *, additive: bool, asked: Mapping[str, Any] | None, rebound: BitMap | None = None
) -> int:
    """Withholds changes of a run; how many.

    ``additive``: all deletions. ``asked``: what a person did not release (``hub.store.holds.release``): ``schools`` by
    their sourcedIds, or ``all_but`` these. ``rebound``: users who would become
    somebody else, with all that is theirs.
    """
    withheld: set[Record] = set()
    if additive:
        withheld = {(name, rid) for name, changes in prepared.entities.items() for rid in changes.deleted}
    if asked is not None or rebound:
        links, schools = await _look(job, prepared, asked or {"schools": []})
        people = {("users", rid) for rid in rebound or ()}
        withheld |= closed(links, withheld | people | of_schools(links, schools))
    rids: dict[str, BitMap] = defaultdict(BitMap)
    for entity, rid in withheld:
        rids[entity].add(rid)
    for entity, members in rids.items():
        await _prune(job, prepared, entity, members)
    return len(withheld)


async def _look(job: Job, prepared: Prepared, asked: Mapping[str, Any]) -> tuple[Links, set[int]]:
    """What the changed records point to, and the rids of the schools whose changes wait."""
    links, token = Links(), job.claim.lease_token
    async with job.db.district(job.claim.district_id, readonly=True, wait_seconds=30) as tx:
        known = {school.sourced_id: rid for rid, school in (await differences.schools(tx)).items()}
        for name, changes in prepared.entities.items():
            entity, there = CATALOGUE[name], changes.updated | changes.revived | changes.deleted
            if changes.staged:
                after = await differences.staged_links(tx, entity, token)
                links.after |= {(name, rid): link for rid, link in after.items()}
            before = await differences.stored_links(tx, entity, list(there))
            links.before |= {(name, rid): link for rid, link in before.items()}
            links.appears |= {(name, rid) for rid in changes.created | changes.revived}
            links.deleted |= {(name, rid) for rid in changes.deleted}
        if "schools" in asked:
            return links, {known[school] for school in asked["schools"] if school in known}
        free = {known[school] for school in asked["all_but"] if school in known}
        return links, (set(known.values()) | await differences.staged_schools(tx, token)) - free


async def _prune(job: Job, prepared: Prepared, name: str, withheld: BitMap) -> None:
    """Takes records out of an entity's changes, its counts and what is staged of them."""
    changes = prepared.entities[name]
    created, revived, deleted = (part & withheld for part in (changes.created, changes.revived, changes.deleted))
    updated = BitMap(changes.updates) & withheld
    async with job.db.district(job.claim.district_id, wait_seconds=30) as tx:
        await differences.unstage(tx, CATALOGUE[name], job.claim.lease_token, list(withheld))
    prepared.provenance.withhold(CATALOGUE[name], withheld)
    prepared.alone = {key: rids - withheld if key[0] == name else rids for key, rids in prepared.alone.items()}
    if created:
        prepared.fresh = None  # what was kept of the new records holds these too
    changes.created, changes.revived = changes.created - withheld, changes.revived - withheld
    changes.deleted, changes.withdrawn = changes.deleted - withheld, changes.withdrawn - withheld
    for rid in updated:
        del changes.updates[rid]
    counts = changes.counts
    counts.created -= len(created)
    counts.updated -= len(updated) + len(revived)
    counts.deleted -= len(deleted)
    counts.withheld += len(created) + len(revived) + len(updated) + len(deleted)
