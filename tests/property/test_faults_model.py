"""Syncs, deltas, overrides, undos, grants, pages and pushes while workers, PostgreSQL and Redis die: as a model says.

After each step: what is active, its texts and references are the source's last word (I1, I6), with what persons set in
its place; a record's ids are those that it has always had (I8); each view and feed is what a slow model makes of the
records, each change in one entry (I3); what an app was told, in order, leads from nothing to its view (I3, I4); pages
that were begun before are walked to the end of what there was (I5); the same package again writes nothing (I2); and all
of this comes back by itself (I9, I10). ``TEST_EXAMPLES`` sets the number of courses.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import polars as pl
import pytest
from hypothesis import HealthCheck, Phase, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule, run_state_machine_as_test

from hub.api.oneroster.bindings import ROSTERING_PATH
from hub.crashpoints import PLACES
from hub.embedded import EmbeddedPostgres, EmbeddedRedis
from hub.scope.grants import GrantDefinition
from hub.settings import role_passwords
from hub.store import past, runs
from hub.store.migrate import migrate
from hub.sync import grants, overrides
from hub.sync.changes import members
from hub.webhooks.terms import Terms
from tests.conftest import UNSAFE
from tests.districts import EVERYTHING, District
from tests.property.site import Site, site
from tests.property.small_districts import ENTITIES, definitions
from tests.property.source_model import Rows, SourceModel, difference, rows_of
from tests.property.synced_district import documents, stored
from tests.property.test_store_sync_model import BASE, EDITS, TEXTS, Known, Package
from tests.property.told_apps import HAPPENINGS, PORTION, App, Happening, Told
from tests.services import MASTER_KEY
from tests.sync.test_delta import changes_only
from transforms.catalogue import CATALOGUE

STEPS = ("fetch.", "sync.", "transform.", "diff.", "stage.", "merge.", "apply.", "feed.", "notify.")
SYNC_PLACES = [place for place in PLACES if place.startswith(STEPS)]
STUDENTS, CLASSES = BASE["demographics"]["sourcedId"], BASE["classes"]["sourcedId"]
#: A district of which little is left: a step should cost what happens in it.
LITTLE = Package(
    dropped={
        "users": set(STUDENTS[25:]), "classes": set(CLASSES[12:]), "results": set(BASE["results"]["sourcedId"][20:]),
    }
).frames()  # fmt: skip
HAND = list(STUDENTS[:3])  # users of whom persons set fields; they never leave
#: References that are compared: file, column, and the field of the record.
REFERENCES = (
    ("enrollments", "userSourcedId", "user"), ("enrollments", "classSourcedId", "class"),
    ("classes", "courseSourcedId", "course"), ("classes", "schoolSourcedId", "school"),
    ("results", "studentSourcedId", "student"), ("lineItems", "classSourcedId", "class"),
)  # fmt: skip
#: What befalls a run: places at which workers die in turn, then whether PostgreSQL crashes and when, and Redis forgets;
#: and, before all that, those who are told of changes.
FATES = st.tuples(
    st.lists(st.sampled_from(SYNC_PLACES), max_size=2),
    st.one_of(st.none(), st.none(), st.floats(0, 0.3)),
    st.booleans(),
    HAPPENINGS,
)
Fate = tuple[list[str], float | None, bool, list[Happening]]


class Faults(Told):
    """One district of a site that things happen to. The test gives ``postgres`` and ``redis``."""

    postgres: EmbeddedPostgres
    redis: EmbeddedRedis

    def __init__(self) -> None:
        super().__init__()
        self.stack = AsyncExitStack()
        self.package = Package(base=LITTLE)
        self.model = SourceModel()
        self.apps: dict[UUID, App] = {}
        self.ids: dict[tuple[str, str], str] = {}
        self.overridden: dict[tuple[str, str], UUID] = {}
        self.last: tuple[UUID, Rows] | None = None

    @initialize(first=definitions())
    def load(self, first: GrantDefinition) -> None:
        self.site: Site = self.do(self.stack.enter_async_context(site(self.postgres, self.redis)))
        self.db = self.site.db
        self.district = self.do(District(self.db).create())
        self.take([], ([], None, False, []), small=False)
        self.create(EVERYTHING)
        self.create(first)

    def teardown(self) -> None:
        self.do(self.stack.aclose())
        self.runner.close()

    # What is done to the district.

    @rule(edits=EDITS, fate=FATES, small=st.booleans())
    def take(self, edits: list[tuple[str, int, int]], fate: Fate, *, small: bool) -> None:
        """The source sends its next package, whole or as changes."""
        for kind, number, other in edits:
            self.package.edit(kind, number, other)
        self.package.dropped.get("users", set()).difference_update(HAND)
        frames = self.sent()
        rows = rows_of(frames)
        changes = difference(self.model.said, rows, frames) if small else None
        package: Any = frames if changes is None else self.do(changes_only(changes, "1.2")) if changes else None
        if package is None:
            return
        before = self.model.copied()
        news = self.model.take(rows)
        run = self.carry_out(self.do(self.district.request(package)), fate)
        assert {name: c["quarantined"] for name, c in run.counts.items() if c["quarantined"]} == {}
        if run.state == "applied":
            # A row of a package of changes is compared anew with the next whole one, which brings back what was undone.
            self.last = (run.run_id, before) if run.report["whole"] else None
        assert news or run.state == "unchanged"

    def sent(self) -> dict[str, pl.DataFrame]:
        """The package, without references to what is not in it: a row says no more than what of it can be taken."""
        frames = self.package.frames()
        for file in ("courseResources", "classResources", "userResources"):
            known = pl.col("resourceSourcedId").is_in(frames["resources"]["sourcedId"].implode())
            frames[file] = frames[file].filter(known)
        users = frames["users"]["sourcedId"].to_list()
        agents = pl.col("agentSourcedIds").str.split(",").list.eval(pl.element().filter(pl.element().is_in(users)))
        frames["users"] = frames["users"].with_columns(agents.list.join(",").replace("", None))
        return frames

    @rule(fate=FATES)
    def take_again(self, fate: Fate) -> None:
        """The same package comes once more."""
        run = self.carry_out(self.do(self.district.request(self.sent())), fate)
        assert run.state == "unchanged"

    @precondition(lambda self: self.last is not None)
    @rule(fate=FATES)
    def undo(self, fate: Fate) -> None:
        """The last run is undone."""
        assert self.last is not None
        (run_id, self.model.shown), self.last = self.last, None
        assert self.carry_out(self.do(self._ask("undo", {"run": str(run_id)})), fate).state == "applied"

    async def _ask(self, kind: str, task: dict[str, str]) -> UUID:
        run_id = uuid4()
        async with self.db.district(self.district.district_id) as tx:
            await runs.request(
                tx, run_id, source_id=None, upload_id=None, dry_run=False, requested_by="test", kind=kind, task=task
            )
            await past.approve(tx, run_id, "test")
        return run_id

    @rule(user=st.sampled_from(HAND), column=st.sampled_from(["givenName", "middleName"]), fate=FATES)
    def override(self, user: str, column: str, fate: Fate) -> None:
        """A person sets a field, or ends what was set."""
        self.last = None  # an undo would bring back what the source said, and the next merge would not
        run_id = self.do(self._override(user, column))
        shown = self.model.shown.get("users", {})
        if user in shown:  # merged anew: what an undo took away of its fields is there again
            shown[user] = self.model.said["users"][user]
        assert self.carry_out(run_id, fate).state in {"applied", "unchanged"}

    async def _override(self, user: str, column: str) -> UUID:
        async with self.db.district(self.district.district_id) as tx:
            if (set_ := self.overridden.pop((user, column), None)) is not None:
                del self.model.by_hand[user, column]
                return (await overrides.end(tx, set_, by="test"))[1].run_id
            value = self.model.by_hand[user, column] = f"By hand {len(self.ids)} {secrets.token_hex(2)}"
            made, run = await overrides.override(
                tx, entity="users", sourced_id=UUID(self.ids["users", user]), field=column, value=value,
                owner="test", reason="test", until=None,
            )  # fmt: skip
        self.overridden[user, column] = made.override_id
        return run.run_id

    @rule(definition=definitions())
    def create(self, definition: GrantDefinition) -> None:
        if len(self.known) < 3:
            self.do(self._create(definition))

    async def _create(self, definition: GrantDefinition) -> None:
        real = (await self._documents()).translated(definition)
        mode = ("refs", "records")[len(self.known) % 2]
        granted = await self.site.grant(self.district, real, Terms(mode=mode, max_changes=PORTION))
        known = Known(granted.grant_id, definition, real, {entity: {} for entity in ENTITIES}, 0)
        self.known.append(known)
        app = self.apps[granted.grant_id] = App(granted, mode, up_to=granted.position)
        granted.told.behave = app.answer
        async with self.db.district(self.district.district_id) as tx:
            await self._read(tx, known, app)  # it reads all, and then what changes

    @precondition(lambda self: len(self.known) == 3)
    @rule()
    def revoke(self) -> None:
        """The newest app loses its grant: not one page more, and nothing is told any more."""
        self.do(self._revoke(self.known.pop()))

    async def _revoke(self, known: Known) -> None:
        app = self.apps.pop(known.grant_id)
        async with self.db.district(self.district.district_id) as tx:
            await grants.set_state(tx, known.grant_id, "revoked")
        status, _, _ = await self.site.page(app.next or self._users(1), app.granted.token)
        assert status in {401, 403}

    @rule()
    def restart(self) -> None:
        """PostgreSQL crashes while nobody does anything."""
        self.do(self.site.restart())

    # What is read meanwhile.

    @rule(which=st.integers(0, 2), limit=st.integers(20, 90))
    def page(self, which: int, limit: int) -> None:
        """An app reads the next page of its walk over users, or the first of a new one."""
        self.do(self._page(self.known[which % len(self.known)], limit))

    def _users(self, limit: int) -> str:
        return ROSTERING_PATH.replace("{district}", str(self.district.district_id)) + f"/users?limit={limit}"

    async def _page(self, known: Known, limit: int) -> None:
        app = self.apps[known.grant_id]
        if "users" not in known.real.entities:
            return
        if app.next is None:
            async with self.db.district(self.district.district_id) as tx:
                view, found = await stored(tx, known.grant_id), await tx.fetch("SELECT rid, sourced_id FROM users")
            ids = {row["rid"]: str(row["sourced_id"]) for row in found}
            app.wanted = [ids[rid] for rid in sorted(view.present["users"] | view.gone["users"])]
            app.seen = []
        status, body, app.next = await self.site.page(app.next or self._users(limit), app.granted.token)
        assert status == 200, body
        app.seen += [one["sourcedId"] for one in body["users"]]
        assert app.seen == app.wanted[: len(app.seen)]
        assert app.next is not None or app.seen == app.wanted

    # How runs end, whatever happens to those who carry them out.

    def carry_out(self, run_id: UUID, fate: Fate) -> runs.Run:
        self.happen(fate[3])
        return self.do(self._carry_out(run_id, *fate[:3]))

    async def _carry_out(self, run_id: UUID, places: list[str], crash: float | None, flush: bool) -> runs.Run:
        before = await self._digest()
        for place in places:
            await self.site.killed(place)
            run = await self.district.run(run_id)
            if run.state not in {"applied", "unchanged"}:
                assert await self._digest() == before, place
            await self.site.time_passes(self.district)
        run = await self.site.done(self.district, run_id, flush=flush, crash=crash)
        assert run.state in {"applied", "unchanged"}, (run.error_code, run.error_message)
        note(f"{run.kind} {run.state}")
        assert (await self._digest() == before) == (run.state == "unchanged")
        return run

    async def _digest(self) -> tuple[int, str]:
        """The position, and a checksum of all that readers can see."""
        tables = "UNION ALL ".join(
            f"SELECT '{e.table}', rid, active, md5(doc || doc_private) FROM {e.table} " for e in CATALOGUE.entities
        )
        async with self.db.district(self.district.district_id, wait_seconds=30) as tx:
            row = await tx.fetchrow(
                "SELECT (SELECT position FROM districts WHERE district_id = $1), "
                "md5((SELECT string_agg(t::text, '' ORDER BY grant_id, entity) FROM views t)) || "
                f"md5((SELECT string_agg(t::text, '' ORDER BY t::text) FROM ({tables}) t))",
                self.district.district_id,
            )
        assert row is not None
        return row[0], row[1] or ""

    # What is to hold after each step.

    @invariant()
    def records_are_what_the_source_and_persons_say(self) -> None:
        self.do(self._records())

    async def _records(self) -> None:
        async with self.db.district(self.district.district_id) as tx:
            found = await documents(tx)
            rows = await tx.fetch("SELECT DISTINCT entity, rid, key FROM source_records")
        keys = {(row["entity"], row["rid"]): row["key"] for row in rows}
        names = {i: keys[entity, rid] for entity, rids in found.rids.items() for i, rid in rids.items()}
        active: dict[str, dict[str, dict[str, Any]]] = {}
        for entity, rids in found.rids.items():
            active[entity] = {}
            for sourced_id, rid in rids.items():
                key = keys[entity, rid]
                assert self.ids.setdefault((entity, key), sourced_id) == sourced_id
                is_active, doc, private = found.texts[entity][rid]
                if is_active:
                    active[entity][key] = members(doc, private)
            assert active[entity].keys() == self.model.shown.get(entity, {}).keys(), entity
        assert len(set(self.ids.values())) == len({key for key in self.ids if key[0] != "demographics"})
        for entity, column in TEXTS:
            for key, record in active[entity].items():
                assert record.get(column) == self.model.value(entity, key, column), (entity, key, column)
        for entity, column, field_ in REFERENCES:
            for key, record in active[entity].items():
                said = self.model.shown[entity][key][0][column]
                assert (names[record[field_]["sourcedId"]] if field_ in record else None) == said, (entity, key)


@pytest.fixture(scope="module")
def servers(services_folder: Path) -> Iterator[tuple[EmbeddedPostgres, EmbeddedRedis]]:
    """A PostgreSQL with a migrated database, and a Redis, of this module's own."""
    folder = services_folder / secrets.token_hex(6)
    with EmbeddedRedis(folder) as redis:
        # What is committed is with the kernel, which outlives PostgreSQL: only the machine may not crash.
        postgres = EmbeddedPostgres(folder, settings=UNSAFE | {"synchronous_commit": "on"})
        postgres.start()
        try:
            asyncio.run(migrate(postgres.url(), passwords=role_passwords(MASTER_KEY)))
            yield postgres, redis
        finally:
            postgres.erase()


@pytest.mark.threat("F1", "F2", "F5", "F12")
def test_the_district_is_what_the_model_says_whatever_happens(servers: tuple[EmbeddedPostgres, EmbeddedRedis]) -> None:
    # Shrinking would take minutes: the seed and the steps of a failure are printed.
    few = settings(
        max_examples=int(os.environ.get("TEST_EXAMPLES", "2")), stateful_step_count=10, deadline=None,
        suppress_health_check=list(HealthCheck), phases=(Phase.explicit, Phase.reuse, Phase.generate),
    )  # fmt: skip
    machine = type("Here", (Faults,), {"postgres": servers[0], "redis": servers[1]})
    run_state_machine_as_test(machine, settings=few)
