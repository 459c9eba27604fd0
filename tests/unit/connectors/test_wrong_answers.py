"""Answers with status 200 that are not what was asked for: they are asked for again, and no later attempt gets them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from connectors.client import TRIES
from connectors.journal import Journal
from connectors.protocol import ConnectorError, ConnectorSpec, Pull, SourceContext, may_go_on
from tests.contract import test_aeries, test_powerschool
from tests.fakes import aeries_server, powerschool_server
from tests.fakes.aeries_district import HIGH, district
from tests.fakes.powerschool_district import filled

Cursor = Mapping[str, Any] | None


class Wrong:
    """Puts ``body`` in the place of the answers about something, ``times`` times."""

    def __init__(self, name: str, body: Any) -> None:
        self.name, self.body = name, body
        self.times = self.given = 0

    def __call__(self, asked: Any) -> Any:
        name = asked.path if isinstance(asked, aeries_server.Asked) else asked.name
        if not name.startswith(self.name) or self.given == self.times:
            return None
        self.given += 1
        return self.body


def must_be_asked_again(
    spec: ConnectorSpec, context: SourceContext, wrong: Wrong, code: str, cursor: Cursor, clean: str
) -> None:
    """One wrong answer costs a request; those that last fail the attempt, and the next one comes to the same."""

    def attempt() -> Pull:
        with closing(Journal(context.work_folder.parent / "journal", bytes(32), time.time())) as journal:
            return asyncio.run(spec.open(replace(context, journal=journal)).pull(cursor))

    wrong.times, wrong.given = TRIES, 0
    with pytest.raises(ConnectorError) as caught:
        attempt()
    assert (caught.value.code, may_go_on(caught.value), wrong.given) == (code, True, TRIES)
    with closing(attempt().package) as package:
        assert package.digest == clean
    (context.work_folder.parent / "journal").unlink()
    wrong.times, wrong.given = 1, 0
    with closing(asyncio.run(spec.open(context).pull(cursor)).package) as package:
        assert (package.digest, wrong.given) == (clean, 1)


def digest(pull: Callable[[], Pull]) -> tuple[str, Cursor]:
    found = pull()
    with closing(found.package) as package:
        return package.digest, found.cursor


def test_what_aeries_never_says_is_asked_for_again(tmp_path: Path) -> None:
    (folder := tmp_path / "work").mkdir()
    with aeries_server.running(aeries_server.Server(district())) as aeries:
        spec, context = test_aeries.SPEC, test_aeries.context(aeries, folder)
        whole, cursor = digest(lambda: asyncio.run(spec.open(context).pull(None)))
        nothing, _ = digest(lambda: asyncio.run(spec.open(context).pull(cursor)))
        elsewhere = [{**one, "SchoolCode": HIGH + 1} for one in aeries.objects["teachers"]]
        students = [{**one, "SchoolCode": HIGH + 1} for one in aeries.objects["students"]]
        failed = {"Message": "An error has occurred."}
        for name, body, code, since, clean in (
            (f"schools/{HIGH}/teachers", elsewhere, "other_school", None, whole),
            (f"schools/{HIGH}/students", students, "other_school", None, whole),
            (f"schools/{HIGH}/teachers", failed, "not_aeries", None, whole),
            ("systeminfo", [], "not_aeries", None, whole),
            ("StudentDataChanges/student", failed, "not_aeries", cursor, nothing),
        ):
            aeries.instead = wrong = Wrong(name, body)
            must_be_asked_again(spec, context, wrong, code, since, clean)


def test_a_seal_that_is_none_is_asked_for_again(tmp_path: Path) -> None:
    (folder := tmp_path / "work").mkdir()
    with powerschool_server.running(filled()) as sis:
        test_powerschool.install(sis, **test_powerschool.ALL)
        spec, context = test_powerschool.SPEC, test_powerschool.context(sis, folder)
        whole, _ = digest(lambda: asyncio.run(spec.open(context).pull(None)))
        sis.instead = wrong = Wrong("students_seal", {"name": "students_seal", "@extensions": ""})
        must_be_asked_again(spec, context, wrong, "not_powerschool", None, whole)
