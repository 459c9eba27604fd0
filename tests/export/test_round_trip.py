"""The next import of our own packages gives back the same records, and a second one writes nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from hub.clock import Clock, SystemClock
from hub.store.database import Database as Pool
from tests.districts import District, sandbox
from tests.export.packages import EVERYTHING, documents, lines, make, manifest, origins, rows, texts
from tests.fakes import rosters
from tests.services import Database
from tests.sync.test_schedules import Turned
from transforms.catalogue import CATALOGUE, Version


@pytest.fixture
async def pool(database: Database) -> AsyncIterator[Pool]:
    db = await Pool.open(database.worker, name="test", largest=4)
    yield db
    await db.close()


def _small(version: Version) -> dict[str, object]:
    """A small roster with a gradebook and resources, and values that are hard to write."""
    files = rosters.clean(version)
    files["users"][0] |= {"middleName": "=1+1", "metadata.note": 'say "hi", then; go', "metadata.a b": "0042"}
    files["users"][1] |= {"metadata.note": "Ünïcødé 学校 🎒", "identifier": "-5", "familyName": None}
    files["courses"][0] |= {"title": 'Algebra, "advanced"'}
    return rosters.frames(version, files)


@pytest.mark.parametrize("version", ["1.2", "1.1"])
@pytest.mark.parametrize("which", ["small", "sandbox"])
async def test_an_import_of_an_export_gives_back_the_same_records(pool: Pool, version: Version, which: str) -> None:
    # In the school year of which they tell: one term is just over.
    clock: Clock = Turned(datetime(2025, 3, 12, 12, tzinfo=UTC)) if which == "small" else SystemClock()
    one, two = [await District(pool, version, clock).create() for _ in range(2)]
    grant = await one.grant(EVERYTHING)
    frames = _small(version) if which == "small" else sandbox(200, 7, version).frames
    first = await one.sync(frames)
    assert first.state == "applied"
    data, made = await make(one, grant, version)
    assert made.kind == "bulk"
    assert not made.package.made.omitted
    assert made.package.made.rows == {file: len(found) for file, found in rows(data).items()}

    second = await two.sync(data)
    assert second.state == "applied"
    # The name that looks like a formula, and the person with one name.
    assert {rule["code"] for rule in second.report["rules"]} <= {"NAME-009", "NAME-007"}
    assert await documents(pool, two.district_id, await origins(pool, two.district_id)) == await documents(
        pool, one.district_id, {}
    )
    before = await two.state()
    assert (await two.sync(data)).state == "unchanged"
    assert await two.state() == before


@pytest.mark.parametrize("version", ["1.2", "1.1"])
async def test_files_are_those_of_the_standard_to_the_byte(pool: Pool, version: Version) -> None:
    district = await District(pool, version).create()
    grant = await district.grant(EVERYTHING)
    await district.sync(_small(version))
    data, _ = await make(district, grant, version)
    assert data == (await make(district, grant, version))[0]
    files = CATALOGUE.files(version)
    said = manifest(data)
    assert list(said) == [
        "manifest.version", "oneroster.version", *(f"file.{name}" for name in sorted(files, key=str.lower)),
        "source.systemName",
    ]  # fmt: skip
    assert {name for name, value in said.items() if value == "bulk"} == {f"file.{name}" for name in files}
    for file, line in zip(files, lines(data, files), strict=True):
        standard = ",".join(files[file].csv_header(version))
        assert line.startswith(standard)
        assert all(name.startswith("metadata.") for name in line.removeprefix(standard).strip(",").split(",") if name)
    found = texts(data)
    assert all(text.endswith("\r\n") and "\n" not in text.replace("\r\n", "") for text in found.values())
    assert "never-kept" not in "".join(found.values())
    for file, records in rows(data).items():
        ids = [row["sourcedId"] for row in records]
        assert len(set(ids)) == len(ids)
        assert ids == sorted(ids) or file == "userProfiles"
        assert all(row["status"] == row["dateLastModified"] == "" for row in records)
