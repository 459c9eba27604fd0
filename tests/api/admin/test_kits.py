"""Kits: the plugin of a PowerSchool by the admin API and by the command, and a source that is made after it."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import orjson

from tests.api.admin.commands import command, process
from tests.api.admin.service import AdminHub
from tests.fakes.powerschool_district import filled
from tests.fakes.powerschool_server import CLIENT, SECRET, running

MAIL = "u_studentsuserfields.student_email"


async def test_a_plugin_is_made_for_the_options_and_then_its_source_works(hub: AdminHub, tmp_path: Path) -> None:
    options = {"student_email": MAIL, "demographics": True}
    made = await hub.call("POST", "/kits", role="district", json={"kind": "powerschool", "options": options})
    assert (made.status, made.headers["Content-Type"]) == (200, "application/zip")
    assert "rosterhub-powerschool.zip" in made.headers["Content-Disposition"]
    with zipfile.ZipFile(io.BytesIO(made.body)) as files:
        assert files.namelist() == ["plugin.xml", "queries_root/org.rosterhub.powerschool.roster.named_queries.xml"]

    with running(filled()) as sis:
        sis.install(made.body)
        config = {"url": sis.url, "client_id": CLIENT, "student_email": MAIL, "demographics": True}
        body = {"name": "SIS", "kind": "powerschool", "config": config, "secrets": {"client_secret": SECRET}}
        source = await hub.made("POST", f"/districts/{hub.district}/sources", role="district", json=body)
        assert (source["config"]["enroll_status"], source["secrets"]) == ([0, -1], ["client_secret"])
        code, text = await command(hub, "source", "test", "--source", source["source_id"])
        assert (code, "FAILS" in text, "demographics" in text) == (0, False, True), text

        # The command makes the same of the source's whole configuration.
        (tmp_path / "config.json").write_bytes(orjson.dumps(source["config"]))
        out = tmp_path / "plugin.zip"
        code, text = await process(
            "source", "kit", "powerschool", "--out", str(out), "--options", str(tmp_path / "config.json")
        )
        assert (code, str(out) in text) == (0, True), text
        asked = set(sis.access)
        sis.install(out.read_bytes())
        assert sis.access == asked


async def test_what_no_kit_is_made_of_is_refused_in_words(hub: AdminHub, tmp_path: Path) -> None:
    for kind, word in (("powerschool", "student_mail"), ("oneroster_csv", "nothing"), ("none", "Known kinds")):
        refused = await hub.call("POST", "/kits", json={"kind": kind, "options": {"student_mail": "x"}})
        assert (refused.status, word in refused.json["detail"]) == (400, True)
    (tmp_path / "x.json").write_text("{")
    broken = ["--options", str(tmp_path / "x.json")]
    for more, kind, word in ((broken, "powerschool", "JSON"), ([], "table_csv", "nothing")):
        code, text = await process("source", "kit", kind, "--out", str(tmp_path / "out.zip"), *more)
        assert (code, word in text, (tmp_path / "out.zip").exists()) == (2, True, False), text
