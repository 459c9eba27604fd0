"""The client `oneroster`, with ClassLink's own signing: HMAC-SHA256, `next` followed, groups found by name."""

from __future__ import annotations

import asyncio
import collections
import collections.abc
import warnings
from typing import Any

import pytest

from hub.api.oauth.consumer import Consumers, new_secret
from hub.store import apps
from hub.store.audit import HUB
from tests.api.oneroster_v1p1.school import PEOPLE, Old

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it was written for Python 2.7
    from oneroster import ClasslinkConnector

#: All users of 1.1: who has several roles is several.
EVERYONE = [*PEOPLE, "ben.parent", "eve.aide", "gus.teacher", "zoe.aide"]


@pytest.fixture
async def secret(old: Old) -> str:
    """What the app `all` signs with."""
    key, secret = old.school.clients["all"][0], new_secret()
    consumers = await Consumers.load(old.hub.settings)
    async with old.hub.db.district(HUB) as tx:
        await apps.switch_oauth1(tx, key, await consumers.sealed(tx, secret, key), was_on=False)
    return secret


async def test_classlinks_client_finds_users_by_role_class_course_and_school(
    old: Old, secret: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collections, "MutableMapping", collections.abc.MutableMapping, raising=False)
    host = old.hub.settings.public_url + old.address("/")

    def get(**asked: Any) -> list[str]:
        client = ClasslinkConnector(host, old.school.clients["all"][0], secret, page_size=2)
        return [old.key(user["sourcedId"]) for user in client.get_users(**asked)]

    expected: list[tuple[dict[str, str], list[str]]] = [
        ({"user_filter": "users"}, EVERYONE),  # six pages, each signed anew
        ({"user_filter": "students"}, ["amy", "gus", "zoe"]),
        ({"user_filter": "teachers"}, ["ben", "cat", "gus.teacher"]),
        ({"group_filter": "classes", "group_name": "Math", "user_filter": "students"}, ["amy", "gus"]),
        ({"group_filter": "classes", "group_name": "art", "user_filter": "teachers"}, ["ben", "gus.teacher"]),
        ({"group_filter": "schools", "group_name": "North", "user_filter": "students"}, ["amy", "gus"]),
        ({"group_filter": "courses", "group_name": "Algebra", "user_filter": "teachers"},
         ["ben", "cat", "gus.teacher"]),
    ]  # fmt: skip
    for asked, keys in expected:
        assert sorted(await asyncio.to_thread(get, **asked)) == sorted(keys), asked
    secret = new_secret()
    with pytest.raises(Exception, match="401"):
        await asyncio.to_thread(get, user_filter="users")
