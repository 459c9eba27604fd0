"""The plugin that a district installs: what it may read, and the PowerQueries that the connector calls.

Source of the format: PowerSchool's plugin.xsd and its developer pages on PowerQueries: ``plugin.xml`` at the top of the
archive, ``queries_root/<name>.named_queries.xml`` beside it. There is no page, no schema extension and no code in it.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable
from datetime import datetime
from xml.sax.saxutils import quoteattr

from connectors.powerschool.config import KitOptions
from connectors.powerschool.queries import ARGUMENTS, ARRAYS, PREFIX, Query, pack

NAME = "RosterHub"
_NAMESPACE = "http://plugin.powerschool.pearson.com"
_SCHEMA = "http://www.w3.org/2001/XMLSchema-instance"
_DESCRIPTION = "Lets RosterHub read the roster. It writes nothing."
_PUBLISHER, _CONTACT = "RosterHub", "operator@rosterhub.invalid"


def make(options: KitOptions, at: datetime) -> bytes:
    """The plugin as a ZIP archive. Its version is made of the time, since PowerSchool takes only newer ones."""
    queries = [one for query in pack(options) for one in (query, query.keys, query.seal)]
    files = {
        "plugin.xml": _plugin(queries, f"1.{at:%Y%m%d}.{at:%H%M%S}"),
        f"queries_root/{PREFIX}named_queries.xml": _queries(queries),
    }
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(zipfile.ZipInfo(name, at.timetuple()[:6]), text, zipfile.ZIP_DEFLATED)
    return out.getvalue()


def _plugin(queries: Iterable[Query], version: str) -> str:
    fields = sorted({field for query in queries for field in query.fields})
    asked = "\n".join(
        f'    <field table={quoteattr(table.upper())} field={quoteattr(name.upper())} access="ViewOnly"/>'
        for table, name in fields
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<plugin xmlns="{_NAMESPACE}" xmlns:xsi="{_SCHEMA}" xsi:schemaLocation="{_NAMESPACE} plugin.xsd"\n'
        f'        name="{NAME}" version="{version}" description="{_DESCRIPTION}">\n'
        "  <oauth/>\n"
        f"  <access_request>\n{asked}\n  </access_request>\n"
        f'  <publisher name="{_PUBLISHER}">\n    <contact email="{_CONTACT}"/>\n  </publisher>\n'
        "</plugin>\n"
    )


def _queries(queries: Iterable[Query]) -> str:
    return '<?xml version="1.0" encoding="UTF-8"?>\n<queries>\n' + "".join(map(_query, queries)) + "</queries>\n"


def _query(query: Query) -> str:
    arguments = "".join(
        f'      <arg name="{name}" column="{ARGUMENTS[name].upper()}" required="true"'
        f' type="{"array" if name in ARRAYS else "primitive"}"/>\n'
        for name in query.arguments
    )
    columns = "".join(
        f'      <column column="{field.upper()}">{alias}</column>\n' for alias, field in query.columns.items()
    )
    return (
        f'  <query name="{query.full_name}" coreTable="{query.core}" flattened="true">\n'
        f"    <summary>RosterHub: {query.name.replace('_', ' ')}</summary>\n"
        + (f"    <args>\n{arguments}    </args>\n" if arguments else "")
        + f"    <columns>\n{columns}    </columns>\n"
        f"    <sql><![CDATA[\n{query.sql}\n]]></sql>\n  </query>\n"
    )
