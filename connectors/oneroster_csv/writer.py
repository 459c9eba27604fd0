"""Writes packages exactly as the standard wants them: all columns in order, CRLF, quotes only where needed.

Same frames, same bytes: nothing of the clock or the machine goes in.
Source: CSV binding 1.2.1 sections 1 to 3.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import polars as pl

from connectors.oneroster_csv.headers import METADATA
from connectors.oneroster_csv.manifest import manifest_bytes
from transforms.catalogue import CATALOGUE, Version

_ROWS_AT_ONCE = 250_000


def write_package(
    path: Path,
    version: Version,
    frames: Mapping[str, pl.DataFrame],
    *,
    source_system: str | None = None,
    system_code: str | None = None,
    compression: int = 6,
) -> None:
    """Writes a bulk package as a ZIP archive to ``path``, which is replaced in one step when it is complete.

    ``frames`` maps CSV files (names without ``.csv``) to String columns under the standard's header names, with any
    ``metadata.<name>`` columns. Missing columns are written blank, ``line`` and unknown columns not at all. Files
    without rows are marked absent. Raises KeyError for files that ``version`` does not have.
    """
    present = _present(version, frames)
    partial = path.with_name(path.name + ".partial")
    with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED, compresslevel=compression) as archive:
        with archive.open("manifest.csv", "w") as target:
            target.write(manifest_bytes(version, present, source_system, system_code))
        for file in sorted(present, key=str.lower):
            with archive.open(f"{file}.csv", "w", force_zip64=present[file].height > _ROWS_AT_ONCE) as target:
                for chunk in _csv(present[file]):
                    target.write(chunk)
    partial.replace(path)


def write_folder(
    folder: Path,
    version: Version,
    frames: Mapping[str, pl.DataFrame],
    *,
    source_system: str | None = None,
    system_code: str | None = None,
) -> None:
    """Writes the same files loose into ``folder``, which is made if need be; the manifest comes last."""
    present = _present(version, frames)
    folder.mkdir(parents=True, exist_ok=True)
    for file in sorted(present, key=str.lower):
        with (folder / f"{file}.csv").open("wb") as target:
            for chunk in _csv(present[file]):
                target.write(chunk)
    (folder / "manifest.csv").write_bytes(manifest_bytes(version, present, source_system, system_code))


def shape(file: str, version: Version, frame: pl.DataFrame) -> pl.DataFrame:
    """``frame`` with the columns of the standard in their order and metadata behind them.

    Line breaks inside cells become spaces, and passwords are left blank: the standard forbids one, we the other.
    """
    entity = CATALOGUE.files(version)[file]
    secret = {f.csv_name for f in entity.fields if not f.stored}
    metadata = sorted(c for c in frame.columns if c.startswith(METADATA) and c != METADATA)
    given = set(frame.columns) - secret
    columns = (*entity.csv_header(version), *metadata)
    text = frame.select(pl.col(c) if c in given else pl.lit(None, pl.String).alias(c) for c in columns)
    return text.with_columns(pl.all().cast(pl.String).str.replace_all(r"\r\n|\r|\n", " ").replace("", None))


def _present(version: Version, frames: Mapping[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    return {file: shape(file, version, frame) for file, frame in frames.items() if frame.height}


def _csv(frame: pl.DataFrame) -> Iterator[bytes]:
    for start in range(0, frame.height, _ROWS_AT_ONCE):
        buffer = io.BytesIO()
        frame.slice(start, _ROWS_AT_ONCE).write_csv(buffer, include_header=start == 0, line_terminator="\r\n")
        yield buffer.getvalue()
