"""The rules of a district over the admin API and on the command line."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from tests.api.admin.commands import command, process
from tests.api.admin.service import AdminHub
from tests.districts import packed, sandbox
from transforms.issues import RULES

FRAMES = sandbox(students=100, seed=3).frames
ROSTER = packed(FRAMES | {"users": FRAMES["users"].with_columns(username="familyName")}, "1.2")


@pytest.mark.threat("T55")
async def test_rules_are_listed_set_and_reset(hub: AdminHub) -> None:
    path = f"/districts/{hub.district}/rules"
    shown = await hub.made("GET", path)
    assert shown["settings"] == {}
    assert {rule["code"] for rule in shown["rules"]} >= set(RULES) - {"BAD-001", "ACME-001"}

    assert await command(hub, "rules", "set", "CLS-002", "most=150", "--hold", "0.02,5") == (0, "set\n")
    assert await command(hub, "rules", "set", "EML-005", "domains=a.org,b.org", "--off") == (0, "set\n")
    assert await command(hub, "rules", "set", "EML-005", "share=0.1", "--on") == (0, "set\n")
    code, text = await command(hub, "rules", "list", "--set", "--json")
    listed = {rule["code"]: rule for rule in json.loads(text)}
    assert (code, listed["CLS-002"]["params"], listed["EML-005"]["off"]) == (0, {"most": 150}, False)
    assert (await hub.made("GET", path))["settings"] == {
        "CLS-002": {"params": {"most": 150}, "hold": {"share": 0.02, "above": 5}},
        "EML-005": {"params": {"domains": ["a.org", "b.org"], "share": 0.1}, "off": False},
    }
    assert json.loads((await command(hub, "rules", "show", "CLS-002"))[1])["settings"]["params"] == {"most": 150}
    assert await command(hub, "rules", "set", "CLS-002", "--hold", "never") == (0, "set\n")
    assert (await hub.made("GET", path))["settings"]["CLS-002"]["hold"] is None
    assert await command(hub, "rules", "reset", "CLS-002") == (0, "reset\n")
    assert set((await hub.made("GET", path))["settings"]) == {"EML-005"}
    assert "(domains=" in (await command(hub, "rules", "list"))[1]

    code, text = await command(hub, "rules", "set", "CLS-002", "most=many")
    assert (code != 0, "Mend `rules.CLS-002.params.most`" in text) == (True, True)
    assert (await command(hub, "rules", "set", "DEM-004", "--off"))[0] != 0
    assert (await command(hub, "rules", "set", "CLS-002", "--hold", "often"))[0] != 0
    assert (await command(hub, "rules", "show", "ZZZ-001"))[0] != 0


async def test_validate_heeds_a_file_of_settings(tmp_path: Path) -> None:
    package, settings, broken = tmp_path / "roster.zip", tmp_path / "rules.json", tmp_path / "broken.json"
    await asyncio.to_thread(package.write_bytes, ROSTER)
    await asyncio.to_thread(settings.write_text, json.dumps({"USR-006": {"off": True}}))
    await asyncio.to_thread(broken.write_text, json.dumps({"USR-006": {"off": "yes"}}))

    found = json.loads((await process("validate", str(package), "--json"))[1])["rules"]
    less = json.loads((await process("validate", str(package), "--json", "--rules", str(settings)))[1])["rules"]
    code, text = await process("validate", str(package), "--rules", str(broken))

    assert {rule["code"] for rule in found} - {rule["code"] for rule in less} == {"USR-006"}
    assert (code != 0, "USR-006.off" in text) == (True, True)
