"""The shipped contract suite on Qmlativ's connector: with tokens, and with Basic and less to see."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from connectors.contract import ConnectorContract, ContractCase
from connectors.protocol import SourceContext
from connectors.skyward_qmlativ import SPEC
from tests.fakes.qmlativ_district import district
from tests.fakes.qmlativ_server import ENTITY, KEY, ROOT, SECRET, Quirks, Server, running

EVERYTHING = ("orgs", "academicSessions", "courses", "classes", "users", "enrollments", "demographics")


def context(
    server: Server, folder: Path, *, url: str = "", secret: str = SECRET, login: Any = "bearer", **more: Any
) -> SourceContext:
    told = {"kind": login, "key": KEY} if isinstance(login, str) else login
    settings: dict[str, Any] = {"url": url or server.url, "login": told, "entity": ENTITY,
                                "entities": EVERYTHING, "guardians": True, "page_rows": 10}  # fmt: skip
    config = SPEC.config_model.model_validate(settings | more)

    async def at_once(_seconds: float) -> None:
        pass

    return SourceContext(
        config, work_folder=folder, secrets={"secret": secret}, reachable=lambda *_: True, now=lambda: server.now,
        sleep=at_once,
    )  # fmt: skip


def case_of(quirks: Quirks, folder: Path, **more: Any) -> Iterator[ContractCase]:
    with running(Server(district(), quirks)) as server:
        yield ContractCase(
            spec=SPEC,
            context=lambda: context(server, folder, **more),
            unreachable=lambda: context(server, folder, url=f"http://127.0.0.1:9{ROOT}"),
            wrong_config={"url": "http://sky.example", "login": {"kind": "bearer", "key": "k"}, "entity": 0},
        )


class TestQmlativ(ConnectorContract):
    @pytest.fixture
    def case(self, tmp_path: Path) -> Iterator[ContractCase]:
        yield from case_of(Quirks(next="rooted"), tmp_path)


class TestQmlativThatSaysLess(ConnectorContract):
    @pytest.fixture
    def case(self, tmp_path: Path) -> Iterator[ContractCase]:
        hidden = {("Scheduling/Section", "SectionLengthID"), ("Scheduling/StudentSection", "IsForCurrentSchoolYear")}
        yield from case_of(Quirks(hidden=hidden, logins="basic"), tmp_path, login="basic", page_rows=5_000)
