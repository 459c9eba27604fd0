"""``/metrics`` of the API: requests by class and status, for this machine itself."""

from __future__ import annotations

import re

from tests.api.admin.service import AdminHub


async def _told(hub: AdminHub, **headers: str) -> tuple[int, dict[str, float]]:
    async with hub.session.get("/metrics", headers=headers) as answer:
        text = await answer.text()
    found = re.finditer(r"^(\w+(?:\{.*\})?) (\S+)$", text, re.MULTILINE)
    return answer.status, {m[1]: float(m[2]) for m in found}


async def test_requests_are_counted_by_class_and_status(hub: AdminHub) -> None:
    status, before = await _told(hub)
    assert status == 200
    asked = {
        ("admin", "200"): f"/admin/v1/districts/{hub.district}", ("health", "200"): "/healthz",
        ("admin", "401"): "/admin/v1/apps?", ("other", "404"): "/wp-login.php",
        ("oneroster", "401"): f"/d/{hub.district}/ims/oneroster/rostering/v1p2/users",
        ("oauth", "200"): "/.well-known/oauth-authorization-server",
    }  # fmt: skip
    for path in asked.values():
        headers = {"Authorization": f"Bearer {hub.tokens['operator']}"} if "districts" in path else {}
        async with hub.session.get(path, headers=headers) as answer:
            await answer.read()
    _, after = await _told(hub)
    for route, code in asked:
        name = f'rosterhub_requests_total{{route="{route}",status="{code}"}}'
        more = 2 if (route, code) == ("health", "200") else 1  # one of them is the first look at the metrics
        assert after.get(name, 0) == before.get(name, 0) + more, name
        count = f'rosterhub_request_seconds_count{{route="{route}"}}'
        assert after[count] >= before.get(count, 0) + 1
    assert not [name for name in after if str(hub.district) in name]
    assert (await _told(hub, **{"X-Forwarded-For": "127.0.0.1"}))[0] == 403
