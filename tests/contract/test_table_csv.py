"""The shipped contract suite on the connector of tables: known formats, a mapping of one's own, clean and dirty."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from connectors.contract import ConnectorContract, ContractCase
from connectors.protocol import SourceContext
from connectors.table_csv import SPEC
from connectors.table_csv.source import TableCsvConfig
from tests.unit.connectors.packages import loose, text, zipped

PEOPLE = text("Nr;Vorname;Nachname;Rolle;Klasse;Passwort", *(
    f'{n};Vorname{n};"Nachname{n}";{"L" if n % 5 == 0 else "S"};{n % 3};geheim{n}' for n in range(1, 31)
))  # fmt: skip
GROUPS = text("Nr;Schule", *(f"{n};Schule {n}" for n in range(3)))
OWN: dict[str, Any] = {
    "version": "1.1",
    "files": {
        "orgs": {"from": [
            {"table": "Klassen", "columns": {"sourcedId": "Nr", "name": "Schule"}, "set": {"type": "'school'"}}]},
        "users": {
            "from": [
                {"table": "Personen", "where": "Rolle = 'S'", "columns": {"sourcedId": "Nr", "givenName": "Vorname",
                 "familyName": "Nachname", "orgSourcedIds": "Klasse"}, "set": {"role": "'student'",
                 "enabledUser": "TRUE", "username": "LOWER(Vorname)", "metadata.school": "group.Schule"},
                 "join": [{"table": "Klassen", "name": "group", "on": {"Klasse": "Nr"}}]},
                {"table": "Personen", "where": "Rolle = 'L'", "distinct": True, "columns": {"sourcedId": "Nr",
                 "givenName": "Vorname", "familyName": "Nachname", "orgSourcedIds": "Klasse"},
                 "set": {"role": "'teacher'", "enabledUser": "'true'", "username": "LOWER(Vorname)"}},
            ],
            "where": "sourcedId <> '7'",
        },
    },
}  # fmt: skip
CLEAN = {"Personen.csv": PEOPLE, "Klassen.csv": GROUPS}
DIRTY = {
    "personen.CSV": PEOPLE.replace("9;Vorname9", '9;"Vorname9').replace("\r\n", "\n"),
    "Klassen.txt": GROUPS.encode("utf-16"),
}


def contract_case(path: Path, *, upload: bool) -> ContractCase:
    def context(place: Path) -> SourceContext:
        config = TableCsvConfig.model_validate(
            {"mapping": OWN, "settle_seconds": 0, "path": None if upload else str(place)}
        )
        return SourceContext(config, upload=place if upload else None)

    return ContractCase(
        spec=SPEC, context=lambda: context(path), unreachable=lambda: context(path.with_name("nowhere.zip")),
        wrong_config={"mapping": {"files": {"users": {"from": [{"table": "t", "set": {"sourcedId": "("}}]}}}},
    )  # fmt: skip


class TestCleanTablesSentByUpload(ConnectorContract):
    @pytest.fixture
    def case(self, tmp_path: Path) -> ContractCase:
        return contract_case(zipped(tmp_path / "p.zip", CLEAN), upload=True)


class TestDirtyTablesAtAPath(ConnectorContract):
    @pytest.fixture
    def case(self, tmp_path: Path) -> ContractCase:
        return contract_case(loose(tmp_path / "drop", DIRTY), upload=False)
