"""Every write, export and OAuth endpoint against every kind of object that its path or body can name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import orjson
import pytest

from hub.store import apps
from tests.api.matrix.callers import all_but, invalid_callers, refused, school, valid_callers
from tests.api.matrix.conftest import Matrix
from tests.api.matrix.rules import TABLE, Access
from tests.api.matrix.test_apps import at, filled, words, wrong
from tests.api.matrix.wire import Ask, Told
from tests.api.matrix.world import JSON, KINDS, UNSEEN, bearer

#: Deleting comes first: what is put under a name afterwards is there.
WRITES = sorted(
    ((method, path, access) for (method, path), access in TABLE.items() if access.kind == "write"),
    key=lambda write: ("DELETE", "POST", "PUT").index(write[0]),
)
EXPORTS = {key: access for key, access in TABLE.items() if access.kind == "export"}
#: What a write answers by the object that its path names; objects of the SIS are not an app's to change. By PUT an app
#: names what it writes, so that what it cannot see is a free name to it; what it was told of is taken.
ANSWERS = {
    "DELETE": {"own": 403, **dict.fromkeys(("gone", *UNSEEN), 404)},
    "POST": {"own": 201, **dict.fromkeys(("gone", *UNSEEN), 404)},
    "PUT": {"own": 403, "gone": 403, **dict.fromkeys(UNSEEN, 201), "broken": 422},
}
#: A package without further words is of 1.2.
FILES_OF_12 = TABLE["GET", "/d/*/export/v1/oneroster.zip"].scopes
SENT = {"GET": 200, "HEAD": 200, "POST": 202}
FORM = "Content-Type: application/x-www-form-urlencoded"
#: Of these the own one is of the app's making.
MADE = "assessmentResults/*"
MADE_ANSWERS = {"DELETE": 204, "PUT": 201}


def least(matrix: Matrix, entity: str) -> dict[str, Any]:
    """The values of an object of the app's own that can be stored."""
    ids = matrix.ids["1.2"]["own"]

    def to(collection: str) -> dict[str, str]:
        return {"sourcedId": ids[collection]}

    return {
        "categories": {"title": "Quizzes"},
        "scoreScales": {"title": "Points", "type": "local", "class": to("classes"),
                        "scoreScaleValue": [{"itemValueLHS": "50", "itemValueRHS": "pass"}]},
        "lineItems": {"title": "Quiz", "assignDate": "2026-09-01T08:00:00.000Z", "dueDate": "2026-09-02T08:00:00.000Z",
                      "class": to("classes"), "school": to("schools"), "category": to("categories"),
                      "gradingPeriod": to("gradingPeriods"), "resultValueMin": 0, "resultValueMax": 10},
        "results": {"lineItem": to("lineItems"), "student": to("students"), "scoreStatus": "fully graded", "score": 7,
                    "scoreDate": "2026-09-03"},
        "assessmentLineItems": {"title": "Section"},
        "assessmentResults": {"assessmentLineItem": {"sourcedId": "school"}, "student": to("students"),
                              "scoreStatus": "fully graded", "scoreDate": "2026-09-03"},
    }[entity]  # fmt: skip


def body_of(matrix: Matrix, method: str, path: str) -> bytes:
    """What a write can bring."""
    if method == "DELETE":
        return b""
    entity = path.removesuffix("/*").rpartition("/")[2]
    if method == "PUT":
        return orjson.dumps({entity.removesuffix("s").replace("categorie", "category"): least(matrix, entity)})
    return orjson.dumps({entity: [least(matrix, entity) | {"sourcedId": str(uuid4())}]})


@pytest.mark.threat("T12", "T17", "T24")
async def test_writes_touch_own_objects_alone_and_have_one_answer_for_all_others(matrix: Matrix) -> None:
    told, wanted = [], []
    for method, path, access in WRITES:
        for kinds in _mixes(len(words(path))):
            if address := at(matrix, path, access, *kinds):
                headers = (*school(matrix).headers, JSON)
                ask = Ask(method, address, headers, body_of(matrix, method, path), (method, *kinds))
                told.append(await matrix.wire.one(ask))
                wanted.append({written(method, path, access, kinds)})
                if method == "PUT" and told[-1].status == 201:
                    told.append(await matrix.wire.one(replace(ask, method="DELETE", body=b"")))
                    wanted.append({204})
    assert wrong(told, wanted) == []
    assert len(told) > 120
    found: dict[tuple[str, int, bool], set[object]] = {}
    for one in told:
        if set(one.ask.label) & {"hidden", "foreign", "never"}:
            found.setdefault((one.ask.method, one.status, "/v1p1/" in one.ask.path), set()).add(_nameless(one))
    assert {key: len(answers) for key, answers in found.items()} == {
        ("DELETE", 404, False): 1, ("DELETE", 404, True): 1, ("POST", 404, False): 1, ("PUT", 201, False): 1,
        ("PUT", 201, True): 1, ("DELETE", 204, False): 1, ("DELETE", 204, True): 1,
    }, found  # fmt: skip


def written(method: str, path: str, access: Access, kinds: tuple[str, ...]) -> int:
    """What a write answers: for what its path names that is not the app's own."""
    if path.endswith(MADE) and kinds == ("own",):
        return MADE_ANSWERS[method]
    status = ANSWERS[method][next((kind for kind in kinds if kind != "own"), "own")]
    return 400 if (status, access.version) == (422, "1.1") else status


def _nameless(one: Told) -> object:
    """What an answer tells, but for the name that the app itself chose."""
    status, headers, body = one.shown
    return status, tuple((n, v.rpartition("/gradebook/")[0] if n == "location" else v) for n, v in headers), body


def _mixes(count: int) -> Iterator[tuple[str, ...]]:
    """All kinds in each place, with the app's own in the others."""
    found = {tuple("own" if n != place else kind for n in range(count)) for place in range(count) for kind in KINDS}
    yield from sorted(found, key=lambda kinds: [KINDS.index(kind) for kind in kinds])


@pytest.mark.threat("T12", "T20", "T24")
async def test_exports_open_to_the_scopes_of_their_files_and_to_the_app_that_asked(matrix: Matrix) -> None:
    """One request at a time: an app is sent one package at once."""
    callers = [*await invalid_callers(matrix), *(c for c in await valid_callers(matrix) if c.name != "signed")]
    others = await all_but(matrix, {access.scopes for access in EXPORTS.values()})
    exports = await _asked(matrix)
    told, wanted = [], []
    for (method, path), access in EXPORTS.items():
        for who in (*callers, others[access.scopes]):
            scopes = access.scopes if words(path) else FILES_OF_12
            status = refused(Access("export", scopes), path, who)
            for kind in ("never", "broken") if words(path) else ("",):
                ids = (exports[kind],) if kind else ()
                ask = Ask(method, filled(matrix, path, *ids), who.headers, label=(who.name, kind))
                told.append(await matrix.wire.one(ask))
                wanted.append({status or (404 if words(path) else SENT[method])})
    for method, path in EXPORTS:
        if words(path):
            for kind, number in exports.items():
                ask = Ask(method, filled(matrix, path, number), school(matrix).headers, label=(kind,))
                told.append(await matrix.wire.one(ask))
                wanted.append({(409 if path.endswith(("file", "acknowledge")) else 200) if kind == "own" else 404})
    assert wrong(told, wanted) == []
    missing = [one for one in told if one.status == 404 and one.ask.label[0] in exports]
    assert {one.ask.label[0] for one in missing} == set(exports) - {"own"}
    assert len({one.shown for one in missing if one.ask.method != "HEAD"}) == 1


async def _asked(matrix: Matrix) -> dict[str, str]:
    """The ids of exports: asked for by the app under test, by another one of its district, and elsewhere."""
    found = {}
    for kind, app, district in (("own", "school", matrix.world.here), ("hidden", "whole", matrix.world.here),
                                ("foreign", "stranger", matrix.world.there)):  # fmt: skip
        path = f"/d/{district}/export/v1/exports"
        told = await matrix.wire.one(Ask("POST", path, bearer(matrix.world.tokens[app])))
        assert told.status == 202, str(told)
        found[kind] = orjson.loads(told.body)["export"]
    return found | {"never": str(uuid4()), "broken": "no%20id%00"}


@pytest.mark.threat("T20", "T21", "T24")
async def test_oauth_endpoints_know_clients_by_their_secrets_and_show_them_their_own_tokens(matrix: Matrix) -> None:
    world = matrix.world
    (own, secret), (_, others_secret), (revoked, old_secret) = (
        world.clients[name] for name in ("school", "stranger", "revoked")
    )
    clients = {
        "none": (("", ""), 401), "unknown": (("rh_cl_nobody", secret), 401), "garbage": (("\0", "\0"), 401),
        "of another": ((own, others_secret), 401), "revoked": ((revoked, old_secret), 401),
        "token as secret": ((own, world.tokens["school"]), 401), "right": ((own, secret), 200),
    }  # fmt: skip
    told, wanted = [], []
    for (method, path), access in TABLE.items():
        if access.kind != "client":
            continue
        for name, (pair, status) in clients.items():
            form = _form(grant_type="client_credentials", client_id=pair[0], client_secret=pair[1], token="nobody's")
            told.append(await matrix.wire.one(Ask(method, path, (FORM,), form, (name,))))
            wanted.append({status})
    assert wrong(told, wanted) == []
    assert len({one.shown for one in told if one.status == 401}) == 1
    looked = {}
    for name, token in {"own": world.tokens["school"], "other": world.tokens["stranger"], "never": apps.new_token(),
                        "broken": "\0", **world.spent}.items():  # fmt: skip
        form = _form(client_id=own, client_secret=secret, token=token)
        looked[name] = await matrix.wire.one(Ask("POST", "/oauth/introspect", (FORM,), form))
    assert orjson.loads(looked.pop("own").body)["active"] is True
    assert {orjson.loads(one.body)["active"] for one in looked.values()} == {False}
    assert len({one.shown for one in looked.values()}) == 1


def _form(**values: str) -> bytes:
    return "&".join(f"{name}={quote(value, safe='')}" for name, value in values.items()).encode()
