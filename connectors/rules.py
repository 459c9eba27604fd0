"""All rules that there are: those of built-in connectors and those that other distributions bring.

A distribution brings rules with an entry point in the group ``rosterhub.rules`` that names a module; importing it
declares them (``transforms.rules.given.rule``). Such rules report, suggest or hold; they neither change a value nor
keep a row out. A module that cannot be imported, or that declares another rule, harms nobody else: none of its rules
counts.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from importlib.metadata import EntryPoint, entry_points

import transforms.pipeline
import transforms.shaping.rules  # noqa: F401 - declares rules
from transforms.issues import RULES

GROUP = "rosterhub.rules"


@cache
def load() -> tuple[str, ...]:
    """Declares all rules, once in a process. Returns the names of entry points whose rules do not count.

    Reads the metadata of what is installed: call it in a thread.
    """
    points = sorted(entry_points(group=GROUP), key=lambda one: one.name)
    return tuple(point.name for point in points if not _declared(point))


def _declared(point: EntryPoint) -> bool:
    before = set(RULES)
    try:
        point.load()
        own = [RULES[code] for code in RULES.keys() - before]
        sound = all(rule.optional and rule.fix is None and rule.check is not None for rule in own)
    except Exception:
        sound = False
    for code in RULES.keys() - before:
        if sound:
            RULES[code] = replace(RULES[code], origin=point.name)
        else:
            del RULES[code]
    return sound
