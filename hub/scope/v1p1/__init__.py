"""OneRoster 1.1 as one app sees it: which members there are, and objects made from those of 1.2."""

from hub.scope.v1p1.documents import (
    CLASS_TYPE,
    LEAST,
    MOST,
    SAME,
    SCORE_STATUS,
    Documents,
    Style,
    can_be_extra,
    filterable,
    visible,
)
from hub.scope.v1p1.texts import booleans, json_booleans

__all__ = [
    "CLASS_TYPE",
    "LEAST",
    "MOST",
    "SAME",
    "SCORE_STATUS",
    "Documents",
    "Style",
    "booleans",
    "can_be_extra",
    "filterable",
    "json_booleans",
    "visible",
]
