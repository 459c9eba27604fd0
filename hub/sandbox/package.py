"""OneRoster CSV packages as bytes: exact headers for clean districts, and on request the faults that real exports have.

The writer for apps (``connectors.oneroster_csv.writer``) never makes a faulty file; a sandbox must. So this one writes
what it is told: another encoding, a byte order mark, an odd header. Same frames, same bytes.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import polars as pl

from connectors.oneroster_csv.manifest import manifest_bytes
from transforms.catalogue import CATALOGUE, Version

#: Called with what is being done, how much is done and how much there is.
Progress = Callable[[str, int, int], None]

_ROWS_AT_ONCE = 250_000
_TIMESTAMP = (2026, 8, 1, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class FileForm:
    """How one file departs from the standard at the level of bytes. ``header``: standard name to the name written."""

    encoding: Literal["utf-8", "utf-8-sig", "latin-1"] = "utf-8"
    header: Mapping[str, str] | None = None


PLAIN = FileForm()


def shape(file: str, version: Version, frame: pl.DataFrame) -> pl.DataFrame:
    """``frame`` with exactly the columns of the standard in their order; absent ones are blank, others are left out."""
    header = CATALOGUE.files(version)[file].csv_header(version)
    return frame.select(
        pl.col(name) if name in frame.columns else pl.lit(None, pl.String).alias(name) for name in header
    )


def csv_chunks(frame: pl.DataFrame, form: FileForm) -> Iterator[bytes]:
    """The bytes of one CSV file, some rows at a time."""
    for start in range(0, max(frame.height, 1), _ROWS_AT_ONCE):
        part = frame.slice(start, _ROWS_AT_ONCE)
        if start == 0 and form.header:
            part = part.rename(dict(form.header))
        buffer = io.BytesIO()
        part.write_csv(buffer, include_header=start == 0, line_terminator="\r\n")
        data = buffer.getvalue()
        if form.encoding == "latin-1":
            data = data.decode().encode("latin-1")
        yield b"\xef\xbb\xbf" + data if start == 0 and form.encoding == "utf-8-sig" else data


def write_package(
    path: Path,
    version: Version,
    frames: Mapping[str, pl.DataFrame],
    source_system: str,
    *,
    forms: Mapping[str, FileForm],
    progress: Progress,
) -> None:
    """Writes ``frames`` (CSV file name to rows, columns as ``shape`` gives them) as one zip. Same input, same bytes."""
    label, total = f"writing {path.name}", sum(f.height for f in frames.values())
    present = {name: frame for name, frame in frames.items() if frame.height}
    done = 0
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr(_entry("manifest"), manifest_bytes(version, present, source_system, "SANDBOX"))
        for name, frame in present.items():
            with archive.open(_entry(name), "w", force_zip64=frame.height > _ROWS_AT_ONCE) as target:
                for chunk in csv_chunks(frame, forms.get(name, PLAIN)):
                    target.write(chunk)
            done += frame.height
            progress(label, done, total)


def _entry(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(f"{name}.csv", _TIMESTAMP)
    info.compress_type = zipfile.ZIP_DEFLATED
    info.external_attr = 0o644 << 16
    info.create_system = 3
    return info
