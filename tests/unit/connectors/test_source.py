"""The source: what was uploaded, or what lies at a path and has settled."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import BaseModel

from connectors.limits import Limits
from connectors.oneroster_csv import SPEC
from connectors.oneroster_csv.source import OneRosterCsvConfig
from connectors.protocol import Capability, ConnectorError, Intent, SourceContext
from tests.unit.connectors.packages import USERS, files, loose, zipped


async def test_an_upload_goes_before_the_path(tmp_path: Path) -> None:
    config = OneRosterCsvConfig(path=tmp_path / "elsewhere.zip")
    source = SPEC.open(SourceContext(config, upload=zipped(tmp_path / "p.zip", files())))
    assert source.capabilities == {Capability.BULK, Capability.DELTA, Capability.UPLOAD}
    pull = await source.pull(None)
    assert pull.cursor == {"digest": pull.package.digest}
    await asyncio.to_thread(pull.package.close)


async def test_configuration_and_limits_reach_the_reader(tmp_path: Path) -> None:
    config = OneRosterCsvConfig(encoding="mac-roman", aliases={"Vorname": "givenName"})
    users = USERS.replace("givenName", "Vorname", 1).replace("Ana", "Zoë").encode("mac-roman")
    path = zipped(tmp_path / "p.zip", files(users))
    pull = await SPEC.open(SourceContext(config, upload=path)).pull(None)
    batches = await asyncio.to_thread(lambda: list(pull.package.batches("users")))
    assert batches[0].frame["givenName"].to_list() == ["Zoë"] * 5
    await asyncio.to_thread(pull.package.close)
    small = await SPEC.open(SourceContext(config, upload=path, limits=Limits(entries=1))).pull(None)
    assert small.package.issues["code"].to_list() == ["FILE-032"]
    await asyncio.to_thread(small.package.close)


@pytest.mark.threat("F7", "T42")
@pytest.mark.parametrize("kind", ["zip", "folder"])
async def test_what_changed_a_moment_ago_is_left_to_settle(tmp_path: Path, kind: str) -> None:
    path = zipped(tmp_path / "p.zip", files()) if kind == "zip" else loose(tmp_path / "drop", files())
    config = OneRosterCsvConfig(path=path, settle_seconds=60)
    with pytest.raises(ConnectorError) as caught:
        await SPEC.open(SourceContext(config)).pull(None)
    assert (caught.value.code, caught.value.intent) == ("package_unsettled", Intent.RETRY)
    later = SourceContext(config, now=lambda: datetime.now(UTC) + timedelta(seconds=61))
    pull = await SPEC.open(later).pull(None)
    assert set(pull.package.mode) == {"orgs", "users"}
    await asyncio.to_thread(pull.package.close)


async def test_nothing_to_pull_from_needs_a_person() -> None:
    with pytest.raises(ConnectorError) as caught:
        await SPEC.open(SourceContext(OneRosterCsvConfig())).pull(None)
    assert (caught.value.code, caught.value.intent) == ("no_package", Intent.ASK_HUMAN)


async def test_a_path_without_package_is_looked_at_again(tmp_path: Path) -> None:
    with pytest.raises(ConnectorError) as caught:
        await SPEC.open(SourceContext(OneRosterCsvConfig(path=tmp_path / "p.zip"))).pull(None)
    assert (caught.value.code, caught.value.intent) == ("package_missing", Intent.RETRY)


def test_a_configuration_of_another_kind_is_refused() -> None:
    class Other(BaseModel):
        pass

    with pytest.raises(ConnectorError, match="wrong_config"):
        SPEC.open(SourceContext(Other()))


def test_secrets_do_not_show() -> None:
    assert "hunter2" not in repr(SourceContext(OneRosterCsvConfig(), secrets={"key": "hunter2"}))
