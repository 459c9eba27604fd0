"""Random writes by three apps against the slow model, and after each the stored views against a fresh compilation."""

from __future__ import annotations

from random import Random
from typing import Any
from uuid import UUID

import pytest
from pyroaring import BitMap

from hub.scope.compile import compile_grant
from hub.scope.grants import GrantDefinition
from hub.scope.projection import Projection
from hub.scope.trim import trim
from hub.store import columns as column_store
from hub.store import grants
from hub.store.database import Transaction
from hub.sync.columns import load_columns
from tests.api.oneroster.gradebook_model import ENTITIES, OPTIONAL, REFERENCES, Model, Object, body, sis_objects
from tests.api.oneroster.gradebooks import WHOLE, Book, grant, ref
from transforms.catalogue import CATALOGUE

APPS = ("lms", "quiz", "math")
#: An app that only looks: it sees one school, no score scales, no comments, and the years of dates alone.
WATCHER = WHOLE | {
    "entities": [e for e in WHOLE["entities"] if e != "scoreScales"],
    "fields": {"results": {"hide": ["comment"], "masks": {"scoreDate": "year"}}},
}
KEYS = ("a", "b", "c")
STEPS = 50
#: Mostly what others refer to, and what refers to them.
LIKELY = [*ENTITIES, "lineItems", "results", "lineItems", "results"]


@pytest.mark.threat("T12", "T14")
@pytest.mark.parametrize("seed", [1, 2])
async def test_random_writes_are_what_the_model_says_and_move_every_view_exactly(book: Book, seed: int) -> None:
    rnd, ids = Random(seed), book.ids
    await watch(book)
    model = await model_of(book)
    seen = await looks(book)
    statuses = set()
    for _ in range(STEPS):
        app, entity = rnd.choice(APPS), rnd.choice(LIKELY)
        key = a_key(rnd, model, entity)
        if rnd.random() < 0.3:
            expected = model.delete(app, entity, key)
            status, answer, _ = await book.send("DELETE", f"/{entity}/{key}", app=app)
        else:
            given = references(rnd, model, app, entity, ids)
            expected, made = model.put(app, entity, key, given)
            more = {"comment": rnd.choice(["x", "y"])} if entity.endswith("esults") else {}
            more |= {"scoreDate": rnd.choice(["2026-01-01", "2026-05-05"])} if more else {}
            status, answer, _ = await book.put(entity, key, body(entity, given) | more, app=app)
            if made is not None and not made.canonical:
                made.canonical = await canonical(book, app, entity, key)
        assert status == expected, (app, entity, key, answer)
        statuses.add(status)
        seen = await check_views(book, seen)
    assert statuses == {201, 204, 403, 404, 422}
    for app in APPS:
        for entity in ENTITIES:
            assert set(await book.keys(f"/{entity}", app=app)) == model.shown(app, entity)


async def test_what_refers_to_an_object_enters_and_leaves_a_view_with_it(book: Book) -> None:
    await watch(book)
    await book.make("lineItems", "li")
    for key, student in zip("rs", book.ids.students, strict=True):
        await book.make("results", key, {"lineItem": ref("li"), "student": ref(student)})
    seen = await looks(book)
    shown = await book.keys("/results", app="math")
    for school, gone in ((book.ids.other_school, 2), (book.ids.school, 0)):
        await book.make("lineItems", "li", {"school": ref(school)})
        seen = await check_views(book, seen)
        assert len(await book.keys("/results", app="math")) == len(shown) - gone
        assert {"r", "s"} <= set(await book.keys("/results"))


async def watch(book: Book) -> None:
    """Adds the app that only looks."""
    definition = GrantDefinition.model_validate(WATCHER | {"rules": [{"schools": [book.ids.school]}]})
    await grant(book.hub.db, book.hub.prepared, "watcher", book.hub.first, definition)


async def model_of(book: Book) -> Model:
    sees = {}
    for app in APPS:
        found: set[str] = set()
        for path in ("/classes", "/orgs", "/users"):
            found.update(await book.keys(path, app=app, service="rostering"))
        sees[app] = frozenset(found)
    enrollments = (await book.get("/enrollments", service="rostering", limit="10000"))[1]["enrollments"]
    enrolled: dict[str, set[str]] = {}
    for one in enrollments:
        if one["role"] == "student":
            enrolled.setdefault(one["class"]["sourcedId"], set()).add(one["user"]["sourcedId"])
    model = Model(sees, {c: frozenset(s) for c, s in enrolled.items()}, sis_objects(book.ids))
    model.tell()
    return model


def a_key(rnd: Random, model: Model, entity: str) -> str:
    """Mostly one of a few, sometimes the canonical id of an object."""
    known = [one.canonical for one in model.objects if one.entity == entity]
    return rnd.choice(known) if known and rnd.random() < 0.2 else rnd.choice(KEYS)


def references(rnd: Random, model: Model, app: str, entity: str, ids: Any) -> dict[str, str]:
    """References that mostly are in order."""
    roster = {
        "classes": [ids.here, ids.here, ids.there], "orgs": [ids.school, ids.school, ids.other_school],
        "users": [*ids.students, *ids.students, ids.there_student, ids.stranger],
    }  # fmt: skip
    given = {}
    for name, target in REFERENCES[entity].items():
        if (name in OPTIONAL or (entity, name) == ("assessmentLineItems", "class")) and rnd.random() < 0.6:
            continue
        known: list[str] = roster.get(target) or [
            model.name(app, one) for one in model.objects if one.entity == target and rnd.random() < 0.9
        ]
        given[name] = rnd.choice(known or ["nothing"])
    return given


async def canonical(book: Book, app: str, entity: str, key: str) -> str:
    async with book.service.district(book.district_id) as tx:
        found: UUID = await tx.fetchval(
            "SELECT sourced_id FROM gradebook_objects WHERE app_id = $1 AND entity = $2 AND key = $3",
            book.hub.prepared.apps[app], entity, key,
        )  # fmt: skip
    return str(found)


Looks = dict[str, tuple[int, dict[tuple[str, int], str]]]


async def looks(book: Book) -> Looks:
    """By app: the position of its grant, and how each gradebook record that it sees looks to it."""
    out: Looks = {}
    async with book.service.district(book.district_id) as tx:
        columns = await load_columns(tx)
        rids = {e: await _rids(tx, e) for e in ("orgs", "classes")}
        for name, grant_id in book.hub.prepared.grants.items():
            stored = await grants.get(tx, grant_id)
            definition = GrantDefinition.model_validate(stored.definition)
            sets = await grants.views(tx, grant_id)
            present = compile_grant(definition, columns, lambda entity, id_: rids[entity].get(str(id_)))
            texts: dict[tuple[str, int], str] = {}
            for entity in ENTITIES:
                projection = Projection(definition, entity)
                trimmed = trim(projection, present, columns)
                held = sets.get(entity)
                assert (BitMap.deserialize(held.present) if held else BitMap()) == present[entity], (name, entity)
                assert (BitMap.deserialize(held.trimmed) if held else BitMap()) == trimmed, (name, entity)
                texts |= {(entity, rid): t for rid, t in (await _texts(tx, projection, present)).items()}
            out[name] = (stored.position, texts)
    return out


async def _rids(tx: Transaction, entity: str) -> dict[str, int]:
    frame = await column_store.sourced_ids(tx, CATALOGUE[entity])
    return dict(zip(frame["sourcedId"], frame["rid"], strict=True))


async def _texts(tx: Transaction, projection: Projection, present: dict[str, BitMap]) -> dict[int, str]:
    entity = CATALOGUE[projection.entity]
    names = {name: entity[name] for name in projection.references}
    columns = "".join(f', "{f.table_column}"' for f in names.values())
    rows = await tx.fetch(
        f"SELECT rid, doc, doc_private{columns} FROM {entity.table} WHERE rid = ANY($1::int[])",
        list(present[entity.name]),
    )
    out = {}
    for row in rows:
        refs = {n: [row[f.table_column]] if row[f.table_column] is not None else [] for n, f in names.items()}
        out[row["rid"]] = projection.members(
            row["doc"], row["doc_private"], refs=refs, sees=lambda target, rid: rid in present[target]
        )
    return out


async def check_views(book: Book, before: Looks) -> Looks:
    """The views are those of a compilation, and the feeds say exactly what looks different now."""
    after = await looks(book)
    async with book.service.district(book.district_id) as tx:
        for name, (position, texts) in after.items():
            old_position, old = before[name]
            rows = await tx.fetch(
                "SELECT entity, entered, updated, departed FROM feed WHERE grant_id = $1 AND position > $2",
                book.hub.prepared.grants[name], old_position,
            )  # fmt: skip
            told = {
                kind: {(row["entity"], rid) for row in rows for rid in BitMap.deserialize(row[kind])}
                for kind in ("entered", "updated", "departed")
            }
            assert told == {
                "entered": texts.keys() - old.keys(),
                "updated": {place for place in texts.keys() & old.keys() if texts[place] != old[place]},
                "departed": old.keys() - texts.keys(),
            }, name
            if rows:
                assert position > old_position
    return after


def test_the_model_is_about_all_entities_that_apps_write() -> None:
    assert set(ENTITIES) == {e.name for e in CATALOGUE.of_service("gradebook")}
    for entity, fields in REFERENCES.items():
        known = {f.name for f in CATALOGUE[entity].references}
        assert fields.keys() <= known
        assert isinstance(Object(entity, None, ""), Object)
