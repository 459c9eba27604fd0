"""What goes wrong before a route is found is told in the form of the version that the address names."""

from __future__ import annotations

import pytest

from hub.objects.bases import DISTRICT, EVERYWHERE
from tests.api.oneroster.raw import ask, request
from tests.api.oneroster.rosters import Hub, Prepared, minor, running
from tests.services import Database


def _requests(base: str) -> dict[str, tuple[int, bytes]]:
    """Requests below a base, with what they have to be answered."""
    return {
        "no such path": (404, request("GET", f"{base}/nothing/here")),
        "no such method": (405, request("PATCH", f"{base}/users")),
        "no method at all": (400, request("NOSUCH", f"{base}/users")),
        "no path below it": (404, request("GET", base)),
        "an address of another server's": (401, request("GET", f"http://hub{base}/users")),
        "bad percent": (404, request("GET", f"{base}/%zz/%")),
        "bad percent in a query": (401, request("GET", f"{base}/users?filter=%zz%")),
        "too long": (414, request("GET", f"{base}/users?filter=" + "x" * 9_000)),
        "too long a path": (414, request("GET", f"{base}/users/" + "x" * 9_000)),
        "a header too long": (431, request("GET", f"{base}/users", "X-Long: " + "x" * 9_000)),
        "too many headers": (431, request("GET", f"{base}/users", *(f"X-{n}: y" for n in range(200)))),
        "no header": (400, request("GET", f"{base}/users", "no header")),
        "Expect": (417, request("GET", f"{base}/users", "Expect: nothing")),
        "a line that is none": (400, f"GET {base}/users HTTP/one\r\n\r\n".encode()),
    }


@pytest.mark.parametrize("root", [DISTRICT, EVERYWHERE])
@pytest.mark.parametrize("path", ["/v1p1", "/rostering/v1p2"])
async def test_errors_have_the_form_of_the_version_in_the_address(hub: Hub, root: str, path: str) -> None:
    base = root.replace("{district}", str(hub.prepared.here)) + path
    good = request("GET", f"{base}/orgs?limit=1", token=hub.prepared.tokens["lms"])
    for name, (status, data) in _requests(base).items():
        (answer,) = await ask(hub, data)
        assert answer.status == status, (name, answer)
        assert ("statusInfoSet" in answer.json) is ("v1p1" in path), (name, answer)
        assert minor(answer.json), name
        answers = await ask(hub, good, data)  # not only the first of a connection
        assert ("statusInfoSet" in answers[1].json) is ("v1p1" in path), (name, answers[1])


@pytest.mark.parametrize("path", ["/ims/oneroster/v1p1/users", "/ims/oneroster/rostering/v1p2/users"])
async def test_a_request_that_comes_too_slowly_hears_it_in_its_form(
    roster_database: Database, rostered: tuple[str, Prepared], path: str
) -> None:
    async with running(roster_database, rostered[1], header_seconds=0.5) as hub:
        (answer,) = await ask(hub, f"GET {path} HTTP/1.1\r\nHost: hu".encode())
        assert (answer.status, "statusInfoSet" in answer.json) == (408, "v1p1" in path)
