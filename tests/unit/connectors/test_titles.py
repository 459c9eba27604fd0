"""Classes without a title, as Aeries' OneRoster has all elementary ones."""

from __future__ import annotations

import asyncio
from contextlib import closing
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from connectors.oneroster_rest import SPEC
from connectors.protocol import SourceContext
from tests.fakes.oneroster_server import CLIENT, SECRET, Server, running

DATE = "2026-01-01T00:00:00.000Z"


@pytest.mark.parametrize(
    ("settings", "titles", "findings"),
    [
        ({"profile": "aeries"}, ["Algebra", "R12", "994_TN_601", "994_TN_602"], [("REST-006", "3 objects")]),
        ({"profile": "aeries", "titles": "given"}, ["Algebra", None, None, None], []),
        ({}, ["Algebra", None, None, None], []),
    ],
    ids=["aeries", "as they are", "others"],
)
def test_a_class_without_a_title_is_called_by_its_code_or_id(
    tmp_path: Path, settings: dict[str, Any], titles: list[str | None], findings: list[tuple[str, str]]
) -> None:
    told: list[dict[str, Any]] = [
        {"sourcedId": "994_1", "title": "Algebra", "classCode": "A1"},
        {"sourcedId": "994_TN_600", "title": "", "classCode": "R12"}, {"sourcedId": "994_TN_601", "title": " "},
        {"sourcedId": "994_TN_602"},
    ]  # fmt: skip
    server = Server(
        "1.1", {"classes": {c["sourcedId"]: c | {"status": "active", "dateLastModified": DATE} for c in told}}
    )
    with running(server):
        login = {"kind": "oauth2", "token_url": server.token_url, "client_id": CLIENT}
        config = {
            "url": server.url,
            "version": "1.1",
            "login": login,
            "entities": ["classes"],
            "page_rows": 2,
        } | settings
        context = SourceContext(
            SPEC.config_model.model_validate(config), work_folder=tmp_path, secrets={"client_secret": SECRET},
            reachable=lambda *_: True,
        )  # fmt: skip
        with closing(asyncio.run(SPEC.open(context).pull(None)).package) as package:
            rows = pl.concat([batch.frame for batch in package.batches("classes")])
            assert [title if title != " " else None for title in rows["title"]] == titles
            assert package.issues.select("code", "cause").rows() == findings
