"""OneRoster 1.1 against the tables of a digest of it: operations, members, and the live answers of every read."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import jsonschema

from hub.api.oneroster.operations import Operation
from hub.api.oneroster.scopes import V1P1
from hub.api.oneroster.v1p1.operations import V1P1_READS
from hub.api.oneroster.writes import WRITES
from hub.settings import role_passwords
from hub.store.migrate import migrate
from tests.api.oneroster.rosters import issue
from tests.api.oneroster_v1p1.school import Old, prepare, serving
from tests.conformance.live import servers
from tests.conformance.tables import Schema, Table, objects, tables, words
from tests.services import MASTER_KEY, database_at
from transforms.catalogue import BASE_NAMES, Need

FILES = ("rostering-rest.md", "gradebook-resources-rest.md")
SCOPE = "https://purl.imsglobal.org/spec/or/v1p1/scope/"
#: What is meant to be so, by the end of its place, each with the reason.
MEANT = {
    ".password": "passwords are never kept and never served",
}
Line = tuple[str, str, str, str]


@dataclass
class Compared:
    """What was compared, and what differs."""

    operations: int = 0
    answers: int = 0
    wrong: list[str] = field(default_factory=list)


def digest(folder: Path) -> list[Table]:
    """The tables of the digest in a folder; none where it is not there."""
    files = [folder / name for name in FILES]
    return [t for file in files if file.is_file() for t in tables(file.read_text(encoding="utf-8"))]


async def compare(found: Sequence[Table]) -> Compared:
    """The hub beside the tables."""
    out = Compared()
    theirs, mine = set(_operations(found)), set(_ours())
    out.operations = len(theirs)
    out.wrong += [f"{' '.join(line)}: the hub does not have it so" for line in theirs - mine]
    out.wrong += [f"{' '.join(line)}: the tables do not have it so" for line in mine - theirs]
    schemas = objects(found)
    out.wrong += _members(schemas)
    async with _school() as old:
        await _Live(old, schemas, out).ask()
        out.wrong += await _refusals(old, found)
    out.wrong = sorted({line for line in out.wrong if not any(line.partition(": ")[0].endswith(end) for end in MEANT)})
    return out


def _bare(path: str) -> str:
    return re.sub(r"\{\w+\}", "{}", path)


def _operations(found: Sequence[Table]) -> Iterator[Line]:
    """Method, path, envelope and scopes. Rostering of 1.1 has the paths of 1.2; so have resources but one."""
    for table in found:
        if table.of("Path", "operationId", "Envelope", "Scope") and not table.heading.startswith("2.1"):
            for row in table.rows:
                path, scopes = (
                    words(row["Path"])[0],
                    row["Scope"].replace("resource-core.readonly", "resource.readonly"),
                )
                if not path.startswith("/users/{userSourcedId}/resources"):
                    yield "GET", _bare(path), words(row["Envelope"])[0], _scopes(scopes.split(" or "))
        elif any(column.startswith("Path below") for column in table.rows[0]):
            for row in table.rows:
                path, *_ = (words(cell)[0] for column, cell in row.items() if column.startswith("Path"))
                scopes = [part.strip() for part in row["Scope"].split("/")]
                for method, scope in zip(row["Methods"].split(", "), scopes, strict=True):
                    yield method, _bare(path), words(row["Envelope"])[0], _scopes([f"gradebook.{scope.split('.')[-1]}"])


def _scopes(names: Sequence[str]) -> str:
    return " ".join(sorted({name.strip() for name in names}))


def _ours() -> Iterator[Line]:
    for read in V1P1_READS:
        yield "GET", _bare(read.path), read.envelope, _scopes([s.removeprefix(SCOPE) for s in read.scopes])
    for write in WRITES:
        if write.version == "1.1":
            scopes = _scopes([s.removeprefix(SCOPE) for s in write.scopes])
            yield write.method, _bare(write.path), write.entity.singular, scopes


def _members(schemas: Mapping[str, Schema]) -> Iterator[str]:
    """The catalogue beside the tables, object by object."""
    for entity in {read.entity for read in V1P1_READS}:
        schema = schemas[entity.singular.lower()]
        fields = {f.name: f.rest_need("1.1") is Need.REQUIRED for f in entity.members("1.1")}
        for name in schema["properties"].keys() ^ (fields.keys() | set(BASE_NAMES)):
            yield f"{entity.singular}.{name}: on one side only"
        for name, required in fields.items():
            if required is not (name in schema["required"]):
                yield f"{entity.singular}.{name}: required on one side only"


@asynccontextmanager
async def _school() -> Any:
    with servers() as url:
        await migrate(url, passwords=role_passwords(MASTER_KEY))
        database = database_at(url)
        async with serving(database, await prepare(database.worker)) as old:
            yield old


class _Live:
    """Asks for everything: collections first, then what is known by their objects' ids."""

    def __init__(self, old: Old, schemas: Mapping[str, Schema], out: Compared) -> None:
        self.old = old
        self.schemas = schemas
        self.out = out
        self.ids: dict[str, list[str]] = {}

    async def ask(self) -> None:
        """Compares the answers of all reads. The courses of the district's own schools are the district's."""
        await self.old.behave(courses_of_classes=True)
        for operation in V1P1_READS:
            if not (operation.single or operation.parents):
                body = await self._answer(operation, operation.path)
                self.ids[operation.path] = [one["sourcedId"] for one in body or ()]
        for operation in V1P1_READS:
            if operation.single:
                for key in self.ids[operation.path.rpartition("/")[0]]:
                    await self._answer(operation, operation.path.replace("{sourcedId}", key))
            elif operation.parents:
                await self._nested(operation)

    async def _nested(self, operation: Operation) -> None:
        """Tries all parents; some of them together have to give something."""
        given = 0
        for keys in product(*(self.ids[_collection(parent)] for parent in operation.parents)):
            path = operation.path
            for parent, key in zip(operation.parents, keys, strict=True):
                path = path.replace("{" + parent.variable + "}", key)
            given += len(await self._answer(operation, path, apart=len(keys) > 1) or ())
        if not given:
            self.out.wrong.append(f"GET {operation.path}: nothing came")

    async def _answer(self, operation: Operation, path: str, *, apart: bool = False) -> list[Any] | None:
        """What one read gave. ``apart``: its parents may not belong together, which is 404."""
        status, body, headers = await self.old.get(path)
        self.out.answers += 1
        place = f"GET {operation.path}"
        if status == 404 and apart:
            return None
        if status != 200 or list(body) != [operation.envelope]:
            self.out.wrong.append(f"{place}: {status} with {sorted(body)}")
            return None
        found = [body[operation.envelope]] if operation.single else body[operation.envelope]
        if headers["X-Total-Count"] != str(len(found)):
            self.out.wrong.append(f"{place}: X-Total-Count is {headers['X-Total-Count']}")
        validator = jsonschema.Draft7Validator(self.schemas[operation.entity.singular.lower()])
        for error in (error for one in found for error in validator.iter_errors(one)):
            member = "".join(f".{part}" if isinstance(part, str) else "[]" for part in error.absolute_path)
            self.out.wrong.append(f"{place} {operation.envelope}[]{member}: {error.validator}")
        return found


def _collection(parent: Any) -> str:
    """The collection that has the objects of a parent."""
    named = {"school": "/schools", "term": "/terms", "student": "/students", "teacher": "/teachers"}
    return named.get(parent.token or "", f"/{parent.entity}")


async def _refusals(old: Old, found: Sequence[Table]) -> list[str]:
    """The code minors of 1.1 by status."""
    table = next(t for t in found if t.of("HTTP", "1.1 code minor"))
    known = {row["HTTP"]: row["1.1 code minor"].split(" / ") for row in table.rows}
    core = await issue(old.hub.db, old.school.clients["all"][0], [V1P1.ROSTER_CORE])
    wrong = []
    for path, more, status in (
        ("/users", {"token": "none"}, 401), ("/users/none", {}, 404), ("/schools/none/classes", {}, 404),
        ("/users", {"filter": "shoeSize='42'"}, 400), ("/users", {"fields": ""}, 400), ("/users", {"limit": "x"}, 400),
        ("/demographics", {"token": core}, 403), ("/schools/none/classes", {"token": core}, 403),
    ):  # fmt: skip
        got, body, _ = await old.get(path, **more)
        members = body.get("statusInfoSet", [{}])[0]
        if got != status or members.get("imsx_codeMinor") not in known[str(status)] or len(body) != 1:
            wrong.append(f"GET {path} {sorted(more)}: {got} {members.get('imsx_codeMinor')}")
    return wrong
