"""Every kind of credential that an app can show, and what it may expect before its objects are looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from oauthlib.oauth1 import Client as Signer

from hub.api.oauth.consumer import Consumers, new_secret
from hub.store import apps
from hub.store.audit import HUB
from tests.api.matrix.conftest import Matrix
from tests.api.matrix.rules import SCOPES, Access
from tests.api.matrix.world import bearer
from tests.api.oneroster.rosters import issue

Held = Literal["active", "closed", "elsewhere", "none"]


@dataclass(frozen=True)
class Caller:
    """One credential. ``scopes``: none where it is no valid one. ``held``: its app's grant in the first district."""

    name: str
    headers: tuple[str, ...] = ()
    scopes: frozenset[str] = frozenset()
    valid: bool = True
    held: Held = "active"
    signs: Callable[[str, str], tuple[str, ...]] | None = None

    def shown(self, method: str, path: str) -> tuple[str, ...]:
        """The headers of a request."""
        return self.signs(method, path) if self.signs is not None else self.headers


#: For what asks for a token, the first that applies. Who is refused by none is let in, and the objects decide.
ADMISSION: tuple[tuple[str, Callable[[Access, str, Caller], bool], int], ...] = (
    ("no valid credential", lambda _, __, who: not who.valid, 401),
    ("signed where tokens alone are taken", lambda access, _, who: bool(who.signs) and not access.signed, 401),
    ("none of the scopes", lambda access, _, who: not access.scopes & who.scopes, 403),
    ("nothing granted", lambda _, __, who: who.held == "none", 404),
    ("granted in another district", lambda _, path, who: who.held == "elsewhere" and path.startswith("/d/"), 404),
    ("suspended or withdrawn", lambda _, __, who: who.held == "closed", 403),
)


def refused(access: Access, path: str, who: Caller) -> int | None:
    """The status by ``ADMISSION``; None for who is let in."""
    return next((status for _, applies, status in ADMISSION if applies(access, path, who)), None)


async def invalid_callers(matrix: Matrix) -> list[Caller]:
    """Those that prove nothing."""
    world = matrix.world
    good = world.tokens["school"]
    shown = {
        "no header": (), "another scheme": ("Authorization: Basic eDp5",), "no token": ("Authorization: Bearer",),
        "garbage": bearer("nonsense"), "unknown token": bearer(apps.new_token()), "one more letter": bearer(good + "x"),
        "a token of the admin API": bearer(world.admins["operator"]), "a client's secret": bearer(
            world.clients["school"][1]), "OAuth without parameters": ("Authorization: OAuth",),
        **{name: bearer(token) for name, token in world.spent.items()},
    }  # fmt: skip
    return [Caller(name, headers, valid=False) for name, headers in shown.items()]


async def valid_callers(matrix: Matrix) -> list[Caller]:
    """Each scope by itself, all of them, near misses, and other apps."""
    world = matrix.world
    sets = {scope.rpartition("/or/")[2]: frozenset({scope}) for scope in SCOPES}
    sets |= {"no scope": frozenset(), "near misses": frozenset(s + "x" for s in SCOPES) | {s[:-1] for s in SCOPES}}
    found = [await _with_scopes(matrix, name, scopes) for name, scopes in sets.items()]
    every = frozenset(SCOPES)
    held: dict[str, Held] = {"suspended": "closed", "revoked": "closed", "stranger": "elsewhere", "nobody": "none"}
    found += [Caller(app, bearer(world.tokens[app]), every, held=how) for app, how in held.items()]
    return [*found, await _signer(matrix), school(matrix)]


async def all_but(matrix: Matrix, sets: Iterable[frozenset[str]]) -> dict[frozenset[str], Caller]:
    """For each set of scopes, who has all others."""
    return {s: await _with_scopes(matrix, "all other scopes", frozenset(SCOPES) - s) for s in sets}


async def _with_scopes(matrix: Matrix, name: str, scopes: frozenset[str]) -> Caller:
    client = matrix.world.clients["school"][0]
    return Caller(name, bearer(await issue(matrix.hub.db, client, sorted(scopes))), scopes)


def school(matrix: Matrix) -> Caller:
    """The app under test with all scopes."""
    return Caller("all scopes", bearer(matrix.world.tokens["school"]), frozenset(SCOPES))


async def _signer(matrix: Matrix) -> Caller:
    """The app under test, signing with OAuth 1."""
    key, secret = matrix.world.clients["school"][0], new_secret()
    consumers = await Consumers.load(matrix.hub.settings)
    async with matrix.hub.db.district(HUB) as tx:
        await apps.switch_oauth1(tx, key, await consumers.sealed(tx, secret, key), was_on=False)
    signer, root = Signer(key, client_secret=secret), matrix.hub.settings.public_url

    def signs(method: str, path: str) -> tuple[str, ...]:
        return (f"Authorization: {signer.sign(root + path, method)[1]['Authorization']}",)

    return Caller("signed", scopes=frozenset(SCOPES), signs=signs)
