"""ClassLink's proxy before a district's OneRoster 1.1 server: a list of districts for a partner's key, and bearers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.fakes.oneroster_server import CLIENT, SECRET, Handler, Server

KEY = "partner-key"
#: Base 64 with a padding, encoded for addresses, as the list has it.
APPLICATION = "T25lUm9zdGVy%3D"


@dataclass
class Proxy(Server):
    """``bearer``: what opens the district now; ``revision``: its header ``x-perm-rev``. ``listed``: how often."""

    bearer: str = "bearer-1"
    revision: str = "7"
    listed: int = 0
    signed: list[str] = field(default_factory=list)

    def applications(self) -> list[dict[str, Any]]:
        other = {"id": 1, "tenant_name": "Otherville", "oneroster_application_id": "b3RoZXI%3D", "bearer": "other"}
        mine = {"id": 2, "tenant_name": "Springfield", "tenant_id": "t-22", "application_id": 9, "name": "Roster",
                "oneroster_application_id": APPLICATION, "bearer": self.bearer}  # fmt: skip
        return [other, mine]


class ProxyHandler(Handler):
    sis: Proxy

    def do_GET(self) -> None:
        given = self.headers.get("Authorization", "")
        if self.path.startswith("/applications"):
            if given != f"Bearer {KEY}":
                self._answer(401, {"message": "Unauthorized"})
            elif self.path == "/applications":
                self.sis.listed += 1
                self._answer(200, {"applications": self.sis.applications()})
            elif self.path == f"/applications/{APPLICATION}/server":
                self._answer(200, {"client_id": CLIENT, "client_secret": SECRET, "endpoint_url": self.sis.url + "/own"})
            else:
                self._answer(404, {})
            return
        if self.path.startswith("/own/"):
            self.sis.signed.append(given.split(" ", 1)[0])
            super().do_GET()
            return
        if not self.path.startswith(f"/{APPLICATION}/ims/"):
            self._answer(404, {})
            return
        self.sis.tokens = {self.sis.bearer}
        super().do_GET()

    def end_headers(self) -> None:
        self.send_header("x-perm-rev", self.sis.revision)
        super().end_headers()
