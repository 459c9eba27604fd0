"""RosterHub's contract suite, and what is this connector's own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_system import CLIENT, PEOPLE, SECRET, running
from rosterhub_example_sis import SPEC
from rosterhub_example_sis.source import open_source

from connectors.contract import ConnectorContract, ContractCase
from connectors.protocol import ConnectorError, Intent, SourceContext
from connectors.registry import connector


async def at_once(_seconds: float) -> None:
    """Waits for nothing."""


def context(url: str, folder: Path, *, secret: str = SECRET) -> SourceContext:
    """A context of one pull that may reach this machine."""
    config = SPEC.config_model.model_validate({"url": url, "client_id": CLIENT, "page_rows": 2})
    return SourceContext(
        config, work_folder=folder, secrets={"client_secret": secret}, reachable=lambda *_: True, sleep=at_once
    )


class TestExampleSis(ConnectorContract):
    """The suite's tests."""

    @pytest.fixture
    def case(self, tmp_path: Path) -> Iterator[ContractCase]:
        with running() as url:
            yield ContractCase(
                spec=SPEC,
                context=lambda: context(url, tmp_path),
                unreachable=lambda: context("http://127.0.0.1:9", tmp_path),
                wrong_config={"url": "file:///etc/passwd", "client_id": "hub"},
            )


def test_the_hub_finds_it_by_its_kind() -> None:
    assert connector("example_sis") is SPEC


def test_everybody_comes_once(tmp_path: Path) -> None:
    with running() as url:
        pulled = asyncio.run(SPEC.open(context(url, tmp_path)).pull(None))
    package = pulled.package
    assert sorted(package.keys("users")) == sorted(f"p{n}" for n in range(PEOPLE))
    assert (package.rows("roles"), package.rows("enrollments"), package.rows("courses")) == (PEOPLE, PEOPLE, 1)
    package.close()


def test_a_wrong_secret_is_for_a_person_to_mend(tmp_path: Path) -> None:
    with running() as url:
        with pytest.raises(ConnectorError) as caught:
            asyncio.run(SPEC.open(context(url, tmp_path, secret="another")).pull(None))
        tried = asyncio.run(open_source(context(url, tmp_path)).probe())
    assert (caught.value.code, caught.value.intent) == ("login_refused", Intent.ASK_HUMAN)
    assert [one.step for one in tried if one.outcome == "good"] == [
        "login", "schools", "terms", "sections", "people", "memberships",
    ]  # fmt: skip
