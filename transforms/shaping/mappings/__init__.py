"""The mappings that come with the hub: Microsoft School Data Sync and a plain dump of a database, as data.

A change here gives other rows of the same package: ``transforms.pipeline.REVISION`` must grow with it.
"""

from __future__ import annotations

from collections.abc import Mapping as Lookup
from functools import cache
from types import MappingProxyType
from typing import Any

from transforms.shaping.definition import Mapping
from transforms.shaping.mappings import dump, sds_v1, sds_v2

#: By name: what people call it, and the definition.
BUILT_IN: Lookup[str, tuple[str, dict[str, Any]]] = MappingProxyType(
    {
        "sds-2.1": ("Microsoft School Data Sync 2.1", sds_v2.V2_1),
        "sds-2": ("Microsoft School Data Sync 2", sds_v2.V2),
        "sds-1": ("Microsoft School Data Sync 1", sds_v1.V1),
        "dump": ("A dump of tables", dump.DUMP),
    }
)


@cache
def built_in(name: str) -> Mapping:
    """A built-in mapping. Raises KeyError."""
    return Mapping.model_validate(BUILT_IN[name][1])
