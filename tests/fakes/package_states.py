"""What a source's packages say, one after the other: the state after a package of changes, to compare with a whole."""

from __future__ import annotations

from contextlib import closing

from connectors.protocol import Pull

Row = tuple[tuple[str, str], ...]
#: By file and sourcedId the row; roles by their user, since they are parts of it and have ids of no meaning.
State = dict[str, dict[str, Row | frozenset[Row]]]
_NOTHING = frozenset({"line", "status", "dateLastModified"})


def applied(before: State, pull: Pull) -> State:
    """The state after a pull, as the hub would have it; its package is closed."""
    after = {file: dict(rows) for file, rows in before.items()}
    with closing(pull.package) as package:
        assert package.mode.get("roles", package.mode.get("users")) == package.mode.get("users")
        for file, mode in sorted(package.mode.items(), reverse=True):  # users before roles
            rows = [row for batch in package.batches(file) for row in batch.frame.to_dicts()]
            if mode == "bulk":
                after[file] = {}
            if file == "roles":
                _roles(after, rows, whole=mode == "bulk")
                continue
            table = after.setdefault(file, {})
            for row in rows:
                if row.get("status") == "tobedeleted":
                    table.pop(row["sourcedId"], None)
                    if file == "users":  # demographics are records of their own: a package has to end them
                        after.get("roles", {}).pop(row["sourcedId"], None)
                else:
                    table[row["sourcedId"]] = _row(row)
        for file, present in pull.present.items():
            after[file] = {key: row for key, row in after[file].items() if key in set(present)}
    return after


def _roles(after: State, rows: list[dict[str, str | None]], *, whole: bool) -> None:
    """A user whose roles come has these and no others."""
    held: dict[str, set[Row]] = {}
    for row in rows:
        if row.get("status") != "tobedeleted":
            shown = {name: value for name, value in row.items() if name != "sourcedId"}
            held.setdefault(str(row["userSourcedId"]), set()).add(_row(shown))
    after["roles"] = ({} if whole else after.get("roles", {})) | {user: frozenset(some) for user, some in held.items()}


def _row(row: dict[str, str | None]) -> Row:
    return tuple(
        sorted((name, str(value)) for name, value in row.items() if value is not None and name not in _NOTHING)
    )
