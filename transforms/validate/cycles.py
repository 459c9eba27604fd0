"""Parents that lead back to themselves.

The links of the rows on the circle are dropped and reported; the rows stay. Keeping an org out would keep out
everything in it, which is worse than an org without a parent.
"""

from __future__ import annotations

import polars as pl

from transforms.issues import Action, Severity, declare
from transforms.sheet import Sheet

ORG_002 = declare(
    "ORG-002", Severity.WARN, Action.DROP_VALUE, "A parent that leads back to the row itself in a circle",
    "Correct the parent of one of the rows named here; the hub dropped the parent of each row on the circle.",
)  # fmt: skip


def cut_cycles(sheet: Sheet) -> None:
    """Nulls ``parent`` of every row that is its own ancestor."""
    links = sheet.frame.select("key", "parent").drop_nulls()
    if links.height == 0:
        return
    above = dict(links.iter_rows())
    circling = on_circles(above)
    if not circling:
        return
    rows = sheet["key"].is_in(sorted(circling)) & sheet["parent"].is_not_null()
    nearest = pl.Series(
        [f"{sheet.entity.name}:{circling[k]}" if k in circling else None for k in sheet["key"]], dtype=pl.String
    )
    sheet.report(ORG_002, rows, "parent", nearest)
    sheet.put("parent", pl.select(pl.when(~rows.fill_null(value=False)).then(sheet["parent"])).to_series())


def on_circles(above: dict[str, str]) -> dict[str, str]:
    """The keys that are their own ancestors, each with the smallest key of its circle. Takes linear time."""
    done: set[str] = set()
    found: dict[str, str] = {}
    for start in above:
        path: dict[str, int] = {}
        at: str | None = start
        while at is not None and at not in done and at not in path:
            path[at] = len(path)
            at = above.get(at)
        if at is not None and at in path:
            circle = list(path)[path[at] :]
            found.update(dict.fromkeys(circle, min(circle)))
        done.update(path)
    return found


def children(frame: pl.DataFrame, known: pl.Series) -> pl.Series:
    """The keys of each row's children that are ``known``, sorted; null where it has none.

    A child whose row is kept out but that the store has is known, so its parent does not lose it.
    """
    links = frame.select("parent", child="key").drop_nulls().filter(pl.col("child").is_in(known.implode())).unique()
    lists = links.sort("child").group_by("parent", maintain_order=True).agg(children=pl.col("child"))
    return frame.select("key").join(lists, left_on="key", right_on="parent", how="left", maintain_order="left")[
        "children"
    ]
