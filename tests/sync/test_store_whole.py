"""A pull that failed, or that is not whole, deletes nothing."""

from __future__ import annotations

import asyncio
import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from connectors.registry import BUILT_IN
from hub.store import runs
from hub.store.runs import Run
from hub.sync.engine import work_once
from tests.beginnings import Beginning
from tests.districts import District, packed, sandbox
from tests.sync.guarding import approve

FRAMES = sandbox(students=200, seed=8).frames
FILES = ("orgs", "users", "enrollments")
WHOLE = packed(FRAMES, "1.2")
HALF = packed(dict(FRAMES) | {"enrollments": FRAMES["enrollments"].head(FRAMES["enrollments"].height // 2)}, "1.2")


async def whole(district: District) -> None:
    assert (await district.sync(FRAMES)).state == "applied"


@pytest.fixture
def beginning() -> Beginning:
    return whole


def rewritten(file: str, change: Callable[[bytes], bytes]) -> bytes:
    """The package with another text of one file."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(WHOLE)) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            text = old.read(name)
            new.writestr(name, change(text) if name == f"{file}.csv" else text)
    return out.getvalue()


def cut(file: str, share: float) -> bytes:
    """A package of which one file ends in the middle of a row, after about this share of its bytes."""

    def shortened(text: bytes) -> bytes:
        row = text.rindex(b"\n", 0, max(int(len(text) * share), text.index(b"\n") + 1)) + 1
        return text[: text.index(b",", row)]

    return rewritten(file, shortened)


@pytest.mark.threat("F7", "T42")
@pytest.mark.parametrize("file", FILES)
async def test_a_file_that_ends_in_the_middle_of_a_row_deletes_nothing(district: District, file: str) -> None:
    await district.sync(WHOLE)
    before = await district.state()
    for percent in (1, 20, 50, 80, 95, 97, 98, 99):
        run = await district.sync(cut(file, percent / 100))
        assert run.state in {"held", "failed"}, percent
        if run.state == "held":
            assert ("file_cut_short", file) in {(r["code"], r["subject"]) for r in run.guard}, percent
        assert await district.state() == before, percent


async def test_somebody_may_say_that_a_file_is_whole_all_the_same(district: District) -> None:
    await district.sync(WHOLE)
    run = await district.sync(cut("enrollments", 0.99))
    assert (await approve(district, run.run_id)).state == "applied"
    assert (await district.counts())["enrollments"][1] > 0


@pytest.mark.threat("F7")
async def test_a_file_with_its_header_alone_is_held(synced: District) -> None:
    run = await synced.sync(rewritten("demographics", lambda text: text[: text.index(b"\n") + 1]))
    assert (run.state, [(r["code"], r["subject"]) for r in run.guard]) == ("held", [("file_empty", "demographics")])
    assert (await synced.counts())["demographics"] == (FRAMES["demographics"].height, 0)


async def pulled(district: District, config: dict[str, Any]) -> Run:
    """A run that pulls from a system of pages."""
    run_id = uuid4()
    async with district.db.district(district.district_id) as tx:
        await tx.execute(
            "UPDATE sources SET kind = 'pages', config = $2 WHERE source_id = $1", district.source_id, config
        )
        await runs.request(
            tx, run_id, source_id=district.source_id, upload_id=None, dry_run=False, requested_by="test"
        )  # fmt: skip
    while await work_once(district.db, district.clock):
        pass
    return await district.run(run_id)


@pytest.mark.threat("F8", "F9")
@pytest.mark.parametrize(
    ("fault", "state", "code"),
    [
        ("500", "queued", "source_failed"), ("refused", "failed", "source_failed"),
        ("reset", "queued", "source_failed"),
        ("not json", "failed", "source_failed"), ("short", "queued", "source_failed"),
        ("repeated", "queued", "source_failed"), ("at once", "queued", "source_failed"),
    ],
)  # fmt: skip
async def test_a_pull_that_fails_at_any_page_changes_nothing(
    district: District, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str, state: str, code: str
) -> None:
    monkeypatch.setitem(BUILT_IN, "pages", "tests.fakes.pages:SPEC")
    path = tmp_path / "package.zip"
    await asyncio.to_thread(path.write_bytes, WHOLE)
    first = await pulled(district, {"path": str(path)})
    assert first.state == "applied", first.error_message
    before = await district.state()
    for file in FILES:
        last = (FRAMES[file].height - 1) // 200
        for page in sorted({0, last // 2, last}):
            run = await pulled(district, {"path": str(path), "fault": fault, "file": file, "page": page})
            assert (run.state, run.error_code) == (state, code), (file, page)
            assert await district.state() == before, (file, page)
            async with district.db.district(district.district_id) as tx:
                await tx.execute("UPDATE runs SET state = 'failed' WHERE run_id = $1", run.run_id)


@pytest.mark.threat("F9")
async def test_fewer_rows_without_an_announcement_are_for_the_guard(
    district: District, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(BUILT_IN, "pages", "tests.fakes.pages:SPEC")
    path = tmp_path / "package.zip"
    await asyncio.to_thread(path.write_bytes, WHOLE)
    await pulled(district, {"path": str(path), "announces": False})
    await asyncio.to_thread(path.write_bytes, HALF)
    run = await pulled(district, {"path": str(path), "announces": False})
    assert run.state == "held"
    assert (await district.counts())["enrollments"] == (FRAMES["enrollments"].height, 0)
