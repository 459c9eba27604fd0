"""Kinds of sources: ours, and those that other distributions bring through the entry-point group."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from connectors.oneroster_csv import SPEC
from connectors.protocol import ConnectorError, Intent
from connectors.registry import GROUP, connector, kinds

PLUGIN = """
from pydantic import BaseModel
from connectors.protocol import ConnectorSpec
SPEC = ConnectorSpec("acme_sis", "Acme SIS", BaseModel, lambda context: None)
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A distribution on the path that brings four kinds, one of them good."""
    folder = tmp_path / "acme-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
    points = ["acme_sis = acme_plugin:SPEC", "acme_gone = acme_missing:SPEC", "acme_other = acme_plugin:SPEC",
              "acme_text = acme_plugin:PLAIN", "oneroster_csv = acme_plugin:SPEC"]  # fmt: skip
    (folder / "entry_points.txt").write_text(f"[{GROUP}]\n" + "\n".join(points))
    (tmp_path / "acme_plugin.py").write_text(PLUGIN + "PLAIN = 'text'\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "acme_plugin", raising=False)
    return tmp_path


def test_the_built_in_kind_is_there() -> None:
    assert "oneroster_csv" in kinds()
    assert connector("oneroster_csv") is SPEC


@pytest.mark.usefixtures("installed")
def test_other_distributions_bring_kinds() -> None:
    assert set(kinds()) >= {"acme_sis", "oneroster_csv"}
    assert connector("acme_sis").title == "Acme SIS"


@pytest.mark.usefixtures("installed")
def test_nobody_takes_a_built_in_kind_over() -> None:
    assert connector("oneroster_csv") is SPEC


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("kind", ["acme_gone", "acme_other", "acme_text"])
def test_a_broken_kind_harms_only_itself(kind: str) -> None:
    with pytest.raises(ConnectorError) as caught:
        connector(kind)
    assert (caught.value.code, caught.value.intent) == ("broken_connector", Intent.ASK_HUMAN)
    assert connector("acme_sis").kind == "acme_sis"


def test_an_unknown_kind_is_an_error_that_names_the_known_ones() -> None:
    with pytest.raises(ConnectorError, match="oneroster_csv") as caught:
        connector("nothing")
    assert caught.value.code == "unknown_kind"
