"""The REST bindings of OneRoster that the hub serves: where each stands and what it answers.

The bindings do not know of each other: nobody is ever answered in another version than the one that was asked.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from hub.api.oneroster.gradebook import GRADEBOOK
from hub.api.oneroster.operations import Operation
from hub.api.oneroster.resources import RESOURCES
from hub.api.oneroster.rostering import ROSTERING
from hub.api.oneroster.v1p1.operations import V1P1_READS
from hub.objects.bases import DISTRICT, EVERYWHERE, PATHS
from transforms.catalogue import Service, Version

ROSTERING_PATH = DISTRICT + PATHS["1.2"]["rostering"]


@dataclass(frozen=True)
class Binding:
    """One service of one version. ``documents``: the names of its discovery document."""

    version: Version
    service: Service
    title: str
    operations: tuple[Operation, ...]
    documents: tuple[str, ...] = ()

    @property
    def path(self) -> str:
        """Where it stands below the hub's address, with a place for the district."""
        return DISTRICT + PATHS[self.version][self.service]

    @property
    def everywhere(self) -> str:
        """Where it stands for all districts together."""
        return EVERYWHERE + PATHS[self.version][self.service]


BINDINGS: tuple[Binding, ...] = (
    Binding(
        "1.2", "rostering", "OneRoster 1.2 Rostering", ROSTERING,
        # The name in the REST binding, and the one in the conformance guide.
        ("onerosterv1p2rostersservice_openapi3_v1p0.json", "imsorv1p2_rostering_openapi3_v1p0.json"),
    ),
    Binding(
        "1.2", "gradebook", "OneRoster 1.2 Gradebook", GRADEBOOK,
        ("onerosterv1p2gradebookservice_openapi3_v1p0.json", "imsorv1p2_gradebook_openapi3_v1p0.json"),
    ),
    # 1.1 has one base for everything.
    Binding("1.1", "rostering", "OneRoster 1.1", V1P1_READS),
    Binding(
        "1.2", "resources", "OneRoster 1.2 Resources", RESOURCES,
        ("onerosterv1p2resourcesservice_openapi3_v1p0.json", "imsorv1p2_resources_openapi3_v1p0.json"),
    ),
)  # fmt: skip


_OLD = re.compile("(?:/d/[^/]+)?" + EVERYWHERE + PATHS["1.1"]["rostering"] + "(?:/.*)?", re.DOTALL)


def version_of(path: str) -> Version:
    """The version of OneRoster in whose form what goes wrong at an address is told."""
    return "1.1" if _OLD.fullmatch(path) else "1.2"
