"""The 55 reads of OneRoster 1.1: the same as those of 1.2, but for what is new there.

Source: the 1.1 tables of operations. One service has them all.
"""

from __future__ import annotations

from dataclasses import replace

from hub.api.oneroster.gradebook import GRADEBOOK
from hub.api.oneroster.operations import Operation
from hub.api.oneroster.resources import RESOURCES
from hub.api.oneroster.rostering import ROSTERING

#: Reads that came with 1.2, of objects that 1.1 has too.
_NEW_IN_12 = frozenset({"getCategoriesForClass", "getResourcesForUser"})

V1P1_READS: tuple[Operation, ...] = tuple(
    replace(operation, version="1.1")
    for operation in (*ROSTERING, *RESOURCES, *GRADEBOOK)
    if "1.1" in operation.entity.versions and operation.name not in _NEW_IN_12
)
