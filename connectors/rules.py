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

from connectors.aeries import rules as aeries
from connectors.clever import rules as clever
from connectors.edfi import rules as edfi
from connectors.oneroster_csv import rules as oneroster_csv
from connectors.oneroster_rest import rules as oneroster_rest
from connectors.powerschool import rules as powerschool
from connectors.skyward_qmlativ import rules as skyward_qmlativ
from transforms import pipeline
from transforms.issues import RULES
from transforms.shaping import rules as shaping

GROUP = "rosterhub.rules"
#: Importing these has declared what is built in.
BUILT_IN = (aeries, clever, edfi, oneroster_csv, oneroster_rest, powerschool, skyward_qmlativ, pipeline, shaping)


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
