"""A system that takes grades: OneRoster 1.2 or 1.1 over HTTP, with the ways in which such systems are odd."""

from __future__ import annotations

import asyncio
import base64
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import orjson
from aiohttp import web
from oauthlib.oauth1.rfc5849 import signature as oauth

CLIENT, SECRET = "hub+district", "s3cret/with+signs"
SINGULAR = {
    "categories": "category", "scoreScales": "scoreScale", "lineItems": "lineItem", "results": "result",
    "assessmentLineItems": "assessmentLineItem", "assessmentResults": "assessmentResult",
}  # fmt: skip
#: Members that refer to objects of the system, and to which collection.
REFERENCES = {
    "class": "classes", "school": "orgs", "category": "categories", "gradingPeriod": "academicSessions",
    "academicSession": "academicSessions", "scoreScale": "scoreScales", "lineItem": "lineItems", "student": "users",
    "course": "courses", "assessmentLineItem": "assessmentLineItems", "parentAssessmentLineItem": "assessmentLineItems",
}  # fmt: skip
REQUIRED = {
    ("1.2", "lineItems"): {"title", "assignDate", "dueDate", "class", "school", "category"},
    ("1.2", "results"): {"lineItem", "student", "scoreStatus", "scoreDate"},
    ("1.1", "lineItems"): {"title", "assignDate", "dueDate", "class", "category", "gradingPeriod", "resultValueMin",
                           "resultValueMax"},
    ("1.1", "results"): {"lineItem", "student", "scoreStatus", "score", "scoreDate"},
}  # fmt: skip

Fault = Callable[[web.Request], Awaitable[web.StreamResponse]]
Chooses = Callable[[str, str, str], Fault | None]


@dataclass(frozen=True)
class Came:
    """One request for an object and what was answered."""

    method: str
    entity: str
    id: str
    status: int | None


@dataclass
class Sis:
    """``objects``: what it holds, its own roster and the gradebook, by (entity, id). ``fault`` chooses what goes wrong.

    ``tells`` makes the text of refusals; ``replaces`` is the status for what was there.
    """

    version: str
    roster: dict[str, set[str]]
    url: str = ""
    token_url: str = ""
    objects: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    came: list[Came] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)
    issued: int = 0
    expires_in: float | None = 3600
    replaces: int = 201
    fault: Chooses = lambda _method, _entity, _id: None
    token_fault: Fault | None = None
    tells: Callable[[str], str] = str
    oauth1: str = ""
    arrived: asyncio.Condition = field(default_factory=asyncio.Condition)

    def of(self, entity: str) -> dict[str, dict[str, Any]]:
        """What it holds of an entity, by id."""
        return {id_: value for (name, id_), value in self.objects.items() if name == entity}

    def order(self, *methods: str) -> list[tuple[str, str]]:
        """(entity, id) of what was answered with success, in order."""
        return [(c.entity, c.id) for c in self.came if c.status is not None and c.status < 300
                and (not methods or c.method in methods)]  # fmt: skip

    async def until(self, enough: Callable[[], bool], seconds: float = 20) -> None:
        """Waits until it is so. Raises TimeoutError."""
        async with asyncio.timeout(seconds), self.arrived:
            await self.arrived.wait_for(enough)

    async def token(self, request: web.Request) -> web.StreamResponse:
        if self.token_fault is not None:
            return await self.token_fault(request)
        basic = base64.b64decode(request.headers.get("Authorization", "").removeprefix("Basic ")).decode()
        form = await request.post()
        if basic != "hub%2Bdistrict:s3cret%2Fwith%2Bsigns" or form.get("grant_type") != "client_credentials":
            return web.json_response({"error": "invalid_client"}, status=401)
        self.issued += 1
        text = f"token-{self.issued}"
        self.tokens.add(text)
        more = {} if self.expires_in is None else {"expires_in": self.expires_in}
        return web.json_response({"access_token": text, "token_type": "bearer", **more})

    async def handle(self, request: web.Request) -> web.StreamResponse:
        entity, id_ = request.match_info["entity"], request.match_info["id"]
        answer: web.StreamResponse | None = None
        try:
            chosen = self.fault(request.method, entity, id_)
            answer = await (chosen(request) if chosen else self.answer(request, entity, id_))
            return answer
        finally:
            async with self.arrived:
                self.came.append(Came(request.method, entity, id_, None if answer is None else answer.status))
                self.arrived.notify_all()

    async def answer(self, request: web.Request, entity: str, id_: str) -> web.StreamResponse:
        """What it does when nothing goes wrong."""
        if not await self.may(request):
            return self.error(401, "unauthorisedrequest", "The token is not valid")
        if request.method == "DELETE":
            return self.delete(entity, id_)
        body = orjson.loads(await request.read())
        if body.keys() != {SINGULAR[entity]}:
            return self.error(400, "invaliddata", "The envelope is wrong")
        value = body[SINGULAR[entity]]
        if value["sourcedId"] != id_:
            return self.error(422, "invaliddata", "sourcedId does not match")
        if missing := REQUIRED.get((self.version, entity), set()) - value.keys():
            return self.error(self.wrong, "invaliddata", f"{min(missing)} is required")
        for name, target in REFERENCES.items():
            if name in value and not self.knows(target, value[name]["sourcedId"]):
                return self.error(self.wrong, "invaliddata", f"{name} {value[name]['sourcedId']} not found")
        known = (entity, id_) in self.objects
        self.objects[entity, id_] = value
        return web.Response(status=self.replaces if known else 201)

    @property
    def wrong(self) -> int:
        """The status for an object that is wrong: 422 came with 1.2."""
        return 400 if self.version == "1.1" else 422

    def knows(self, entity: str, id_: str) -> bool:
        return id_ in self.roster.get(entity, ()) or (entity, id_) in self.objects

    def delete(self, entity: str, id_: str) -> web.Response:
        if (entity, id_) not in self.objects:
            return self.error(404, "unknownobject", "not there")
        names = (SINGULAR[entity], "parentAssessmentLineItem")
        used = any(v.get(name, {}).get("sourcedId") == id_ for v in self.objects.values() for name in names)
        if used:
            return self.error(422, "deletefailure", "The object is used")
        del self.objects[entity, id_]
        return web.Response(status=204)

    async def may(self, request: web.Request) -> bool:
        kind, _, rest = request.headers.get("Authorization", "").partition(" ")
        if self.oauth1:
            return kind == "OAuth" and self.signed(request)
        return kind == "Bearer" and rest in self.tokens

    def signed(self, request: web.Request) -> bool:
        """Checks a signature with a library of others."""
        header = dict(request.headers)
        parameters = oauth.collect_parameters(
            headers={"Authorization": header["Authorization"]}, exclude_oauth_signature=False
        )
        made = dict(parameters)
        signature = made.pop("oauth_signature")
        uri = oauth.base_string_uri(str(request.url))
        base = oauth.signature_base_string(request.method, uri, oauth.normalize_parameters(sorted(made.items())))
        hashed = made["oauth_signature_method"] == "HMAC-SHA256"
        sign = oauth.sign_hmac_sha256_with_client if hashed else oauth.sign_hmac_sha1_with_client
        client = SimpleNamespace(client_secret=SECRET, resource_owner_secret="")
        right = bool(sign(base, client) == signature) and made["oauth_signature_method"] == self.oauth1
        return right and made["oauth_consumer_key"] == CLIENT

    def error(self, status: int, minor: str, text: str) -> web.Response:
        """A refusal in the form of the version."""
        field_ = {"imsx_codeMinorFieldName": "TargetEndSystem", "imsx_codeMinorFieldValue": minor}
        info = {"imsx_codeMajor": "failure", "imsx_severity": "error", "imsx_description": self.tells(text)}
        if self.version == "1.1":
            spaced = {"invaliddata": "invalid data", "unknownobject": "unknown object"}.get(minor, minor)
            return web.json_response({"statusInfoSet": [info | {"imsx_codeMinor": spaced}]}, status=status)
        return web.json_response(info | {"imsx_codeMinor": {"imsx_codeMinorField": [field_]}}, status=status)


@asynccontextmanager
async def sis(
    version: str = "1.2", roster: dict[str, Iterable[str]] | None = None, *, port: int = 0
) -> AsyncIterator[Sis]:
    """A system on a port of 127.0.0.1."""
    value = Sis(version, {name: set(ids) for name, ids in (roster or {}).items()})
    app = web.Application(client_max_size=10_000_000)
    base = "/ims/oneroster/v1p1" if version == "1.1" else "/ims/oneroster/gradebook/v1p2"
    app.router.add_post("/token", value.token)
    app.router.add_route("*", base + "/{entity}/{id}", value.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    found = runner.addresses[0][1]
    value.url, value.token_url = f"http://127.0.0.1:{found}{base}", f"http://127.0.0.1:{found}/token"
    try:
        yield value
    finally:
        await runner.cleanup()


def times(count: int, fault: Fault, *, entity: str | None = None) -> Chooses:
    """A fault for the first ``count`` requests."""
    left = itertools.count(1)

    def choose(_method: str, name: str, _id: str) -> Fault | None:
        return fault if (entity is None or name == entity) and next(left) <= count else None

    return choose


def on(id_: str, fault: Fault, *, method: str | None = None) -> Chooses:
    """A fault for one object."""

    def choose(asked: str, _entity: str, name: str) -> Fault | None:
        return fault if name == id_ and method in {None, asked} else None

    return choose


def told(status: int, body: Any = None, **headers: str) -> Fault:
    """An answer; underscores in header names stand for hyphens."""

    async def fault(_request: web.Request) -> web.Response:
        data = body if isinstance(body, bytes) else orjson.dumps(body) if body is not None else b""
        return web.Response(status=status, body=data, headers={n.replace("_", "-"): v for n, v in headers.items()})

    return fault


async def reset(request: web.Request) -> web.StreamResponse:
    """Takes the request and hangs up in the middle of the status line."""
    await request.read()
    assert request.transport is not None
    request.transport.write(b"HTTP/1.1 20")
    request.transport.close()
    return web.Response()
