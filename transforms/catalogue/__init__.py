"""The OneRoster catalogue: every entity and field, stated once. See ``model`` for what derives from it."""

from transforms.catalogue.model import Catalogue, Entity, Field, Kind, Need, Privacy, Version
from transforms.catalogue.rostering import BASE_NAMES
from transforms.catalogue.rostering import ENTITIES as _ROSTERING

CATALOGUE = Catalogue(_ROSTERING)

__all__ = [
    "BASE_NAMES",
    "CATALOGUE",
    "Catalogue",
    "Entity",
    "Field",
    "Kind",
    "Need",
    "Privacy",
    "Version",
]
