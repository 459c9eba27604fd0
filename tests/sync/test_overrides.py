"""Overrides, departures and other rules: what changes merged records without a package is a run too."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import orjson
import polars as pl
import pytest
from pyroaring import BitMap

from hub.errors import Code, HubError
from hub.scope.grants import GrantDefinition, Rule
from hub.store import districts, grants, runs, sources, statements
from hub.store.runs import Run
from hub.sync import overrides
from hub.sync.changes import members
from hub.sync.engine import work_once
from tests.districts import District, Frames, changed, sandbox
from tests.sync.test_delta import changes_only, some
from tests.sync.test_people import merge, picture, split
from tests.sync.test_several_sources import USERS, a_user, applied, member, only, second
from tests.sync.test_undo import undo


async def overridden(district: District, rid: int, field: str, value: Any) -> UUID:
    override_id = uuid4()
    async with district.db.district(district.district_id) as tx:
        await statements.override(
            tx, override_id, entity="users", rid=rid, field=field, value=value, owner="Ms Admin",
            reason="asked by phone", until=None,
        )  # fmt: skip
    return override_id


async def test_an_override_survives_syncs_that_change_the_record(synced: District) -> None:
    frames = sandbox(100, 3).frames
    key = a_user(frames)
    rid = (await member(synced, key))["rid"]
    override = await overridden(synced, rid, "preferredFirstName", "Sky")

    await applied(synced, changed(frames, "users", key, givenName="Zebulon", preferredGivenName="Zeb"))

    user = await member(synced, key)
    assert (user["givenName"], user["preferredFirstName"]) == ("Zebulon", "Sky")
    assert user["from"]["preferredFirstName"] == f"override:{override}"
    assert orjson.dumps(user["from"])


async def finished(district: District, run_id: UUID) -> Run:
    while await work_once(district.db, district.clock):
        pass
    return await district.run(run_id)


async def sourced_id(district: District, rid: int) -> UUID:
    async with district.db.district(district.district_id) as tx:
        found = await statements.sourced_id(tx, USERS, rid)
    assert found is not None
    return found


async def set_by_hand(district: District, key: str, field: str, value: Any, until: datetime | None = None) -> UUID:
    """Overrides a field as the admin API does; the override's id."""
    user = await member(district, key)
    known = await sourced_id(district, user["rid"])
    async with district.db.district(district.district_id) as tx:
        made, run = await overrides.override(
            tx, entity="users", sourced_id=known, field=field, value=value,
            owner="Ms Admin", reason="asked by phone", until=until,
        )  # fmt: skip
    assert (await finished(district, run.run_id)).state == "applied"
    return made.override_id


async def test_an_override_is_applied_by_a_run_and_given_back_when_it_ends(synced: District) -> None:
    frames = sandbox(100, 3).frames
    key = a_user(frames)
    grant = await synced.grant()
    was = await member(synced, key)

    override = await set_by_hand(synced, key, "email", "by.hand@district.example")

    assert (await member(synced, key))["email"] == "by.hand@district.example"
    async with synced.db.district(synced.district_id) as tx:
        entered = await tx.fetchval(
            "SELECT count(*) FROM feed WHERE grant_id = $1 AND entity = 'users'", grant.grant_id
        )
        _, run = await overrides.end(tx, override, by="Ms Admin")
    assert entered > 0
    assert (await finished(synced, run.run_id)).state == "applied"
    assert (await member(synced, key))["email"] == was["email"]


async def test_an_override_ends_by_itself_when_its_time_is_over(synced: District) -> None:
    frames = sandbox(100, 3).frames
    key = a_user(frames)
    was = await member(synced, key)
    await set_by_hand(synced, key, "givenName", "Sky", until=datetime.now(UTC) + timedelta(hours=1))
    assert (await member(synced, key))["givenName"] == "Sky"

    async with synced.db.district(synced.district_id) as tx:
        await tx.execute("UPDATE overrides SET until = now() - interval '1 second'")
        await statements.note_next_end(tx)
    while await work_once(synced.db, synced.clock):
        pass

    assert (await member(synced, key))["givenName"] == was["givenName"]


async def test_an_override_does_not_bring_back_what_an_undo_has_ended(district: District) -> None:
    frames = sandbox(100, 3).frames
    key = a_user(frames)
    loaded = await applied(district, frames)
    override = await set_by_hand(district, key, "givenName", "Sky")
    sky = (await member(district, key))["rid"]
    known = await sourced_id(district, sky)
    assert (await undo(district, loaded)).state == "applied"
    assert not (await member(district, key))["active"]

    async with district.db.district(district.district_id) as tx:
        _, ended = await overrides.end(tx, override, by="Ms Admin")
    assert (await finished(district, ended.run_id)).state == "unchanged"
    async with district.db.district(district.district_id) as tx:
        _, again = await overrides.override(
            tx, entity="users", sourced_id=known, field="givenName", value="Rain", owner="x", reason="x", until=None
        )
    assert (await finished(district, again.run_id)).state == "unchanged"
    assert not (await member(district, key))["active"]

    await applied(district, changed(frames, "users", key, familyName="Changed"))
    user = await member(district, key)
    assert (user["active"], user["givenName"], user["familyName"]) == (True, "Rain", "Changed")


async def test_an_override_that_ends_while_its_district_is_locked_holds_nobody_up(
    district: District, other_district: District
) -> None:
    frames = sandbox(100, 3).frames
    key = a_user(frames)
    await applied(district, frames)
    await set_by_hand(district, key, "givenName", "Sky", until=datetime.now(UTC) + timedelta(hours=1))
    async with district.db.district(district.district_id) as tx:
        await tx.execute("UPDATE overrides SET until = now() - interval '1 second'")
        await statements.note_next_end(tx)

    async with district.db.district(district.district_id) as tx:
        await districts.lock(tx)
        waiting = asyncio.create_task(other_district.sync(frames))  # as a worker that another apply keeps out
        assert (await waiting).state == "applied"
    while await work_once(district.db, district.clock):
        pass

    assert (await member(district, key))["givenName"] != "Sky"


async def test_lists_and_nested_values_are_set_by_hand_and_given_back(synced: District) -> None:
    frames = sandbox(100, 3).frames
    key = a_user(frames)
    was = await member(synced, key)
    schools = await school_ids(synced)
    own = was["roles"][0]["org"]["sourcedId"]
    there = next(one for one in schools if one != own)
    seen = await synced.grant(GrantDefinition(rules=(Rule(schools=(UUID(there),)),)))
    assert not await sees(synced, seen.grant_id, was["rid"])
    role = {"roleType": "primary", "role": "Student", "org": {"sourcedId": there}, "endDate": "2030-06-30"}

    made = [
        await set_by_hand(synced, key, "grades", ["9th", "10", ""]),
        await set_by_hand(synced, key, "userIds", [{"type": "LDAP", "identifier": "sky"}]),
        await set_by_hand(synced, key, "roles", [role]),
    ]

    user = await member(synced, key)
    assert user["grades"] == ["09", "10"]
    assert user["userIds"] == [{"type": "LDAP", "identifier": "sky"}]
    (shown,) = user["roles"]
    assert (shown["role"], shown["roleType"], shown["endDate"]) == ("student", "primary", "2030-06-30")
    assert (shown["org"]["sourcedId"], shown["org"]["type"]) == (there, "org")
    assert await sees(synced, seen.grant_id, was["rid"])  # apps see by roles
    await applied(synced, changed(frames, "users", key, givenName="Zebulon", grades="11"))
    again = await member(synced, key)
    assert (again["givenName"], again["roles"], again["grades"]) == ("Zebulon", user["roles"], user["grades"])

    for override_id in made:
        async with synced.db.district(synced.district_id) as tx:
            _, run = await overrides.end(tx, override_id, by="Ms Admin")
        assert (await finished(synced, run.run_id)).state == "applied"
    back = await member(synced, key)
    assert (back["roles"], back.get("userIds"), back["grades"]) == (was["roles"], was.get("userIds"), ["11"])
    assert not await sees(synced, seen.grant_id, was["rid"])


async def test_single_members_of_metadata_are_set_by_hand_and_all_others_are_the_sources(district: District) -> None:
    frames = sandbox(100, 3).frames
    key = a_user(frames)
    await applied(district, with_metadata(frames, key, house="Blue", bus="7"))
    grant = await district.grant()

    made = [
        await set_by_hand(district, key, "metadata.house", "Red"),
        await set_by_hand(district, key, "metadata.locker.side", {"row": 3, "name": 'the "left"'}),
        await set_by_hand(district, key, "metadata.bus", None),
    ]

    user = await member(district, key)
    assert user["metadata"] == {"house": "Red", "locker.side": {"row": 3, "name": 'the "left"'}}
    assert {name: whose for name, whose in user["from"].items() if name.startswith("metadata.")} == {
        "metadata.house": f"override:{made[0]}", "metadata.locker.side": f"override:{made[1]}",
    }  # fmt: skip
    async with district.db.district(district.district_id) as tx:
        assert await tx.fetchval("SELECT metadata ->> 'house' FROM users WHERE rid = $1", user["rid"]) == "Red"
        told = await tx.fetchval("SELECT count(*) FROM feed WHERE grant_id = $1 AND entity = 'users'", grant.grant_id)
    assert told == 4  # with the one by which the grant began
    await applied(district, with_metadata(frames, key, house="Green", bus="8", new="x"))
    assert (await member(district, key))["metadata"] == {**user["metadata"], "new": "x"}
    await applied(district, frames)  # the source knows no metadata any more
    assert (await member(district, key))["metadata"] == user["metadata"]

    for override_id in made:
        async with district.db.district(district.district_id) as tx:
            _, run = await overrides.end(tx, override_id, by="Ms Admin")
        assert (await finished(district, run.run_id)).state in {"applied", "unchanged"}
    back = await member(district, key)
    assert "metadata" not in back
    assert not [name for name in back["from"] if name.startswith("metadata")]


def with_metadata(frames: Frames, key: str, **members: str) -> Frames:
    """The frames with metadata of one user."""
    here = pl.col("sourcedId") == key
    columns = [pl.when(here).then(pl.lit(value)).alias(f"metadata.{name}") for name, value in members.items()]
    return dict(frames) | {"users": frames["users"].with_columns(columns)}


async def test_the_school_year_of_a_session_is_set_by_hand(synced: District) -> None:
    async with synced.db.district(synced.district_id) as tx:
        known = await tx.fetchval("SELECT sourced_id FROM academic_sessions ORDER BY rid LIMIT 1")

        async def put(value: Any) -> Run:
            return (await overrides.override(
                tx, entity="academicSessions", sourced_id=known, field="schoolYear", value=value, owner="x",
                reason="x", until=None,
            ))[1]  # fmt: skip

        for wrong in ("27", "2026-27", "1066", True, None):
            with pytest.raises(HubError):
                await put(wrong)
        run = await put(2044)
    assert (await finished(synced, run.run_id)).state == "applied"
    async with synced.db.district(synced.district_id) as tx:
        year, doc = await tx.fetchrow("SELECT school_year, doc FROM academic_sessions WHERE sourced_id = $1", known)
    assert (year, '"schoolYear":"2044"' in doc) == ("2044", True)


async def test_a_delta_that_names_no_roles_takes_none_that_were_set_by_hand_for_its_own(synced: District) -> None:
    frames = sandbox(100, 3).frames
    key = a_user(frames)
    was = await member(synced, key)
    role = was["roles"][0] | {"role": "aide", "org": {"sourcedId": was["roles"][0]["org"]["sourcedId"]}}
    override = await set_by_hand(synced, key, "roles", [role])

    await synced.sync(await changes_only({"users": some(frames, "users", key, givenName="Zebulon")}, "1.2"))

    user = await member(synced, key)
    assert (user["givenName"], [one["role"] for one in user["roles"]]) == ("Zebulon", ["aide"])
    async with synced.db.district(synced.district_id) as tx:
        _, run = await overrides.end(tx, override, by="Ms Admin")
    assert (await finished(synced, run.run_id)).state == "applied"
    user = await member(synced, key)
    assert (user["givenName"], user["roles"]) == ("Zebulon", was["roles"])


async def school_ids(district: District) -> list[str]:
    async with district.db.district(district.district_id) as tx:
        rows = await tx.fetch("SELECT sourced_id FROM orgs WHERE type = 'school' ORDER BY rid")
    return [str(row["sourced_id"]) for row in rows]


async def sees(district: District, grant_id: UUID, rid: int) -> bool:
    """Whether a grant's view has a user."""
    async with district.db.district(district.district_id) as tx:
        (sets,) = (await grants.some_views(tx, [(grant_id, "users")])).values()
    return rid in BitMap.deserialize(sets.present)


async def test_what_cannot_be_overridden_is_refused(synced: District) -> None:
    frames = sandbox(100, 3).frames
    user = await member(synced, a_user(frames))
    known = await sourced_id(synced, user["rid"])
    org = (await school_ids(synced))[0]
    role = {"roleType": "primary", "role": "student", "org": {"sourcedId": org}}
    wrong: list[tuple[str, Any, str]] = [
        ("roles", [], "must have a value"), ("children", None, "cannot be overridden"),
        ("userProfiles", [], "cannot be overridden"), ("givenName", None, "must have a value"),
        ("enabledUser", "perhaps", "not_a_boolean"), ("primaryOrg", "nowhere", "not_a_reference"),
        ("nonsense", "x", "cannot be overridden"), ("email", {"a": 1}, "not_text"), ("email", "  ", "blank"),
        ("grades", "09", "not_a_list"), ("grades", ["09", "nine and a half"], "user.grades[1] (unknown_word)"),
        ("grades", ["09", "9"], "twice"), ("agents", [{"sourcedId": str(uuid4())}], "must name users"),
        ("primaryOrg", {"sourcedId": org.upper()}, "must name orgs"),
        ("userIds", [{"type": "SSN", "identifier": "078-05-1120"}], "social security"),
        ("userIds", [{"type": "LDAP"}], "user.userIds[0].identifier (missing)"),
        ("roles", [role | {"org": None}], "user.roles[0].org (missing)"),
        ("roles", [role | {"role": "administrator"}], "user.roles[0].role (unknown_word)"),
        ("roles", [role | {"begin": "2027-01-01"}], "user.roles[0] (unknown_member)"),
        ("roles", [role | {"org": {"sourcedId": str(uuid4())}}], "must name orgs"),
        ("roles", [role, role | {"role": "teacher"}], "several primary roles"),
        ("roles", [role | {"userProfile": "urn:x"}], "userProfile"),
        ("metadata", {"house": "Blue"}, "metadata.<name>"), ("metadata.", "x", "Name the member"),
        ("metadata.SSN", "078-05-1120", "social security"), ("metadata.house", "a\x00b", "control_character"),
        ("metadata.house", "x" * 70_000, "too_long"),
    ]  # fmt: skip

    async with synced.db.district(synced.district_id) as tx:
        for field, value, words in wrong:
            with pytest.raises(HubError) as refused:
                await overrides.override(
                    tx, entity="users", sourced_id=known, field=field, value=value,
                    owner="x", reason="x", until=None,
                )  # fmt: skip
            assert refused.value.code is Code.INVALID_REQUEST
            assert words in refused.value.message, (field, value, refused.value.message)


async def departs(district: District, source_id: UUID, to: UUID | None = None, *, dry_run: bool = False) -> Run:
    run_id = uuid4()
    async with district.db.district(district.district_id) as tx:
        await runs.request(
            tx, run_id, source_id=source_id, upload_id=None, dry_run=dry_run, requested_by="test", kind="departure",
            task={"to": str(to)} if to else {},
        )  # fmt: skip
    run = await finished(district, run_id)
    if run.state == "held":
        async with district.db.district(district.district_id) as tx:
            await runs.decide(tx, run_id, approve=True, actor="test")
        run = await finished(district, run_id)
    return run


async def test_a_source_that_departs_leaves_what_others_speak_of(synced: District) -> None:
    frames = sandbox(100, 3).frames
    key = a_user(frames)
    before = await synced.counts()
    other = await second(synced, priority=1)
    hr = changed(only(frames, "users", "roles", "userProfiles"), "users", key, email="new@district.example")
    await applied(other, hr)

    dry = await departs(synced, other.source_id, dry_run=True)
    assert dry.state == "previewed"
    assert dry.counts["users"]["updated"] == 1
    assert (await member(synced, key))["email"] == "new@district.example"

    run = await departs(synced, other.source_id)

    assert run.state == "applied"
    assert await synced.counts() == before
    user = await member(synced, key)
    assert user["email"] != "new@district.example"
    assert set(user["from"].values()) == {str(synced.source_id)}
    async with synced.db.district(synced.district_id) as tx:
        assert (await sources.get(tx, other.source_id)).state == "departed"


async def test_a_source_that_departs_ends_what_it_alone_speaks_of_once_approved(district: District) -> None:
    frames = sandbox(100, 3).frames
    await applied(district, {name: frame for name, frame in frames.items() if name != "enrollments"})
    other = await second(district, speaks_for={"enrollments": None})
    await applied(other, only(frames, "enrollments"))

    run = await departs(district, other.source_id)

    assert run.state == "applied"
    counts = await district.counts()
    assert counts["enrollments"] == (0, frames["enrollments"].height)
    assert counts["users"][1] == 0


async def test_a_source_that_departs_may_hand_its_records_over(district: District) -> None:
    frames = sandbox(100, 3).frames
    await applied(district, {name: frame for name, frame in frames.items() if name != "enrollments"})
    other = await second(district, speaks_for={"enrollments": None})
    await applied(other, only(frames, "enrollments"))
    before = await district.counts()

    assert (await departs(district, other.source_id, district.source_id)).state in {"applied", "unchanged"}
    assert await district.counts() == before
    run = await applied(district, frames)

    assert await district.counts() == before
    assert run.counts["enrollments"]["created"] == 0


async def test_other_rules_are_applied_to_merged_records(synced: District) -> None:
    frames = sandbox(100, 3).frames
    key = a_user(frames)
    other = await second(synced, priority=200)
    await applied(
        other, changed(only(frames, "users", "roles", "userProfiles"), "users", key, email="b@district.example")
    )
    assert (await member(synced, key))["email"] != "b@district.example"

    run_id = uuid4()
    async with synced.db.district(synced.district_id) as tx:
        rules = {"users": {"email": {"rule": "priority", "sources": [str(other.source_id)]}}}
        await districts.set_survivorship(tx, rules)
        await runs.request(tx, run_id, source_id=None, upload_id=None, dry_run=False, requested_by="x", kind="remerge")
    run = await finished(synced, run_id)

    assert (run.state, run.counts["users"]["updated"]) == ("applied", 1)
    assert (await member(synced, key))["email"] == "b@district.example"


async def test_overrides_go_with_a_merge_and_come_back_with_a_split(synced: District) -> None:
    """Of two records with something set by hand for one field that of the record that stays counts."""
    frames = sandbox(100, 3).frames
    first, second_ = frames["demographics"]["sourcedId"].sort().to_list()[4:10:5]
    rids = {key: (await member(synced, key))["rid"] for key in (first, second_)}
    older, younger = sorted(rids, key=lambda key: rids[key])
    ids = {key: await sourced_id(synced, rids[key]) for key in rids}
    mine = await set_by_hand(synced, older, "givenName", "Ola")
    rests = await set_by_hand(synced, younger, "givenName", "Yngve")
    goes = await set_by_hand(synced, younger, "preferredFirstName", "Sky")
    house = await set_by_hand(synced, younger, "metadata.house", "Blue")
    async with synced.db.district(synced.district_id) as tx:
        _, run = await overrides.override(
            tx, entity="demographics", sourced_id=ids[younger], field="cityOfBirth", value="Salem", owner="Ms Admin",
            reason="asked by phone", until=None,
        )  # fmt: skip
    assert (await finished(synced, run.run_id)).state == "applied"
    before = await people_picture(synced)

    await merge(synced, ids[older], ids[younger])

    user = await record_of(synced, rids[older])
    assert (user["givenName"], user["preferredFirstName"]) == ("Ola", "Sky")
    assert (user["from"]["givenName"], user["from"]["preferredFirstName"]) == (f"override:{mine}", f"override:{goes}")
    assert (user["metadata"]["house"], user["from"]["metadata.house"]) == ("Blue", f"override:{house}")
    assert (await record_of(synced, rids[older], "demographics"))["cityOfBirth"] == "Salem"
    async with synced.db.district(synced.district_id) as tx:
        assert await overrides.resting(tx, await statements.overrides(tx)) == {rests}
    merged = await people_picture(synced)
    assert (await applied(synced, changed(frames, "users", younger, middleName="Wren"))).counts["users"]["updated"] < 2
    await applied(synced, frames)
    assert await people_picture(synced) == merged

    # What ends is given back to who speaks of the person now, and what rested counts.
    for override, expected in ((mine, "Yngve"), (goes, None)):
        async with synced.db.district(synced.district_id) as tx:
            _, run = await overrides.end(tx, override, by="Ms Admin")
        assert (await finished(synced, run.run_id)).state == "applied"
        name = "givenName" if expected else "preferredFirstName"
        assert (await record_of(synced, rids[older])).get(name) == expected
    await set_by_hand(synced, older, "givenName", "Ola")
    again = await set_by_old_id(synced, ids[younger], "preferredFirstName", "Sky")
    assert (await record_of(synced, rids[older]))["from"]["preferredFirstName"] == f"override:{again}"

    await split(synced, ids[younger])
    assert await people_picture(synced) == before
    assert (await record_of(synced, rids[younger]))["from"]["preferredFirstName"] == f"override:{again}"


async def set_by_old_id(district: District, known: UUID, field: str, value: Any) -> UUID:
    async with district.db.district(district.district_id) as tx:
        made, run = await overrides.override(
            tx, entity="users", sourced_id=known, field=field, value=value, owner="Ms Admin", reason="x", until=None
        )
    assert (await finished(district, run.run_id)).state == "applied"
    return made.override_id


async def people_picture(district: District) -> dict[str, Any]:
    return {name: value for name, value in (await picture(district)).items() if name != "claims"}


async def record_of(district: District, rid: int, entity: str = "users") -> dict[str, Any]:
    """The members of one active record, and where they come from."""
    async with district.db.district(district.district_id) as tx:
        row = await tx.fetchrow(f"SELECT active, doc, doc_private FROM {entity} WHERE rid = $1", rid)
        fields = await statements.provenance(tx, entity, rid)
    assert row["active"]
    found: dict[str, Any] = members(row["doc"], row["doc_private"])
    return found | {"from": fields}
