"""``hub source`` against a real server, a system of the district's and a worker: from the list of kinds to a pull."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pty
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.api.admin.commands import command, process, working
from tests.api.admin.service import AdminHub
from tests.fakes import rosters
from tests.fakes.oneroster_server import CLIENT, SECRET, Server, filled, running


@pytest.fixture
def sis() -> Iterator[Server]:
    with running(filled("1.2", rosters.clean("1.2"))) as server:
        server.now = datetime.now(UTC)
        yield server


async def hub_source(hub: AdminHub, *arguments: str) -> tuple[int, str]:
    """``hub source …`` about our district: exit code and all that was printed."""
    if arguments[0] == "kinds":
        code, text = await process("source", *arguments, **environment(hub))
    else:
        code, text = await command(hub, "source", *arguments)
    assert SECRET not in text
    return code, text


def environment(hub: AdminHub) -> dict[str, str]:
    return {"HUB_ADMIN_URL": str(hub.server.make_url("/admin/v1")), "HUB_ADMIN_TOKEN": hub.tokens["district"]}


async def typed(hub: AdminHub, text: str, *arguments: str) -> tuple[int, str]:
    """The same at a terminal, where somebody types; what the terminal shows."""
    ours, theirs = pty.openpty()
    asked = (sys.executable, "-m", "hub.cli", "source", *arguments, "--district", str(hub.district))
    started = await asyncio.create_subprocess_exec(
        *asked, stdin=theirs, stdout=theirs, stderr=theirs, env=os.environ | environment(hub)
    )
    os.close(theirs)
    shown = b""
    with os.fdopen(ours, "r+b", buffering=0) as terminal, contextlib.suppress(OSError):  # EIO at its end
        while piece := await asyncio.to_thread(terminal.read, 4096):
            if b"client_secret: " in piece:
                await asyncio.to_thread(terminal.write, text.encode())
            shown += piece
    return await started.wait(), shown.decode()


def login(sis: Server) -> list[str]:
    values = (f"url={sis.url}", "login.kind=oauth2", f"login.token_url={sis.token_url}", f"login.client_id={CLIENT}")
    return [part for value in values for part in ("--set", value)]


async def made(hub: AdminHub, *arguments: str) -> str:
    code, text = await hub_source(hub, "create", *arguments)
    assert code == 0, text
    return text.splitlines()[0].removeprefix("source ")


async def shown(hub: AdminHub, source: str) -> dict[str, Any]:
    code, text = await hub_source(hub, "show", "--source", source, "--json")
    assert code == 0, text
    return dict(json.loads(text))


async def test_kinds_say_what_to_enter(hub: AdminHub) -> None:
    code, text = await hub_source(hub, "kinds", "oneroster_rest")
    assert code == 0
    for line in (
        "oneroster_rest: OneRoster REST",
        "  secret client_secret: ",
        "enters the secrets anew",
        "login.kind=",
    ):
        assert line in text, text
    assert "oneroster_csv" not in text
    assert "``" not in text
    assert all(line.startswith(("oneroster_rest: ", "  ")) for line in text.splitlines()), text
    found = {one["kind"]: one for one in json.loads((await hub_source(hub, "kinds", "--json"))[1])}
    assert found["oneroster_csv"]["files"] == ["path"]
    assert found["oneroster_rest"]["settings"]["required"] == ["url", "login"]
    code, text = await hub_source(hub, "kinds", "abacus")
    known = "aeries, clever, edfi, oneroster_csv, oneroster_rest, powerschool, skyward_qmlativ, table_csv"
    assert (code, f"Known: {known}" in text) == (2, True)


@pytest.mark.threat("T29")
async def test_a_source_is_made_mended_tried_and_pulled(hub: AdminHub, sis: Server, tmp_path: Path) -> None:
    create = ("--kind", "oneroster_rest", "--name", "SIS", *login(sis))
    code, text = await hub_source(hub, "create", *create, "--set", "quiet=7-16", "--set", "login.client_auth=post")
    assert code == 2
    for line in ("invalid_request: Nothing was changed.", "\n  quiet: write quiet hours as", "\n  login.client_auth: "):
        assert line in text, text
    assert (await hub_source(hub, "create", *create, "--set", "colour=red"))[0] == 2
    code, text = await hub_source(hub, "create", *create, "--set", "url=ftp://sis.example")
    assert (code, "\n  url: not written as expected" in text, "(The server's address" in text) == (2, True, True), text
    code, text = await process("source", "list", **environment(hub))
    assert (code, "--district' (or HUB_DISTRICT)" in text) == (2, True), text
    assert (await process("source", "list", **environment(hub), HUB_DISTRICT=str(hub.district)))[0] == 0
    code, text = await hub_source(hub, "create", *create)
    assert f"hub source test --district {hub.district} --source {text.split()[1]}" in text
    source = await made(hub, *create, "--speaks-for", "users=email,phone", "--speaks-for", "orgs", "--priority", "7")
    one = await shown(hub, source)
    assert (one["speaks_for"], one["priority"]) == ({"users": ["email", "phone"], "orgs": None}, 7)

    assert "no client_secret" in (await hub_source(hub, "test", "--source", source))[1]
    code, text = await typed(hub, SECRET + "\n", "secret", "client_secret", "--source", source)
    assert (code, SECRET in text, "secrets: client_secret" in text) == (0, False, True), text
    code, text = await hub_source(hub, "test", "--source", source, "--json")
    assert (code, json.loads(text)["works"]) == (0, True)
    code, text = await hub_source(hub, "edit", "--source", source, "--set", "page_rows=7", "--speaks-for", "-",
                                  "--key-space", "sis", "--link", "users=email", "--full-hours", "24")  # fmt: skip
    assert (code, "page_rows = 7" in text, "client_secret" in text) == (0, True, True), text
    one = await shown(hub, source)
    assert (one["speaks_for"], one["key_space"], one["links"]) == (None, "sis", {"users": ["email"]})
    await goes_elsewhere_with_its_secret_alone(hub, source, tmp_path)
    code, text = await hub_source(hub, "list")
    assert (code, f"{source}  active    oneroster_rest  SIS" in text) == (0, True), text
    async with working(hub):
        code, text = await hub_source(hub, "pull", "--source", source, "--dry-run", "--wait")
        assert (code, "previewed" in text) == (0, True), text
        code, text = await hub_source(hub, "pull", "--source", source, "--wait")
        assert (code, "users: 3 created" in text) == (0, True), text
    code, text = await hub_source(hub, "pull", "--source", source)
    assert (code, ": queued" in text) == (0, True), text
    assert (await hub_source(hub, "trends", "--source", source))[0] == 0


async def goes_elsewhere_with_its_secret_alone(hub: AdminHub, source: str, tmp_path: Path) -> None:
    old = await shown(hub, source)
    moved = ("edit", "--source", source, "--set", "headers.X-Tenant=3")
    code, text = await hub_source(hub, *moved)
    assert (code, "--secret client_secret" in text) == (2, True), text
    (tmp_path / "secret").write_text(SECRET + "\n")
    assert (await hub_source(hub, *moved, "--secret-file", "client_secret", str(tmp_path / "secret")))[0] == 0
    assert (await shown(hub, source))["config"]["headers"] == {"X-Tenant": "3"}
    assert (await hub_source(hub, "secret", "client_secret", "--source", source, "--forget"))[1] == "secrets: none\n"
    assert (await hub_source(hub, "secret", "client_secret", "--source", source))[0] == 2  # standard input is empty
    (tmp_path / "config.json").write_text(json.dumps(old["config"]))
    whole = ("--config", str(tmp_path / "config.json"), "--secret-file", "client_secret", str(tmp_path / "secret"))
    assert (await hub_source(hub, "edit", "--source", source, *whole, "--state", "active"))[0] == 0
    assert (await shown(hub, source))["config"] == old["config"]
