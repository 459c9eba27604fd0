"""A OneRoster server that fails, moves, lies or is slow: the pull is exact, or it fails as a whole and says why."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from connectors import spool
from connectors.limits import DEFAULT_TIMEOUTS, Timeouts
from connectors.oneroster_rest import SPEC
from connectors.protocol import ConnectorError, Intent, Pull, SourceContext
from tests.fakes.certificates import certificate
from tests.fakes.oneroster_server import CLIENT, SECRET, Asked, Quirks, Server, running

USERS = 25
PAGE = 10
#: What a server does once, in the middle of a pull, and recovers from.
PASSING = ("status:500", "status:502", "status:503:1", "status:503", "status:429:2", "status:429", "status:504",
           "status:408", "html", "error", "truncated", "short", "reset", "empty", "revoked")  # fmt: skip
#: What stays wrong, with what the hub may do about it.
LASTING = (
    ("status:500", "server_failed", Intent.RETRY), ("status:503", "busy", Intent.RETRY),
    ("html", "not_oneroster", Intent.RETRY), ("error", "not_oneroster", Intent.RETRY),
    ("truncated", "not_oneroster", Intent.RETRY), ("short", "answer_cut_off", Intent.RETRY),
    ("reset", "answer_cut_off", Intent.RETRY), ("hang:1", "timed_out", Intent.RETRY),
    ("drip:12", "timed_out", Intent.RETRY),
    ("status:403", "not_permitted", Intent.ASK_HUMAN), ("status:404", "not_found", Intent.ASK_HUMAN),
    ("status:401", "login_refused", Intent.ASK_HUMAN), ("redirect:http://127.0.0.1:1/", "moved", Intent.ASK_HUMAN),
    ("status:400", "query_refused", Intent.ASK_HUMAN), ("bomb", "answer_too_large", Intent.ASK_HUMAN),
    ("status:418", "server_failed", Intent.ASK_HUMAN),
)  # fmt: skip


class Held:
    """Keeps each request for a moment. ``most``: so many were there at a time.

    A page behind the first is kept until ``wanted`` of them have been there at a time: a busy machine may take longer
    to send the next request than any moment lasts.
    """

    def __init__(self) -> None:
        self.changed, self.here, self.most, self.wanted = threading.Condition(), 0, 0, 1

    def __call__(self, one: Asked) -> None:
        with self.changed:
            self.here += 1
            self.most = max(self.most, self.here)
            self.changed.notify_all()
            if one.query.get("offset", "0") != "0":
                self.changed.wait_for(lambda: self.most >= self.wanted, timeout=5)
        time.sleep(0.01)
        with self.changed:
            self.here -= 1

    def until(self, wanted: int) -> None:
        """Counts anew."""
        self.most, self.wanted = 0, wanted


def person(number: int) -> dict[str, Any]:
    org = {"sourcedId": "s1", "href": "https://sis.example/orgs/s1", "type": "org"}
    return {
        "sourcedId": f"u{number:03}", "status": "active", "dateLastModified": "2026-01-01T00:00:00.000Z",
        "enabledUser": "true", "givenName": "A", "familyName": "B", "username": f"login{number}",
        "roles": [{"roleType": "primary", "role": "student", "org": org}], "metadata": {"house": "Blue"},
    }  # fmt: skip


@pytest.fixture
def sis() -> Iterator[Server]:
    server = Server("1.2")
    school = {"sourcedId": "s1", "name": "S", "type": "school", "status": "active", "dateLastModified": "2026-01-01"}
    server.objects = {"orgs": {"s1": school}, "users": {person(n)["sourcedId"]: person(n) for n in range(USERS)}}
    with running(server):
        yield server


def config(sis: Server, **more: Any) -> dict[str, Any]:
    login = {"kind": "oauth2", "token_url": sis.token_url, "client_id": CLIENT}
    return {"url": sis.url, "login": login, "entities": ["orgs", "users"], "page_rows": PAGE} | more


def context(
    sis: Server, folder: Path, waits: list[float], *, timeouts: Timeouts = DEFAULT_TIMEOUTS, **more: Any
) -> SourceContext:
    async def noted(seconds: float) -> None:
        waits.append(seconds)

    return SourceContext(
        SPEC.config_model.model_validate(config(sis, **more)), work_folder=folder, now=lambda: sis.now, sleep=noted,
        secrets={"client_secret": SECRET}, reachable=lambda address, _: address == "127.0.0.1", timeouts=timeouts,
    )  # fmt: skip


def pull(sis: Server, folder: Path, *, waits: list[float] | None = None, cursor: Any = None, **more: Any) -> Pull:
    return asyncio.run(SPEC.open(context(sis, folder, [] if waits is None else waits, **more)).pull(cursor))


def keys(pulled: Pull) -> list[str]:
    found = pulled.package.keys("users").to_list()
    assert len(found) == len(set(found))
    roles = [key for batch in pulled.package.batches("roles") for key in batch.frame["userSourcedId"]]
    assert sorted(roles) == sorted(found)
    return sorted(found)


def refused(sis: Server, folder: Path, **more: Any) -> ConnectorError:
    before = set(folder.iterdir())
    with pytest.raises(ConnectorError) as caught:
        pull(sis, folder, **more)
    assert set(folder.iterdir()) == before, "rosters stay behind"
    assert SECRET not in f"{caught.value} {caught.value.__cause__}"
    return caught.value


def once(fault: str, page: int) -> Any:
    """The fault at one request for a page of users, counted from 0."""
    return lambda one: fault if (one.entity, one.number) == ("users", page) else None


@pytest.mark.threat("F8")
@pytest.mark.parametrize("fault", PASSING)
def test_what_passes_costs_a_request_and_nothing_else(sis: Server, tmp_path: Path, fault: str) -> None:
    for page in range(3):
        sis.asked.clear()
        sis.issued = 0
        sis.fault = once(fault, page)
        waits: list[float] = []
        assert keys(pull(sis, tmp_path, waits=waits)) == sorted(sis.objects["users"])
        if fault == "status:429:2":
            assert waits == [2.0]
        assert sis.issued == (2 if fault == "revoked" else 1)


@pytest.mark.threat("F8", "T34")
@pytest.mark.parametrize(("fault", "code", "intent"), LASTING)
def test_what_lasts_fails_the_whole_pull_and_says_what_to_do(
    sis: Server, tmp_path: Path, fault: str, code: str, intent: Intent
) -> None:
    timeouts = Timeouts(idle=0.1, total=0.3) if fault.startswith(("hang", "drip")) else DEFAULT_TIMEOUTS
    sis.fault = lambda one: fault if one.entity == "users" and one.number else None
    error = refused(sis, tmp_path, timeouts=timeouts)
    assert (error.code, error.intent) == (code, intent)


@pytest.mark.threat("F8")
@pytest.mark.parametrize("totals", ["right", "none", "once"])
@pytest.mark.parametrize("links", ["none", "absolute", "relative", "foreign"])
def test_pages_of_any_kind_are_walked_to_their_end(sis: Server, tmp_path: Path, totals: str, links: str) -> None:
    for cap in (1, 3, 10, 24, 25, 26):
        sis.quirks = Quirks(totals=totals, links=links, cap=cap)
        sis.asked.clear()
        assert keys(pull(sis, tmp_path, page_rows=12)) == sorted(sis.objects["users"])
        pages = -(-USERS // min(cap, 12))
        assert sis.count("users") <= pages + (3 if totals == "none" and links == "none" else 0) + pages // 4


@pytest.mark.threat("F8")
@pytest.mark.parametrize("totals", ["right", "none"])
@pytest.mark.parametrize("move", ["first goes", "one comes first", "one goes, one comes", "last goes"])
@pytest.mark.parametrize("page", [1, 2])
def test_records_that_move_during_the_walk_are_neither_lost_nor_doubled(
    sis: Server, tmp_path: Path, totals: str, move: str, page: int
) -> None:
    sis.quirks = Quirks(totals=totals)

    def moved(one: Asked) -> None:
        users = sis.objects["users"]
        if (one.entity, one.number) != ("users", page):
            return
        if move != "one comes first":
            del users[next(reversed(users)) if move == "last goes" else next(iter(users))]
        if move.endswith(("comes first", "one comes")):
            sis.objects["users"] = {"new": person(100) | {"sourcedId": "new"}, **users}

    sis.before_page = moved
    before = set(sis.objects["users"])
    found, after = set(keys(pull(sis, tmp_path))), set(sis.objects["users"])
    assert before & after <= found <= before | after
    if move != "one goes, one comes":  # as many as before: what is new comes with the next pull
        assert found == after


@pytest.mark.threat("F8", "F9")
def test_a_server_that_never_rests_or_that_counts_wrongly_is_not_believed(sis: Server, tmp_path: Path) -> None:
    numbers = itertools.count(1000)

    def restless(one: Asked) -> None:
        if one.entity == "users":
            sis.put("users", f"u{next(numbers)}", **{k: v for k, v in person(1).items() if k != "sourcedId"})

    sis.before_page = restless
    assert refused(sis, tmp_path).code == "not_whole"
    sis.before_page = lambda _: None
    for totals in ("high", "low"):
        sis.quirks = Quirks(totals=totals)
        error = refused(sis, tmp_path)
        assert (error.code, error.intent) == ("total_wrong", Intent.ASK_HUMAN)
        assert keys(pull(sis, tmp_path, totals="ignored")) == sorted(sis.objects["users"])


@pytest.mark.threat("F8", "T34")
@pytest.mark.parametrize("totals", ["right", "none"])
def test_a_server_that_gives_one_page_again_and_again_is_not_believed(sis: Server, tmp_path: Path, totals: str) -> None:
    sis.quirks = Quirks(totals=totals, offset="ignored", cap=5)
    assert refused(sis, tmp_path).code == "repeated_page"
    sis.quirks = Quirks(totals=totals, links="absolute", offset="ignored", cap=5)
    assert refused(sis, tmp_path).code in {"repeated_page", "endless"}
    # One that knows no pages at all, and gives everything at once, has given everything.
    sis.quirks = Quirks(totals=totals)
    sis.fault = lambda one: one.query.update(limit="1000") if one.entity == "users" else None
    assert keys(pull(sis, tmp_path)) == sorted(sis.objects["users"])


def test_ids_that_come_twice_are_reported_and_large_limits_lowered(sis: Server, tmp_path: Path) -> None:
    sis.objects["users"] |= {f"x{n}": person(n + 200) for n in range(100)}
    sis.objects["users"]["twin"] = person(3)
    sis.quirks = Quirks(largest_limit=100)
    pulled = pull(sis, tmp_path, page_rows=5000)
    assert pulled.package.rows("users") == len(sis.objects["users"]) - 1
    assert "REST-003" in pulled.package.issues["code"].to_list()


@pytest.mark.parametrize("filters", ["known", "refused", "ignored"])
def test_changes_come_with_tombstones_and_ids(
    sis: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, filters: str
) -> None:
    monkeypatch.setattr(spool, "CHUNK_ROWS", 7)
    first = pull(sis, tmp_path, sweep_hours=0)
    assert (first.package.mode["users"], first.present) == ("bulk", {})
    assert first.package.rows("users") == USERS
    sis.quirks = Quirks(filters=filters, fields="refused" if filters == "ignored" else "known")
    sis.put("users", "u001", givenName="Z")
    sis.end("users", "u002")
    second = pull(sis, tmp_path, sweep_hours=0, cursor=first.cursor)
    if filters == "refused":
        assert second.package.mode == {"orgs": "bulk", "users": "bulk", "roles": "bulk", "userProfiles": "bulk"}
        assert (second.package.rows("users"), second.present) == (USERS - 1, {})
        return
    (frame,) = (batch.frame for batch in second.package.batches("users", 1000))
    told = dict(frame.select("sourcedId", "status").rows())
    assert {k: told[k] for k in ("u001", "u002")} == {"u001": "active", "u002": "tobedeleted"}
    assert len(told) == (2 if filters == "known" else USERS)
    assert second.objects
    assert set(second.present["users"]) == set(sis.objects["users"]) - {"u002"}


@pytest.mark.parametrize("login", [
    {"kind": "oauth1", "client_id": CLIENT}, {"kind": "oauth1", "client_id": CLIENT, "signature_method": "HMAC-SHA1"},
    {"kind": "bearer"}, {"kind": "oauth2", "client_id": CLIENT, "client_auth": "body"},
])  # fmt: skip
def test_each_way_to_log_in(sis: Server, tmp_path: Path, login: dict[str, str]) -> None:
    sis.version = "1.1"
    if login["kind"] == "oauth2":
        login = login | {"token_url": sis.token_url}
    first = pull(sis, tmp_path, version="1.1", login=login)
    assert first.package.rows("users") == USERS
    assert pull(sis, tmp_path, version="1.1", login=login, cursor=first.cursor).package.mode == {}
    if login["kind"] == "oauth2":
        assert sis.forms[0]["scope"] == "https://purl.imsglobal.org/spec/or/v1p1/scope/roster.readonly"
    sis.token_fault = "401"
    bad = SPEC.config_model.model_validate(config(sis, version="1.1", login=login))
    wrong = context(sis, tmp_path, [])
    wrong = SourceContext(bad, work_folder=tmp_path, secrets={"client_secret": "no"}, reachable=wrong.reachable)
    with pytest.raises(ConnectorError) as caught:
        asyncio.run(SPEC.open(wrong).pull(None))
    assert (caught.value.code, caught.value.intent) == ("login_refused", Intent.ASK_HUMAN)


def test_cookies_of_the_token_go_with_the_requests(sis: Server, tmp_path: Path) -> None:
    # Aeries: session and load balancer's affinity, by which the same machine answers that made the token.
    sis.cookie = "ARRAffinity=machine-7"
    assert pull(sis, tmp_path).package.rows("users") == USERS
    assert {one.headers["Cookie"] for one in sis.asked} == {sis.cookie}


def test_what_a_vendor_wants_goes_with_tokens_and_pages(sis: Server, tmp_path: Path) -> None:
    assert pull(sis, tmp_path, profile="skyward", page_rows=None).package.rows("users") == USERS
    sent = [headers for _, headers in sis.token_requests] + [one.headers for one in sis.asked]
    assert {one.get("Suppress-Development-Permissions") for one in sent} == {"true"}
    assert {one.query["limit"] for one in sis.asked} == {"1000"}
    assert sis.forms[0]["scope"] == "https://purl.imsglobal.org/spec/or/v1p2/scope/roster.readonly"
    sis.asked.clear()
    login = {"kind": "oauth2", "token_url": f"{sis.token_url}?appName=hub", "client_id": CLIENT}
    campus = pull(sis, tmp_path, profile="infinite_campus", page_rows=50_000, login=login)
    assert (campus.package.rows("users"), sis.token_requests[-1][0]) == (USERS, "/token?appName=hub")
    assert {one.query["limit"] for one in sis.asked} == {"50000"}


@pytest.mark.parametrize(
    ("settings", "root"),
    [
        ({}, "/ims/oneroster/v1p1/"),
        ({"profile": "infinite_campus"}, "/ims/oneroster/rostering/v1p1/"),
        ({"url": "/campus/api/ims/oneroster/rostering/v1p1"}, "/campus/api/ims/oneroster/rostering/v1p1/"),
        ({"url": "/ims/oneroster/v1p1/", "profile": "infinite_campus"}, "/ims/oneroster/v1p1/"),
        ({"url": "/campus/learningdata/v1", "profile": "infinite_campus"}, "/campus/learningdata/v1/"),
    ],
)
def test_1_1_is_where_its_vendor_has_it(sis: Server, tmp_path: Path, settings: dict[str, str], root: str) -> None:
    sis.version, sis.root = "1.1", root
    more = settings | {"url": sis.url + settings.get("url", "")}
    assert pull(sis, tmp_path, version="1.1", entities=["users"], **more).package.rows("users") == USERS


def test_a_vendors_bound_of_requests_at_a_time_is_not_passed(sis: Server, tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="at_once: infinite_campus bears 5 requests at a time"):
        context(sis, tmp_path, [], profile="infinite_campus", at_once=6)
    sis.objects["users"] = {person(n)["sourcedId"]: person(n) for n in range(100)}
    sis.before_page = held = Held()
    for settings, most in (({}, 4), ({"at_once": 5}, 5)):
        held.until(most)
        pull(sis, tmp_path, profile="infinite_campus", **settings)
        assert held.most == most


@pytest.mark.threat("T31", "T33")
def test_addresses_are_judged_when_they_are_dialled(sis: Server, tmp_path: Path) -> None:
    asked = context(sis, tmp_path, [])
    closed = SourceContext(asked.config, work_folder=tmp_path, secrets=asked.secrets)
    with pytest.raises(ConnectorError) as caught:
        asyncio.run(SPEC.open(closed).pull(None))
    assert caught.value.code == "address_blocked"
    assert not sis.forms
    named = sis.url.replace("127.0.0.1", "localhost")
    login = {"kind": "oauth2", "token_url": named + "/token", "client_id": CLIENT}
    assert pull(sis, tmp_path, url=named, login=login).package.rows("users") == USERS


@pytest.mark.threat("F8")
def test_a_certificate_that_nobody_vouches_for_is_not_trusted(sis: Server, tmp_path: Path) -> None:
    file = certificate(tmp_path, "127.0.0.1", days=3)
    with running(Server("1.2", sis.objects), file) as safe:
        error = refused(safe, tmp_path)
        assert (error.code, error.intent, safe.forms) == ("tls_failed", Intent.ASK_HUMAN, [])


def test_quiet_hours_are_kept(sis: Server, tmp_path: Path) -> None:
    error = refused(sis, tmp_path, quiet="05:30-08:00", zone="UTC")  # it is 06:00
    assert (error.code, error.intent, error.wait_seconds) == ("quiet_hours", Intent.RETRY, 7200.0)
    assert not sis.asked
    assert pull(sis, tmp_path, quiet="07:00-05:00", zone="UTC").package.rows("users") == USERS
    overnight = refused(sis, tmp_path, quiet="23:00-07:00", zone="UTC")
    assert overnight.wait_seconds == 3600.0


def test_pages_are_asked_for_side_by_side_within_the_bound(sis: Server, tmp_path: Path) -> None:
    sis.objects["users"] = {person(n)["sourcedId"]: person(n) for n in range(200)}
    sis.before_page = held = Held()
    clean = None
    for bound in (1, 3):
        held.until(bound)
        pulled = pull(sis, tmp_path, at_once=bound)
        assert held.most == bound
        assert keys(pulled) == sorted(sis.objects["users"])
        assert clean in {None, pulled.package.digest}
        clean = pulled.package.digest
