"""Several sources of one district: what each may say, whose value survives, and what stays when one goes silent."""

from __future__ import annotations

from typing import Any

import polars as pl

from hub.store import sources, statements
from hub.store.runs import Run
from hub.sync.changes import members
from tests.districts import District, Frames, changed, sandbox, without
from transforms.catalogue import CATALOGUE

USERS = CATALOGUE["users"]


async def second(
    district: District, *, priority: int = 200, speaks_for: dict[str, list[str] | None] | None = None,
    key_space: str | None = "district", links: dict[str, list[str]] | None = None,
) -> District:  # fmt: skip
    """Another source of the same district; the first gets the same key space."""
    other = District(district.db, district.version, district.clock, district.district_id)
    async with district.db.district(district.district_id) as tx:
        await sources.create(
            tx, other.source_id, name="HR", kind="oneroster_csv", config={"partial": True}, priority=priority,
            speaks_for=speaks_for, key_space=key_space, links=links,
        )  # fmt: skip
        await sources.set_parts(tx, district.source_id, speaks_for=None, key_space=key_space, links={})
    return other


async def member(district: District, key: str, entity: str = "users") -> dict[str, Any]:
    """The members of the one record that is known by a key, with whether it is active and its provenance."""
    table = CATALOGUE[entity].table
    async with district.db.district(district.district_id) as tx:
        rows = await tx.fetch(
            f"SELECT DISTINCT t.rid, t.active, t.doc, t.doc_private FROM {table} t JOIN source_records s "
            "ON s.district_id = t.district_id AND s.rid = t.rid AND s.entity = $1::text::entity_name WHERE s.key = $2",
            entity, key,
        )  # fmt: skip
        (row,) = rows
        fields = await statements.provenance(tx, entity, row["rid"])
    return members(row["doc"], row["doc_private"]) | {"active": row["active"], "from": fields, "rid": row["rid"]}


def a_user(frames: Frames) -> str:
    """A student with an e-mail address."""
    users = frames["users"]
    return str(users.filter(pl.col("email").is_not_null())["sourcedId"][3])


def only(frames: Frames, *files: str) -> Frames:
    return {name: frames[name] for name in files}


async def applied(district: District, package: Frames) -> Run:
    run = await district.sync(package)
    assert run.state in {"applied", "unchanged"}, (run.state, run.error_message, run.guard)
    return run


async def test_two_sources_with_the_same_keys_make_one_record_of_a_person(synced: District) -> None:
    frames = sandbox(100, 3).frames
    before = await synced.counts()
    other = await second(synced)
    key = a_user(frames)
    hr = changed(
        only(frames, "users", "roles", "userProfiles"), "users", key, phone="+15550100", email="new@district.example"
    )

    run = await applied(other, hr)

    assert await synced.counts() == before
    assert run.counts["users"]["created"] == 0
    user = await member(synced, key)
    first, second_ = str(synced.source_id), str(other.source_id)
    assert user["email"] != "new@district.example"
    assert user["phone"]
    assert user["from"]["email"] == first
    assert {first, second_} >= set(user["from"].values())


async def test_the_priority_decides_which_value_survives(synced: District) -> None:
    frames = sandbox(100, 3).frames
    key = a_user(frames)
    other = await second(synced, priority=1)

    run = await applied(
        other, changed(only(frames, "users", "roles", "userProfiles"), "users", key, email="new@district.example")
    )

    user = await member(synced, key)
    assert user["email"] == "new@district.example"
    assert user["from"]["email"] == str(other.source_id)
    assert run.counts["users"]["updated"] == 1


async def test_a_source_speaks_for_its_fields_alone(synced: District) -> None:
    frames = sandbox(100, 3).frames
    key = a_user(frames)
    other = await second(synced, priority=1, speaks_for={"users": ["email"]})
    sheet = changed(
        only(frames, "users", "roles", "userProfiles"), "users", key, email="new@district.example", givenName="Nobody"
    )  # fmt: skip

    await applied(other, sheet)

    user = await member(synced, key)
    assert user["email"] == "new@district.example"
    assert user["givenName"] != "Nobody"


async def test_who_speaks_for_some_fields_makes_no_records(synced: District) -> None:
    frames = sandbox(100, 3).frames
    before = await synced.counts()
    other = await second(synced, speaks_for={"users": ["email"]})
    users = frames["users"].head(3).with_columns(sourcedId=pl.col("sourcedId") + "-unknown")

    run = await applied(other, {"users": users, "roles": frames["roles"].head(0)})

    assert await synced.counts() == before
    assert run.counts["users"]["quarantined"] == 3
    assert run.report["total"] >= 3


async def test_files_that_a_source_does_not_speak_for_are_left_alone(synced: District) -> None:
    frames = sandbox(100, 3).frames
    before = await synced.state()
    other = await second(synced, speaks_for={"users": ["email"]})

    run = await applied(other, only(without(frames, "orgs", []), "orgs"))

    assert [row for row in await synced.state() if row[0] == "orgs"] == [row for row in before if row[0] == "orgs"]
    assert any(rule["code"] == "SRC-001" for rule in run.report["rules"])


async def test_who_goes_silent_hands_over_to_who_still_speaks(synced: District) -> None:
    frames = sandbox(100, 3).frames
    key = a_user(frames)
    other = await second(synced, priority=1)
    hr = changed(only(frames, "users", "roles", "userProfiles"), "users", key, email="new@district.example")
    await applied(other, hr)

    gone = without(
        without(hr, "users", [key]), "roles", frames["roles"].filter(userSourcedId=key)["sourcedId"].to_list()
    )
    run = await applied(other, gone)

    user = await member(synced, key)
    assert user["active"]
    assert user["email"] != "new@district.example"
    assert run.counts["users"]["deleted"] == 0
    assert run.counts["users"]["updated"] == 1


async def test_a_record_ends_when_nobody_speaks_of_it_any_more(synced: District) -> None:
    frames = sandbox(100, 3).frames
    key = a_user(frames)
    roles = frames["roles"].filter(userSourcedId=key)["sourcedId"].to_list()
    enrolled = frames["enrollments"].filter(userSourcedId=key)["sourcedId"].to_list()
    gone = without(without(without(frames, "users", [key]), "roles", roles), "enrollments", enrolled)
    gone = without(gone, "demographics", [key])
    other = await second(synced)
    await applied(other, only(frames, "users", "roles", "userProfiles"))

    await applied(other, only(gone, "users", "roles", "userProfiles"))
    assert (await member(synced, key))["active"]
    await applied(synced, gone)

    assert not (await member(synced, key))["active"]

    await applied(other, only(frames, "users", "roles", "userProfiles"))
    assert (await member(synced, key))["active"]


async def test_objects_are_recognised_by_fields_where_keys_differ(synced: District) -> None:
    frames = sandbox(100, 3).frames
    key = a_user(frames)
    before = await synced.counts()
    other = await second(synced, priority=1, key_space=None, links={"users": ["email"], "orgs": ["identifier", "name"]})
    orgs = frames["orgs"].with_columns(
        sourcedId="hr-" + pl.col("sourcedId"), parentSourcedId="hr-" + pl.col("parentSourcedId")
    )
    users = frames["users"].filter(sourcedId=key).with_columns(
        sourcedId="hr-" + pl.col("sourcedId"), primaryOrgSourcedId="hr-" + pl.col("primaryOrgSourcedId"),
        agentSourcedIds=pl.lit(None, pl.String), email=pl.col("email").str.to_uppercase(), phone=pl.lit("+15550100"),
    )  # fmt: skip
    roles = frames["roles"].filter(userSourcedId=key).with_columns(
        sourcedId="hr-" + pl.col("sourcedId"), userSourcedId="hr-" + pl.col("userSourcedId"),
        orgSourcedId="hr-" + pl.col("orgSourcedId"), userProfileSourcedId=pl.lit(None, pl.String),
    )  # fmt: skip

    run = await applied(other, {"orgs": orgs, "users": users, "roles": roles})

    assert await synced.counts() == before, run.counts
    assert (await member(synced, key))["phone"] == "+15550100"


async def test_an_unchanged_package_of_either_source_writes_nothing(synced: District) -> None:
    frames = sandbox(100, 3).frames
    other = await second(synced)
    hr = only(frames, "users", "roles", "userProfiles", "demographics")
    await applied(other, hr)
    await applied(synced, frames)  # the key space made it look row by row
    before = await synced.state()

    shuffled = {name: frame.sample(fraction=1, shuffle=True, seed=1) for name, frame in frames.items()}
    assert (await synced.sync(shuffled)).state == "unchanged"
    assert (
        await other.sync({n: f.sample(fraction=1, shuffle=True, seed=1) for n, f in hr.items()})
    ).state == "unchanged"

    assert await synced.state() == before


async def test_the_order_of_the_sources_runs_does_not_matter(district: District, other_district: District) -> None:
    """Keys that two sources share lead to the same records, whoever comes first."""
    frames = sandbox(100, 3).frames
    key = a_user(frames)
    hr = changed(frames, "users", key, email="new@district.example", phone="+15550100")
    documents = []
    for place, hr_first in ((district, False), (other_district, True)):
        other = await second(place, priority=1)
        for source, package in ((other, hr), (place, frames)) if hr_first else ((place, frames), (other, hr)):
            await applied(source, package)
        user = await member(place, key)
        documents.append({n: v for n, v in user.items() if n in {"email", "phone", "givenName", "grades", "username"}})
        assert user["from"]["email"] == str(other.source_id)

    assert documents[0] == documents[1]


async def test_a_source_may_refer_to_what_another_one_brings(district: District) -> None:
    frames = sandbox(100, 3).frames
    rostering = {name: frame for name, frame in frames.items() if name != "enrollments"}
    await applied(district, rostering)
    other = await second(district, speaks_for={"enrollments": None})

    run = await applied(other, only(frames, "enrollments"))

    assert run.counts["enrollments"]["created"] == frames["enrollments"].height
    assert run.counts["enrollments"]["quarantined"] == 0


async def test_a_source_that_may_say_less_says_less_from_its_next_package_on(synced: District) -> None:
    frames = sandbox(100, 3).frames
    key = a_user(frames)
    other = await second(synced, priority=1)
    hr = only(frames, "users", "roles", "userProfiles")
    hr = changed(hr, "users", key, email="new@district.example", givenName="Zebulon")
    await applied(other, hr)
    assert (await member(synced, key))["givenName"] == "Zebulon"

    async with synced.db.district(synced.district_id) as tx:
        await sources.set_parts(
            tx, other.source_id, speaks_for={"users": ["email"]}, key_space="district", links={}
        )  # fmt: skip
    await applied(other, hr)

    user = await member(synced, key)
    assert user["email"] == "new@district.example"
    assert user["givenName"] != "Zebulon"
    assert user["from"]["givenName"] == str(synced.source_id)


async def test_a_value_that_goes_back_and_forth_between_sources_is_told(synced: District) -> None:
    frames = sandbox(100, 3).frames
    key = a_user(frames)
    other = await second(synced)
    people = only(frames, "users", "roles", "userProfiles")
    theirs = changed(people, "users", key, email="hr@district.example", phone="+15550142")
    await applied(other, theirs)
    blank = changed(frames, "users", key, email=None, phone="+15550143")

    gone = await applied(synced, blank)  # theirs takes its place: another value, for the first time
    assert (await member(synced, key))["email"] == "hr@district.example"
    returned = await applied(synced, changed(frames, "users", key, phone="+15550144"))
    moved = await applied(synced, changed(frames, "users", key, email="third@district.example"))

    assert await flips(synced, gone) == []
    assert await flips(synced, returned) == [("users", "email", key)]  # the phone was the district's own all the time
    assert await flips(synced, moved) == []
    assert (await member(synced, key))["email"] == "third@district.example"


async def test_a_source_that_keeps_going_silent_is_told_too(synced: District) -> None:
    frames = sandbox(100, 3).frames
    key = a_user(frames)
    other = await second(synced, priority=1)
    people = only(frames, "users", "roles", "userProfiles")
    await applied(other, changed(people, "users", key, email="hr@district.example"))
    without_it = without(without(people, "users", [key]), "roles", of_user(people, key))

    first = await applied(other, without_it)
    again = await applied(other, changed(people, "users", key, email="hr@district.example"))
    silent = await applied(other, without_it)

    assert await flips(synced, first) == [("users", "email", key)]  # as it was before the other source came
    assert await flips(synced, again) == [("users", "email", key)]
    assert await flips(synced, silent) == [("users", "email", key)]


def of_user(frames: Frames, key: str) -> list[str]:
    """The keys of a user's roles."""
    return frames["roles"].filter(userSourcedId=key)["sourcedId"].to_list()


async def flips(district: District, run: Run) -> list[tuple[str, str, str]]:
    """Entity, field and key of the values that a run found to go back and forth."""
    async with district.db.district(district.district_id) as tx:
        rows = await tx.fetch(
            "SELECT entity, field, key FROM run_issues WHERE run_id = $1 AND code = 'SNAP-003' ORDER BY entity, field",
            run.run_id,
        )
    return [tuple(row) for row in rows]
