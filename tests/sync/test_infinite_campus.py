"""A district at Infinite Campus through the hub: it goes on from OneRoster 1.1 to 1.2, and every hub id stays."""

from __future__ import annotations

from typing import Any

from hub.store import sources
from tests.districts import District
from tests.fakes.oneroster_server import CLIENT, SECRET, Object, Server, filled, running
from tests.sync.pulled import called, changed, made, pull
from tests.sync.test_incremental import files

ENTITIES = ["orgs", "academicSessions", "courses", "classes", "users", "enrollments", "demographics"]
LETTERS = {"student": "s", "teacher": "t", "guardian": "p", "parent": "p", "relative": "p"}


def numbered(objects: dict[str, dict[str, Object]], names: dict[str, str]) -> dict[str, dict[str, Object]]:
    """The objects with other ids of their people, also where they are referred to."""

    def renamed(value: Any) -> Any:
        if isinstance(value, list):
            return [renamed(one) for one in value]
        if isinstance(value, dict):
            return {name: renamed(one) for name, one in value.items()}
        return names.get(value, value) if isinstance(value, str) else value

    return {entity: {names.get(k, k): renamed(one) for k, one in held.items()} for entity, held in objects.items()}


def campus() -> tuple[Server, Server]:
    """The same district in both versions: in 1.1 people have a letter before their numbers, in 1.2 ids of their own."""
    new, old = filled("1.2", files("1.2")), filled("1.1", files("1.1"))
    people = sorted(new.objects["users"])
    numbers = {key: str(1000 + at) for at, key in enumerate(people)}
    roles = {key: str(one["role"]) for key, one in old.objects["users"].items()}
    lettered = {key: LETTERS.get(roles.get(key, ""), "x") + number for key, number in numbers.items()}
    own = {key: f"person-{at:04}" for at, key in enumerate(reversed(people))}
    new.objects, old.objects = numbered(new.objects, own), numbered(old.objects, lettered)
    old.root = "/ims/oneroster/rostering/v1p1/"
    for key in people:
        new.objects["users"][own[key]].setdefault("metadata", {})["ic.legacysourceId"] = numbers[key]
    parent = next(k for k, r in lettered.items() if k in roles and r.startswith("t"))
    also = old.objects["users"][lettered[parent]] | {"sourcedId": f"p{numbers[parent]}", "role": "parent"}
    old.objects["users"][also["sourcedId"]] = also  # a teacher who has a child here
    return old, new


async def test_every_hub_id_stays_from_1_1_to_1_2(district: District) -> None:
    before, after = campus()
    with running(before) as old, running(after) as new:

        def settings(server: Server) -> dict[str, Any]:
            login = {"kind": "oauth2", "token_url": server.token_url, "client_id": CLIENT}
            return {"url": server.url, "version": server.version, "login": login, "profile": "infinite_campus",
                    "entities": ENTITIES, "page_rows": 100}  # fmt: skip

        source = await made(district, "oneroster_rest", settings(old), {"client_secret": SECRET})
        first = await pull(district, source)
        assert first.state == "applied", first.error_message
        ids = await called(district, source)
        people = {key for entity, key in ids if entity == "users"}
        assert people
        assert all(key.isdigit() for key in people)
        assert len(old.objects["users"]) == len(new.objects["users"]) + 1

        async with district.db.district(district.district_id) as tx:
            await sources.change(tx, source, config=settings(new))
        run = await pull(district, source, requested_by="test")
        assert run.state == "applied", (run.error_message, run.guard)
        now = await called(district, source)
        assert ids.items() <= now.items()
        assert not any(deleted for _, _, deleted in changed(run).values())
