"""``hub sync`` and ``hub token`` as processes of their own against a real server and worker."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from hub.sandbox import DistrictPlan, write_sandbox
from hub.store import source_health
from tests.api.admin.commands import command, process, working
from tests.api.admin.service import AdminHub
from tests.services import MASTER_KEY
from transforms.catalogue import CATALOGUE


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two districts that have nothing in common."""
    folder = tmp_path_factory.mktemp("sandbox")
    write_sandbox(folder, DistrictPlan(students=100, seed=7))
    write_sandbox(folder / "other", DistrictPlan(students=100, seed=8))
    return folder


async def _sync(hub: AdminHub, package: Path, *options: str, role: str = "district") -> tuple[int, str]:
    return await command(hub, "sync", str(package), "--source", str(hub.source), *options, role=role)


async def test_a_source_is_pulled_its_state_told_and_a_run_cancelled(hub: AdminHub, folder: Path) -> None:
    source = f"/districts/{hub.district}/sources/{hub.source}"
    code, text = await command(hub, "sync", "--source", str(hub.source))
    assert (code, "takes uploads only" in text) == (2, True), text
    code, text = await command(hub, "status")
    assert (code, "never synced" in text) == (0, True), text
    config = {"path": str(folder / "district.zip"), "settle_seconds": 0}
    await hub.made("PATCH", source, json={"config": config})
    async with working(hub):
        code, text = await command(hub, "sync", "--source", str(hub.source))
        assert (code, ": applied" in text) == (0, True), text
        code, text = await command(hub, "status")
        assert (code, " s old, " in text) == (0, True), text
        await hub.made("PATCH", source, json={"config": config | {"path": str(folder / "nothing.zip")}})
        run = await hub.made("POST", f"{source}/run", json={})
        async with asyncio.timeout(60):
            while True:
                shown = await hub.made("GET", f"/districts/{hub.district}/runs/{run['run_id']}")
                if shown["attempt"]:
                    break
                await asyncio.sleep(0.05)
        code, text = await command(hub, "cancel", run["run_id"])
        assert (code, ": cancelled" in text) == (0, True), text
    async with hub.pool.district(hub.district) as tx:
        await source_health.troubled(tx, hub.source, "failed", "source_failed", None)
    code, text = await command(hub, "status")
    assert (code, "failed since" in text, "source_failed" in text) == (3, True, True), text


async def test_a_schedule_is_set_shown_paused_and_ended(hub: AdminHub, folder: Path) -> None:
    async def ask(*arguments: str) -> tuple[int, str]:
        return await command(hub, "source", "schedule", *arguments, "--source", str(hub.source))

    code, text = await ask("set", "--cron", "0 2 * * *")
    assert (code, "takes uploads only" in text) == (2, True), text
    code, text = await ask("set", "--expected-every-hours", "36", "--grace-minutes", "5")
    assert (code, text.splitlines()[0]) == (0, "a package is expected every 36 hours, with 5 minutes of grace")
    assert text.splitlines()[1].startswith("  late from: ")
    paused = await ask("pause")
    assert paused == (0, "a package is expected every 36 hours, with 5 minutes of grace, PAUSED\n")
    assert await ask("show") == paused
    assert await ask("resume") != paused
    config = {"path": str(folder / "x.zip")}
    await hub.made("PATCH", f"/districts/{hub.district}/sources/{hub.source}", json={"config": config})
    code, text = await ask("set", "--cron", "0 2 * * *", "--zone", "America/Chicago")
    lines = text.splitlines()
    assert (code, lines[0]) == (0, "pulled at 0 2 * * * (America/Chicago), with 60 minutes of grace")
    assert [line[:11] for line in lines[1:]] == ["  next at: "]
    assert await ask("end") == (0, "ended\n")


async def test_a_package_is_sent_and_followed_to_its_end(hub: AdminHub, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.zip").write_bytes(b"this is no archive")
    async with working(hub):
        previewed = await _sync(hub, folder / "district.zip", "--dry-run")
        applied = await _sync(hub, folder / "district.zip")
        again = await _sync(hub, folder / "district.zip")
        refused = await _sync(hub, tmp_path / "bad.zip")

    for (code, text), state in ((previewed, "previewed"), (applied, "applied"), (again, "unchanged")):
        assert (code, f": {state}" in text) == (0, True), text
    assert "users: " in applied[1]
    assert refused[0] == 1, refused[1]
    assert "package_refused" in refused[1]
    assert "FILE-030 refused 1: The package is not a ZIP archive" in refused[1]
    assert "mend: Send one .zip" in refused[1]
    assert re.search(r"^  REF-001 kept out \d+ in enrollments: ", applied[1], re.MULTILINE)
    entities = [entity.name for entity in CATALOGUE.entities]
    shown = [word for word in re.findall(r"^  (\w+): ", applied[1], re.MULTILINE) if word in entities]
    assert shown == [entity for entity in entities if entity in shown]


async def test_a_package_is_read_by_a_transform(hub: AdminHub, folder: Path, tmp_path: Path) -> None:
    file, package = tmp_path / "t.json", folder / "district.zip"
    await asyncio.to_thread(file.write_text, '{"files": {"users": {"set": {"givenName": "UPPER(givenName)"}}}}')
    versions = f"/districts/{hub.district}/sources/{hub.source}/transform/versions"

    async def names() -> list[str]:
        async with hub.pool.district(hub.district) as tx:
            return [row["given_name"] for row in await tx.fetch("SELECT given_name FROM users")]

    async with working(hub):
        code, text = await _sync(hub, package, "--transform", str(file), "--dry-run")
        assert (code, ": previewed" in text) == (0, True), text
        assert (await hub.made("GET", versions))["items"] == []  # it was only tried
        code, text = await _sync(hub, package, "--transform", str(file))
        assert (code, text.splitlines()[0], ": applied" in text) == (0, "transform: version 1 acts", True), text
        found = await names()
        assert found
        assert all(name == name.upper() for name in found)
        code, text = await _sync(hub, package, "--transform", str(file))
        assert (code, text.splitlines()[0], ": unchanged" in text) == (0, "transform: version 1 acts", True), text
    (version,) = (await hub.made("GET", versions))["items"]
    assert version["note"] == "with district.zip"


async def test_a_mass_deletion_is_held_and_says_how_to_decide(hub: AdminHub, folder: Path) -> None:
    async with working(hub):
        await _sync(hub, folder / "district.zip")
        code, text = await _sync(hub, folder / "other" / "district.zip")

    assert code == 3, text
    assert re.search(r"held: \d+ of \d+ enrollments would be deleted; the limit is 5% and more than 20\.", text), text
    assert "/approve" in text


async def test_refusals_of_the_hub_are_shown_with_its_own_code(hub: AdminHub, folder: Path) -> None:
    forbidden = await _sync(hub, folder / "district.zip", role="app")
    url = "http://127.0.0.1:9/admin/v1"
    away = await _sync(hub, folder / "district.zip", "--url", url)
    missing = await _sync(hub, folder / "nothing.zip")

    assert (forbidden[0], forbidden[1].startswith("forbidden: ")) == (2, True), forbidden[1]
    assert (away[0], away[1].startswith("unavailable: ")) == (2, True), away[1]
    assert missing[0] == 2
    assert not any(hub.tokens["district"] in text for _, text in (forbidden, away, missing))


async def test_the_first_token_comes_from_the_command_line_and_is_audited(hub: AdminHub, tmp_path: Path) -> None:
    environment = {
        "HUB_DATABASE_URL": hub.owner_url, "HUB_MASTER_KEY": MASTER_KEY.decode(), "HUB_DATA_DIR": str(tmp_path),
    }  # fmt: skip
    code, text = await process("token", "create", "--role", "operator", "--name", "first", "--days", "1", **environment)
    token = text.strip()
    assert (code, token[:6]) == (0, "rh_ad_")
    me = await hub.call("GET", "/me", role=None, headers={"Authorization": f"Bearer {token}"})
    listed = await process("token", "list", **environment)
    revoked = await process("token", "revoke", me.json["token_id"], **environment)
    after = await hub.call("GET", "/me", role=None, headers={"Authorization": f"Bearer {token}"})

    assert (me.json["name"], me.json["role"]) == ("first", "operator")
    assert me.json["token_id"] in listed[1]
    assert token not in listed[1]
    assert (revoked[0], after.status) == (0, 401)
    assert [(row["actor"], row["action"]) for row in await hub.audit_rows()] == [
        ("cli", "token.create"),
        ("cli", "token.revoke"),
    ]
    wrong = await process("token", "create", "--role", "district", **environment)
    assert wrong[0] == 2


async def test_the_doctor_finds_what_is_wrong(hub: AdminHub, tmp_path: Path) -> None:
    environment = {
        "HUB_DATABASE_URL": hub.owner_url, "HUB_MASTER_KEY": MASTER_KEY.decode(), "HUB_DATA_DIR": str(tmp_path),
        "HUB_REDIS_URL": "redis://127.0.0.1:9/0", "NO_COLOR": "1",
    }  # fmt: skip
    _, text = await process("doctor", **environment)
    strong, strong_text = await process("doctor", **environment, HUB_SERVICE_DATABASE_URL=hub.owner_url)
    wrong, wrong_text = await process(
        "doctor", **{**environment, "HUB_MASTER_KEY": "another key that does not fit here"}
    )
    unset, unset_text = await process("doctor", HUB_DATA_DIR=str(tmp_path / "new"), NO_COLOR="1")

    assert "hub_service logs in" in text
    assert "warn  redis" in text
    assert "Nothing is lost meanwhile" in text
    assert strong == 1
    assert "could read every district" in strong_text
    assert wrong == 1
    assert "PostgreSQL refuses the login" in wrong_text
    assert unset == 1
    assert "hub migrate" in unset_text
    assert not (tmp_path / "new").exists()
