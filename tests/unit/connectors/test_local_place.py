"""Packages in a watched folder, where somebody writes while the hub reads."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from connectors.places import local
from connectors.places.place import FolderPlace
from connectors.protocol import ConnectorError, Intent, SourceContext
from tests.contract.test_oneroster_csv import CLEAN, archive


@pytest.mark.threat("T42", "F16")
@pytest.mark.parametrize("grows", [True, False])
async def test_a_file_that_changes_its_size_is_not_copied_to_an_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, grows: bool
) -> None:
    """One whose writer is always ahead has no end: the copy would fill the disk."""
    (tmp_path / "in").mkdir()
    path, target = archive(tmp_path / "in" / "a.zip", CLEAN), tmp_path / "copy.zip"
    size, place = path.stat().st_size, FolderPlace(kind="folder")
    monkeypatch.setattr(local, "_CHUNK", 1 + size // 4)
    real = os.fdopen

    def opened(file: int, mode: str) -> Any:
        source = real(file, mode, buffering=0)
        read, reads = source.read, [0]

        class Read:
            def __enter__(self) -> Any:
                return self

            def __exit__(self, *_: object) -> None:
                source.close()

            def read(self, most: int) -> bytes:
                reads[0] += 1
                assert reads[0] < 20, "it goes on without an end"
                os.truncate(path, path.stat().st_size + most if grows else size // 2)
                data: bytes = read(most)
                return data

        return Read()

    monkeypatch.setattr(local.os, "fdopen", opened)
    context = SourceContext(place, watched=tmp_path / "in")
    async with local.open_folder(place, context) as store:
        (entry,) = await store.entries()
        with pytest.raises(ConnectorError) as refused:
            await store.fetch(entry, target)
    assert (refused.value.code, refused.value.intent) == ("package_unsettled", Intent.RETRY)
    assert target.stat().st_size == (size + 1 if grows else size // 2)


@pytest.mark.parametrize("after", ["delete", "move"])
async def test_a_file_that_comes_while_another_is_put_away_stays(tmp_path: Path, after: str) -> None:
    place = FolderPlace(kind="folder")
    path = archive(tmp_path / "a.zip", CLEAN)
    async with local.open_folder(place, SourceContext(place, watched=tmp_path)) as store:

        async def put_away() -> bool:
            return await (store.remove(entry) if after == "delete" else store.move(entry, "taken", "b.zip"))

        (entry,) = await store.entries()
        archive(tmp_path / "new", CLEAN).replace(path)
        assert not await put_away()
        assert path.exists()
        (entry,) = await store.entries()
        assert await put_away()
        assert (path.exists(), (tmp_path / "taken" / "b.zip").exists()) == (False, after == "move")
