"""Every route, method, credential and object, for what apps read: from the router, and expected by a table by hand.

What is hidden by the view, of another district, or of nobody gets one and the same answer, byte by byte.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from functools import cache

import pytest

from tests.api.matrix.callers import Caller, all_but, invalid_callers, refused, school, valid_callers
from tests.api.matrix.conftest import Matrix
from tests.api.matrix.rules import CONTAINED, GRADEBOOK, TABLE, Access, plain
from tests.api.matrix.wire import Ask, Told
from tests.api.matrix.world import JSON, KINDS, UNSEEN

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND")
READS = {key: access for key, access in TABLE.items() if access.kind == "read"}
#: What asks for a token of an app.
GUARDED = {key: access for key, access in TABLE.items() if access.kind in {"read", "write", "page", "changes"}}


#: HEAD takes the way of GET, which all callers go: these are one for each outcome.
OF_HEAD = {"no header", "unknown token", "expired", "all other scopes", "all scopes", "suspended", "stranger", "nobody"}


def words(path: str) -> list[str]:
    """The collections whose objects a path names, the district not among them."""
    return re.findall(r"(\w+)/\*", path.removeprefix("/d/*"))


def filled(matrix: Matrix, path: str, *ids: str) -> str:
    """A path with ids in the places of its stars."""
    for one in (str(matrix.world.here), *ids) if path.startswith("/d/") else ids:
        path = path.replace("*", one, 1)
    return path


def at(matrix: Matrix, path: str, access: Access, *kinds: str) -> str:
    """A path with an id of each of these kinds; empty where there is no such object."""
    ids = [matrix.ids[access.version][kind][word] for kind, word in zip(kinds, words(path), strict=True)]
    return filled(matrix, path, *ids) if all(ids) else ""


def wrong(told: list[Told], statuses: list[set[int]]) -> list[str]:
    """What was answered otherwise than expected."""
    return [f"{one} instead of {want}" for one, want in zip(told, statuses, strict=True) if one.status not in want]


@pytest.mark.threat("T12", "T20")
async def test_the_router_holds_what_the_table_holds_and_nothing_else(matrix: Matrix) -> None:
    routed = {(method, plain(path)) for method, path in matrix.routes}
    assert routed - TABLE.keys() == set(), "enter these into tests/api/matrix/rules.py"
    assert TABLE.keys() - routed == set()
    assert len(routed) == len(matrix.routes)


@pytest.mark.threat("T12", "T20", "T24")
async def test_each_credential_opens_what_the_table_says_and_nothing_else(matrix: Matrix) -> None:
    """Ids are the app's own; what is written is nothing that could be stored."""
    callers = [*await invalid_callers(matrix), *await valid_callers(matrix)]
    others = await all_but(matrix, {access.scopes for access in GUARDED.values()})
    asks, wanted = [], []
    for (method, path), access, who in (
        (key, rule, who)
        for key, rule in GUARDED.items()
        for who in (*callers, others[rule.scopes])
        if key[0] != "HEAD" or who.name in OF_HEAD
    ):
        kind = "never" if method == "DELETE" else "own"
        address = at(matrix, path, access, *[kind] * len(words(path)))
        address += "?limit=1" if access.kind == "read" and not path.endswith("*") else ""
        body = b"{}" if method in {"PUT", "POST"} else b""
        headers = (*who.shown(method, address), *((JSON,) if body else ()))
        asks.append(Ask(method, address, headers, body, (who.name,)))
        status = refused(access, path, who)
        wanted.append({status} if status else let_in(method, path, who))
    told = await matrix.wire.all(asks)
    assert wrong(told, wanted) == []
    assert {status for status, _ in Counter(one.status for one in told).items()} >= {200, 401, 403, 404, 422}


def let_in(method: str, path: str, who: Caller) -> set[int]:
    """What an app hears that may go on."""
    if who.held == "elsewhere" and words(path):
        return {404}  # over all of its districts it finds no object of this one
    return {"GET": {200}, "HEAD": {200}, "DELETE": {404}}.get(method, {400, 422})


@pytest.mark.threat("T12", "T17", "T24")
async def test_each_read_shows_own_objects_and_has_one_answer_for_all_others(matrix: Matrix) -> None:
    asks, wanted = [], []
    for (method, path), access in READS.items():
        for kinds in itertools.product(KINDS, repeat=len(words(path))):
            if address := at(matrix, path, access, *kinds):
                asks.append(Ask(method, address, school(matrix).headers, label=kinds))
                wanted.append({seen(path, kinds)})
    told = await matrix.wire.all(asks)
    assert wrong(told, wanted) == []
    tried = Counter(kind for one in told for kind in one.ask.label)
    assert set(tried) == set(KINDS)
    assert min(tried.values()) > 100, tried
    _one_answer(told)


def seen(path: str, kinds: tuple[str, ...]) -> int:
    """Whether a read finds what its path names.

    Deleted objects and those that left the view are told as such, or have no children; those of the gradebook are gone.
    """
    if any(kind in UNSEEN for kind in kinds):
        return 404
    if "gone" in kinds and path.endswith("*") and words(path)[-1] in GRADEBOOK:
        return 404
    if kinds == ("gone", "own") and any(inner in path for inner in CONTAINED):
        return 404
    return 200


def _one_answer(told: list[Told]) -> None:
    """Refusals differ by the version and by whether there is a body, and by nothing else."""
    found: dict[tuple[str, str], set[object]] = {}
    for one in told:
        if one.status == 404:
            version = "1.1" if "/v1p1/" in one.ask.path else "1.2"
            found.setdefault((version, one.ask.method), set()).add(one.shown)
    assert {key: len(answers) for key, answers in found.items()} == dict.fromkeys(
        itertools.product(("1.1", "1.2"), ("GET", "HEAD")), 1
    ), found


@pytest.mark.threat("T20")
async def test_methods_that_a_path_does_not_know_are_refused_before_anybody_is_asked(matrix: Matrix) -> None:
    paths = {path for _, path in TABLE}
    known = {path: {method for method, other in TABLE if fits(path, other)} for path in paths}
    asks, wanted, allowed = [], [], []
    for (path, methods), method in itertools.product(known.items(), METHODS):
        if method in methods:
            continue
        address = path.replace("*", str(matrix.world.here))
        for headers in ((), school(matrix).headers, bearer_of_admin(matrix)):
            asks.append(Ask(method, address, headers))
            wanted.append({204 if method == "OPTIONS" else 405})
            allowed.append(", ".join(sorted({*methods, "OPTIONS"})))
    told = await matrix.wire.all(asks)
    assert wrong(told, wanted) == []
    assert [str(one) for one, allow in zip(told, allowed, strict=True) if one.headers["allow"] != allow] == []
    for _, same in itertools.groupby(told, lambda one: (one.ask.method, one.ask.path)):
        assert len({one.shown for one in same}) == 1


def fits(path: str, pattern: str) -> bool:
    """Whether a path is one of a pattern's: a name can stand where another path has an id."""
    return bool(_expression(pattern).fullmatch(path))


@cache
def _expression(pattern: str) -> re.Pattern[str]:
    """Each pattern is asked for every path: Python keeps fewer expressions than there are patterns."""
    return re.compile(re.escape(pattern).replace(r"\*", "[^/]+"))


def bearer_of_admin(matrix: Matrix) -> tuple[str, ...]:
    return (f"Authorization: Bearer {matrix.world.admins['operator']}",)


@pytest.mark.threat("T20", "T55")
async def test_what_is_public_tells_everybody_the_same(matrix: Matrix) -> None:
    callers = [*await invalid_callers(matrix), school(matrix), Caller("operator", bearer_of_admin(matrix))]
    public = [(method, path) for (method, path), access in TABLE.items()
              if access.kind == "public" or access.roles == "-"]  # fmt: skip
    assert len(public) > 30
    asks = [
        Ask(method, path.replace("*", district), who.headers, label=(who.name,))
        for method, path in public
        for district in ((str(matrix.world.here), str(matrix.world.there), "nonsense") if "*" in path else ("",))
        for who in callers
    ]
    told = await matrix.wire.all(asks)
    assert wrong(told, [{204 if one.ask.method == "OPTIONS" else 200} for one in told]) == []
    for _, same in itertools.groupby(told, lambda one: (one.ask.method, one.ask.path)):
        assert len({one.shown for one in same}) == 1
