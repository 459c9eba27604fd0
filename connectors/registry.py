"""The kinds of sources that there are: the built-in ones and those that other distributions bring.

A distribution adds a kind with an entry point in the group ``rosterhub.connectors``: the name is the kind, the object
its ``ConnectorSpec``. A kind is imported when it is asked for, so that a broken one harms nobody else.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points

from connectors.protocol import ConnectorError, ConnectorSpec, Intent

GROUP = "rosterhub.connectors"
# Also stated as entry points of this distribution; here they work from a bare checkout and cannot be taken over.
BUILT_IN = {"oneroster_csv": "connectors.oneroster_csv:SPEC", "table_csv": "connectors.table_csv:SPEC",
            "oneroster_rest": "connectors.oneroster_rest:SPEC", "clever": "connectors.clever:SPEC",
            "powerschool": "connectors.powerschool:SPEC", "edfi": "connectors.edfi:SPEC",
            "aeries": "connectors.aeries:SPEC", "skyward_qmlativ": "connectors.skyward_qmlativ:SPEC"}  # fmt: skip


def kinds() -> tuple[str, ...]:
    """All kinds by name, sorted. Nothing is imported."""
    return tuple(sorted(_entry_points()))


def connector(kind: str) -> ConnectorSpec:
    """The spec of one kind. Raises ConnectorError (``unknown_kind``, ``broken_connector``)."""
    # What is built in is not looked for among the files of all that is installed.
    found = EntryPoint(kind, BUILT_IN[kind], GROUP) if kind in BUILT_IN else _entry_points().get(kind)
    if found is None:
        known = ", ".join(kinds())
        raise ConnectorError("unknown_kind", f"No connector of that kind. Known kinds: {known}.", intent=Intent.GIVE_UP)
    try:
        spec = found.load()
    except Exception as error:
        raise _broken(kind, f"cannot be imported ({type(error).__name__})") from error
    if not isinstance(spec, ConnectorSpec):
        raise _broken(kind, "names an object that is no ConnectorSpec")
    if spec.kind != kind:
        raise _broken(kind, f"is registered under another name than its own, {spec.kind!r}")
    return spec


def _entry_points() -> dict[str, EntryPoint]:
    found = {point.name: point for point in entry_points(group=GROUP)}
    return found | {kind: EntryPoint(kind, target, GROUP) for kind, target in BUILT_IN.items()}


def _broken(kind: str, why: str) -> ConnectorError:
    return ConnectorError("broken_connector", f"The connector {kind!r} {why}.", intent=Intent.ASK_HUMAN)
