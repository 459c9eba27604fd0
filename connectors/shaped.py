"""A package after a district's transform: the same protocol, the rows as the transform leaves them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from connectors.around import Around
from connectors.protocol import Batch, ConnectorError, Intent, Package, pair_marks
from transforms import issues
from transforms.catalogue import CATALOGUE
from transforms.shaping import rules
from transforms.shaping.checking import Checked
from transforms.shaping.steps import CheckedSteps, apply
from transforms.validate.alike import marks_of


@dataclass(frozen=True, slots=True)
class ShapedPackage(Around):
    """``package`` with the steps of ``transform`` on each of its files. ``rows`` counts all that there were."""

    package: Package
    transform: Checked

    @property
    def digest(self) -> str:
        """Over the package's and the definition: an edit of it makes the next run compare row by row."""
        return hashlib.sha256(f"{self.package.digest}\0{self.transform.mark}".encode()).hexdigest()

    def batches(self, file: str, size: int = 250_000) -> Iterator[Batch]:
        """The rows of ``file`` after the steps. Raises ConnectorError (``transform_failed``)."""
        steps = self.transform.files.get(file)
        batches = self.package.batches(file, size)
        yield from batches if steps is None else self._shaped(file, steps, batches)

    def keys(self, file: str) -> pl.Series:
        """The sourcedIds of ``file`` after the steps."""
        steps = self.transform.files.get(file)
        if steps is None or steps.keeps_keys:
            return self.package.keys(file)
        return pl.concat([batch.frame["sourcedId"] for batch in self.batches(file)])

    def marks(self, file: str) -> pl.Series:
        """The marks of ``file`` after the steps."""
        if file not in self.transform.files:
            return pair_marks(self.package, file)
        return pl.concat([marks_of(batch.frame) for batch in self.batches(file)])

    def _shaped(self, file: str, steps: CheckedSteps, batches: Iterator[Batch]) -> Iterator[Batch]:
        changes = self.mode[file] == "delta"
        dropped, columns = 0, None
        for batch in batches:
            try:
                frame, left_out = apply(steps, batch.frame, marks_left_out=changes)
            except pl.exceptions.PolarsError as error:
                text = (
                    f"The transform of {file}.csv cannot be evaluated ({type(error).__name__}). Mend its expressions."
                )
                raise ConnectorError("transform_failed", text, intent=Intent.ASK_HUMAN) from None
            dropped += left_out
            columns = frame.clear()
            yield Batch(frame, batch.issues)
        if dropped and columns is not None:
            entity = CATALOGUE.files(self.version)[file].name
            about = issues.one(rules.LEFT_OUT, entity=entity, file=f"{file}.csv", cause=f"{dropped:,} rows")
            yield Batch(columns, about)


def shape(package: Package, transform: Checked | None) -> Package:
    """The package after the transform; the same where there is none for any of its files."""
    if transform is None or not transform.files:
        return package
    return ShapedPackage(package, transform)
