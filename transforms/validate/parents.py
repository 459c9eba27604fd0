"""Objects that name a parent of their own kind: no parent leads back to its child, and parents name their children.

Of a circle the links of the rows that came are dropped and reported; the rows stay. Keeping an org out would keep out
everything in it, which is worse than an org without a parent.
"""

from __future__ import annotations

import polars as pl

from transforms.issues import Action, Phase, Severity, declare
from transforms.marks import absent, as_list, beside, blank, certain, present, rows_of, stacked, without
from transforms.sheet import Sheet

ORG_002 = declare(
    "ORG-002", Severity.WARN, Action.DROP_VALUE, "A parent that leads back to the row itself in a circle",
    "Correct the parent of one of the rows named here; the hub dropped the parent of each of them.",
    fields=("parent",), phase=Phase.ENTITY,
)  # fmt: skip
ORG_005 = declare(
    "ORG-005", Severity.INFO, Action.REPORT, "A school or department that belongs to no other org",
    "Give its district, or whatever is above it, as its parent. The hub takes it in as it is; systems that go from the "
    "district to its schools do not find it.",
    entity="orgs", fields=("parent",), phase=Phase.ENTITY,
)  # fmt: skip

#: How a finding begins about a parent that is not there.
_DROPPED = ("REF-002", "parent")
#: Orgs of these types are part of another one; nobody knows that of any other.
_PARTS = ("school", "department")


def no_parents(_entity: str = "") -> pl.DataFrame:
    """Parents of nobody: columns key and parent, the key of the object above."""
    return _NOBODY.clone()


_NOBODY = pl.DataFrame(schema={"key": pl.String, "parent": pl.String})


def derive_children(sheet: Sheet, known: pl.Series, said: pl.DataFrame) -> pl.DataFrame:
    """Cuts circles and puts ``children`` on a sheet: the sorted keys of those whose parent a row is, null for none.

    ``known``: the keys of all objects that are there after the run. ``said`` (as ``no_parents``): what the source said
    of them before; who is known without a good row here, because the row is kept out or did not come, stays in its
    place. What that changes of those who stay comes back: key and children.
    """
    own = rows_of(sheet.frame[["key", "parent"]], ~sheet.out)
    lone = _without_parent(sheet)
    stay = said
    if said.height:
        stay = said.filter(pl.col("key").is_in(as_list(known)), ~pl.col("key").is_in(as_list(own["key"])))
    links = stacked([own, stay])
    links = rows_of(links, present(links["key"]) & present(links["parent"]))
    if lone is not None and int(lone.sum()) + stay["parent"].null_count() > 1:  # one is the root, whatever it is
        sheet.report(ORG_005, lone & sheet["type"].is_in(_PARTS), "parent")
    if (cut := _cut_circles(sheet, links)).len():
        links = links.filter(~pl.col("key").is_in(as_list(cut)))
    now = _by_parent(links)
    sheet.put("children", _of(sheet["key"], now))
    if not stay.height:
        return pl.DataFrame(schema={"key": pl.String, "children": pl.List(pl.String)})
    before = _by_parent(said.drop_nulls())
    lists = beside([stay["key"], _of(stay["key"], now), _of(stay["key"], before).alias("before")])
    return lists.filter(pl.col("children").ne_missing(pl.col("before"))).select("key", "children")


def _without_parent(sheet: Sheet) -> pl.Series | None:
    """The good rows of orgs that named no parent, not even one that is not there; None for other trees."""
    if sheet.entity.name != "orgs":
        return None
    dropped = [f["line"] for f in sheet.findings if f.height and (f["code"][0], f["field"][0]) == _DROPPED]
    lines = stacked([pl.Series("line", [], dtype=pl.UInt32), *dropped])
    lone = absent(sheet["parent"]) & ~sheet.out
    return lone & ~certain(sheet["line"].is_in(as_list(lines))) if lines.len() else lone


def _cut_circles(sheet: Sheet, links: pl.DataFrame) -> pl.Series:
    """Nulls ``parent`` of the sheet's rows that are their own ancestors by ``links``; their keys."""
    circling = on_circles(dict(links.iter_rows()))
    if not circling:
        return links["key"].clear()
    rows = certain(sheet["key"].is_in(sorted(circling))) & present(sheet["parent"]) & ~sheet.out
    nearest = pl.Series(
        [f"{sheet.entity.name}:{circling[k]}" if k in circling else None for k in sheet["key"]], dtype=pl.String
    )
    sheet.report(ORG_002, rows, "parent", nearest)
    sheet.put("parent", without(sheet["parent"], rows))
    return sheet["key"].filter(rows)


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


def _by_parent(links: pl.DataFrame) -> pl.DataFrame:
    """Parent and children, the sorted keys of those who name it."""
    links = links if links["key"].n_unique() == links.height else links.unique()
    return links.sort("key").group_by("parent", maintain_order=True).agg(children=pl.col("key"))


def _of(keys: pl.Series, lists: pl.DataFrame) -> pl.Series:
    if not lists.height:
        return blank(keys.len(), pl.List(pl.String)).alias("children")
    rows = keys.rename("key").to_frame()
    return rows.join(lists, left_on="key", right_on="parent", how="left", maintain_order="left")["children"]
