"""The guard: looks at what a run would do and holds it for a person when it looks like a broken export.

Pure: numbers, settings and a moment in; reasons out. ``hub.sync.judging`` brings the numbers.
"""

from hub.sync.guard.findings import finding_reasons
from hub.sync.guard.judge import MASS_CHANGE, Counts, Facts, Loss, Reason, Share, passes, reasons, suspects
from hub.sync.guard.rules import DEFAULTS, Rules, Settings, rules_of

__all__ = [
    "DEFAULTS", "MASS_CHANGE", "Counts", "Facts", "Loss", "Reason", "Rules", "Settings", "Share", "finding_reasons",
    "passes", "reasons", "rules_of", "suspects",
]  # fmt: skip
