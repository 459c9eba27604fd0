"""Settings come from the environment, and those that contradict each other are refused."""

from __future__ import annotations

import hmac
import ipaddress
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hub.errors import Code, HubError
from hub.settings import (
    SERVICE_ROLE,
    SUPPORT_ROLE,
    WORKER_ROLE,
    Settings,
    database_urls,
    load,
    master_key,
    master_keys,
    role_password,
    role_passwords,
    role_url,
)

KEY = "k" * 32
URL = "postgresql://owner:secret@db.example:5433/roster?sslmode=require"


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"HUB_{name.upper()}", raising=False)


def test_everything_has_a_default() -> None:
    settings = load()

    assert settings.embedded_postgres
    assert settings.embedded_redis
    assert settings.public_url == "http://127.0.0.1:8080"


def test_an_empty_variable_is_an_absent_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """As environment files leave them: `HUB_REDIS_URL=`."""
    for name in Settings.model_fields:
        monkeypatch.setenv(f"HUB_{name.upper()}", "")

    assert load() == Settings.model_construct()


def test_the_environment_sets_and_the_command_line_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUB_PORT", "9000")
    monkeypatch.setenv("HUB_HOST", "::1")
    monkeypatch.setenv("HUB_REDIS_URL", "redis://cache.example/0")
    monkeypatch.setenv("HUB_WEBHOOK_ALLOW", "127.0.0.0/8, fd00::/8")

    assert load().public_url == "http://[::1]:9000"
    assert load(port=9001).public_url == "http://[::1]:9001"
    assert load(base_url="https://hub.example/x").public_url == "https://hub.example/x"
    assert not load().embedded_redis
    assert load().webhook_allow == (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("fd00::/8"))


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"webhook_timeout_seconds": 60, "webhook_lease_seconds": 60}, "HUB_WEBHOOK_LEASE_SECONDS"),
        ({"database_url": URL}, "HUB_MASTER_KEY"),
        ({"master_key": "short secret"}, "HUB_MASTER_KEY"),
        ({"master_key_former": KEY}, "HUB_MASTER_KEY"),
        ({"master_key": KEY, "master_key_former": "short secret"}, "HUB_MASTER_KEY_FORMER"),
        ({"service_database_url": URL}, "HUB_DATABASE_URL"),
        ({"worker_database_url": URL}, "HUB_DATABASE_URL"),
        ({"token_lifetime_seconds": 3601}, "HUB_TOKEN_LIFETIME_SECONDS"),
        ({"port": 0}, "HUB_PORT"),
        ({"log_level": "loud"}, "HUB_LOG_LEVEL"),
        ({"base_url": "https://hub.example/"}, "HUB_BASE_URL"),
        ({"webhook_allow": "10.0.0.1/8"}, "HUB_WEBHOOK_ALLOW"),
        ({"webhook_allow": "128.0.0.0/1,0.0.0.0/1"}, "HUB_WEBHOOK_ALLOW"),
        ({"webhook_proxy": "https://u:secret@proxy.example:1"}, "HUB_WEBHOOK_PROXY"),
        ({"webhook_proxy": "http://u:secret@proxy.example"}, "HUB_WEBHOOK_PROXY"),
        ({"webhook_proxy": "http://u:secret@proxy.example:x"}, "HUB_WEBHOOK_PROXY"),
        ({"webhook_proxy": "http://u:secret@proxy.example:1/path"}, "HUB_WEBHOOK_PROXY"),
        ({"no_such_setting": 1}, "HUB_NO_SUCH_SETTING"),
    ],
)
def test_contradictions_are_refused_by_name_and_without_the_value(given: dict[str, object], named: str) -> None:
    with pytest.raises(HubError) as caught:
        load(**given)

    assert caught.value.code is Code.SETTINGS_CONTRADICT
    assert named in caught.value.message
    assert "secret" not in caught.value.message


def test_secrets_do_not_show() -> None:
    proxy = "http://u:secret@proxy.example:3128"
    settings = load(
        database_url=URL, master_key=KEY, redis_url="redis://:secret@cache.example/0", webhook_proxy=proxy
    )  # fmt: skip

    assert "secret" not in repr(settings)
    assert KEY not in repr(settings)


def test_the_master_key_is_generated_once_and_for_us_only(tmp_path: Path) -> None:
    settings = load(data_dir=tmp_path / "data")
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(lambda _: master_key(settings), range(8)))

    assert len(keys) == 1
    assert len(keys.pop()) >= 32
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["master.key"]
    assert (tmp_path / "data" / "master.key").stat().st_mode & 0o777 == 0o600


def test_the_set_master_key_is_used_and_none_is_written(tmp_path: Path) -> None:
    settings = load(data_dir=tmp_path / "data", master_key=KEY)

    assert master_key(settings) == KEY.encode()
    assert not (tmp_path / "data").exists()


def test_an_emptied_master_key_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "master.key").write_text("")

    with pytest.raises(HubError, match="backup"):
        master_key(load(data_dir=tmp_path))
    assert (tmp_path / "master.key").read_text() == ""


def test_passwords_of_roles_are_derived_and_differ() -> None:
    key = KEY.encode()

    assert role_password(key, "hub_service") == hmac.new(key, b"hub_service", "sha256").hexdigest()
    assert len(set(role_passwords(key).values())) == 3


def test_until_a_former_master_key_is_gone_its_passwords_are_used() -> None:
    """So that workers with either log in alike."""
    settings = load(database_url=URL, master_key="n" * 32, master_key_former=KEY)
    assert database_urls(settings, URL) == database_urls(load(database_url=URL, master_key=KEY), URL)
    assert master_keys(settings) == (b"n" * 32, KEY.encode())


def test_addresses_of_roles_keep_host_database_and_options() -> None:
    assert (
        role_url(URL, "hub_worker", "p@ss/w")
        == "postgresql://hub_worker:p%40ss%2Fw@db.example:5433/roster?sslmode=require"
    )
    assert role_url("postgresql://db.example/roster", "r", "p") == "postgresql://r:p@db.example/roster"


def test_addresses_that_are_set_win_over_derived_ones() -> None:
    given = "postgresql://svc:own@db.example:5433/roster"
    settings = load(database_url=URL, master_key=KEY, service_database_url=given)

    urls = database_urls(settings, URL)

    assert urls[SERVICE_ROLE] == given
    assert urls[WORKER_ROLE] == role_url(URL, WORKER_ROLE, role_password(KEY.encode(), WORKER_ROLE))
    assert urls[SUPPORT_ROLE] == role_url(URL, SUPPORT_ROLE, role_password(KEY.encode(), SUPPORT_ROLE))
