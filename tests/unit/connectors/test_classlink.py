"""ClassLink's Roster Server: a partner's key, its districts, bearers that change, and revisions of the data."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from connectors.oneroster_rest import SPEC
from connectors.protocol import ConnectorError, Intent, Pull, SourceContext, Tried
from tests.fakes import rosters
from tests.fakes.classlink_proxy import APPLICATION, KEY, Proxy, ProxyHandler
from tests.fakes.oneroster_server import SECRET, Asked, filled, running

ENTITIES = ["orgs", "users", "enrollments"]


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    server = Proxy("1.1", filled("1.1", rosters.clean("1.1")).objects)
    with running(server, handler=ProxyHandler):
        yield server


def context(proxy: Proxy, folder: Path, secret: str = KEY, **login: Any) -> SourceContext:
    config = {
        "url": proxy.url, "version": "1.1", "profile": "classlink", "entities": ENTITIES, "page_rows": 2,
        "login": {"kind": "classlink", "application": APPLICATION} | login,
    }  # fmt: skip

    async def at_once(_seconds: float) -> None:
        """Waits for nothing."""

    return SourceContext(
        SPEC.config_model.model_validate(config), work_folder=folder, secrets={"client_secret": secret},
        reachable=lambda *_: True, now=lambda: proxy.now, sleep=at_once,
    )  # fmt: skip


def pull(proxy: Proxy, folder: Path, cursor: Any = None, **login: Any) -> Pull:
    return asyncio.run(SPEC.open(context(proxy, folder, **login)).pull(cursor))


def keys(pulled: Pull) -> dict[str, list[str]]:
    return {file: sorted(pulled.package.keys(file)) for file in ENTITIES if file in pulled.package.mode}


def held(proxy: Proxy) -> dict[str, list[str]]:
    return {entity: sorted(proxy.objects[entity]) for entity in ENTITIES}


def test_the_proxy_and_the_districts_own_server_give_the_same(proxy: Proxy, tmp_path: Path) -> None:
    by_proxy = pull(proxy, tmp_path)
    assert keys(by_proxy) == held(proxy)
    assert proxy.signed == []
    direct = pull(proxy, tmp_path, connection="direct")
    assert direct.package.digest == by_proxy.package.digest
    assert set(proxy.signed) == {"OAuth"}
    for name in ("t-22", "2", "9"):
        assert keys(pull(proxy, tmp_path, application=name)) == held(proxy)


def test_a_bearer_that_changes_during_a_pull_is_asked_for_again(proxy: Proxy, tmp_path: Path) -> None:
    def change(one: Asked) -> None:
        if (one.entity, one.number) == ("users", 1):
            proxy.bearer = "bearer-2"
            proxy.tokens = {proxy.bearer}

    proxy.before_page = change
    assert keys(pull(proxy, tmp_path)) == held(proxy)
    assert proxy.listed == 2


@pytest.mark.threat("F8")
def test_a_revision_that_changes_midway_begins_the_pull_again(proxy: Proxy, tmp_path: Path) -> None:
    changes = iter(("8",))

    def change(one: Asked) -> None:
        if (one.entity, one.number) == ("users", 1):
            proxy.revision = next(changes, proxy.revision)

    proxy.before_page = change
    first = pull(proxy, tmp_path)
    assert keys(first) == held(proxy)
    assert proxy.count("orgs") == 2 * -(-len(proxy.objects["orgs"]) // 2)
    assert first.cursor is not None
    assert first.cursor["revision"] == "8"

    proxy.asked.clear()
    again = pull(proxy, tmp_path, cursor=first.cursor)
    assert (len(proxy.asked), dict(again.package.mode), again.cursor) == (
        1,
        {},
        first.cursor | {"since": again_at(again)},
    )

    proxy.asked.clear()
    proxy.revision = "9"
    assert pull(proxy, tmp_path, cursor=first.cursor).cursor is not None
    assert len(proxy.asked) > 1

    numbers = iter(range(10, 1000))
    proxy.before_page = lambda _: setattr(proxy, "revision", str(next(numbers)))
    with pytest.raises(ConnectorError) as caught:
        pull(proxy, tmp_path)
    assert (caught.value.code, caught.value.intent) == ("not_whole", Intent.RETRY)


def again_at(pulled: Pull) -> str:
    assert pulled.cursor is not None
    return str(pulled.cursor["since"])


def test_what_is_wrong_is_said_without_a_secret(proxy: Proxy, tmp_path: Path) -> None:
    with pytest.raises(ConnectorError) as unknown:
        pull(proxy, tmp_path, application="nobody")
    assert (unknown.value.code, unknown.value.intent) == ("no_application", Intent.ASK_HUMAN)
    assert f"Springfield ({APPLICATION})" in unknown.value.message
    assert not [word for word in (KEY, SECRET, "bearer") if word in unknown.value.message]
    with pytest.raises(ConnectorError) as refused:
        asyncio.run(SPEC.open(context(proxy, tmp_path, secret="wrong")).pull(None))
    assert (refused.value.code, refused.value.intent) == ("login_refused", Intent.ASK_HUMAN)
    source = SPEC.open(context(proxy, tmp_path, application="nobody"))
    assert isinstance(source, Tried)
    told = asyncio.run(source.probe())
    assert [one.text for one in told if one.outcome == "bad"] == [unknown.value.message]
    assert not list(tmp_path.iterdir())
