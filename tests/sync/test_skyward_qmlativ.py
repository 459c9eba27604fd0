"""A district in Qmlativ through the hub: everything, nothing new, changes, deletions, and what fails."""

from __future__ import annotations

from typing import Any

from tests.contract.test_skyward_qmlativ import EVERYTHING
from tests.districts import District
from tests.fakes.qmlativ_district import district as in_qmlativ
from tests.fakes.qmlativ_server import ENTITY, KEY, SECRET, Server, running
from tests.sync.pulled import changed, made, pull
from tests.sync.test_delta import documents


async def test_a_district_in_qmlativ_is_pulled_and_pulled_again(district: District) -> None:
    with running(Server(in_qmlativ())) as qmlativ:
        config: dict[str, Any] = {"url": qmlativ.url, "login": {"kind": "bearer", "key": KEY}, "entity": ENTITY,
                                  "entities": list(EVERYTHING), "guardians": True, "page_rows": 10}  # fmt: skip
        source = await made(district, "skyward_qmlativ", config, {"secret": SECRET})
        first = await pull(district, source)
        assert (first.state, first.error_message) == ("applied", None)
        assert {name: counts["created"] for name, counts in first.counts.items()} == {
            "orgs": 3, "academicSessions": 3, "courses": 3, "classes": 3, "users": 34, "enrollments": 20,
            "demographics": 22,
        }  # fmt: skip
        assert first.counts["enrollments"]["quarantined"] == 1  # of one who has no name

        state = await district.state()
        assert (await pull(district, source)).state == "unchanged"
        assert await district.state() == state

        qmlativ.put("Demographics/Name", {"NameID": 10_005_001}, FirstName="Zebulon")
        seats = qmlativ.objects["Scheduling/StudentSection"]
        qmlativ.objects["Scheduling/StudentSection"] = [one for one in seats if one["StudentSectionID"] != 301]
        run = await pull(district, source)
        assert changed(run) == {"users": (0, 1, 0), "enrollments": (0, 0, 1)}
        assert '"givenName":"Zebulon"' in (await documents(district, "users"))["10005001"][1]

        state = await district.state()
        qmlativ.quirks.forbidden = {"Staff/Staff"}
        run = await pull(district, source)
        assert (run.state, run.error_code) == ("failed", "source_failed")
        assert "not_permitted" in str(run.error_message)
        assert await district.state() == state
