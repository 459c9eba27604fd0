"""When findings hold a run: a rule that asks by itself and has found more than last time, or a limit of the district's.

Pure. Findings that a person has approved once are in the last applied run, and are not asked about again.
"""

from __future__ import annotations

from collections.abc import Mapping

from hub.sync.guard.judge import Reason
from transforms.issues import RULES, Action, Phase
from transforms.rules.settings import RuleSettings


def finding_reasons(
    found: Mapping[tuple[str, str], int], rows: Mapping[str, int], last: Mapping[str, Mapping[str, int]],
    settings: RuleSettings,
) -> list[Reason]:  # fmt: skip
    """Why a run must wait for what its rules found.

    ``found``: (code, entity) to the number of findings; ``rows``: by entity how many came; ``last``: by
    entity and code what the last applied run found that brought the entity; a first load replaces nothing.
    """
    out = []
    for (code, entity), number in sorted(found.items()):
        rule = RULES.get(code)
        if rule is None:
            continue
        own = settings.of.get(code, {})
        if "hold" in own:
            limit = own["hold"]
            if limit is None or number <= max(limit.get("above", 0), limit.get("share", 0) * rows.get(entity, 0)):
                continue
            text = f"{number} findings {code} ({rule.title}) are more than the district lets pass."
            out.append(Reason("rule_holds", code, number, limit.get("share", 0), text))
        elif rule.action is Action.HOLD and rule.phase is not Phase.CROSS_SNAPSHOT and entity in last:
            known = last[entity].get(code, 0)
            if number > known:
                out.append(Reason("rule_holds", code, number, known, f"{code}: {rule.title}. {rule.howto}"))
    return out
