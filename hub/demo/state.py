"""What the demo remembers between starts: ``demo.json``, from which scripts can go on, and its own notes beside it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import orjson

FILE, NOTES = "demo.json", "demo.notes.json"


@dataclass
class State:
    """The demo's world. ``done`` names the chapters that were told; ``apps`` hold their receivers and secrets too."""

    base_url: str = ""
    admin_token: str = ""
    districts: list[dict[str, Any]] = field(default_factory=list)
    apps: list[dict[str, Any]] = field(default_factory=list)
    done: list[str] = field(default_factory=list)

    @classmethod
    def load(cls, folder: Path) -> State:
        """The state of an earlier start, or a new one."""
        path = folder / NOTES
        return cls(**orjson.loads(path.read_bytes())) if path.exists() else cls()

    def move(self, base_url: str) -> None:
        """The hub answers at another address now (``--port``)."""
        self.base_url = base_url
        for district in self.districts:
            district["oneroster"] = f"{base_url}/d/{district['id']}/ims/oneroster"
        for app in self.apps:
            app["token_url"] = f"{base_url}/oauth/token"

    def save(self, folder: Path) -> None:
        """Writes both files, readable by their owner alone: they hold credentials."""
        public = ("name", "client_id", "client_secret", "token_url", "scopes", "districts")
        shown = {
            "base_url": self.base_url,
            "admin": {"url": f"{self.base_url}/admin/v1", "token": self.admin_token},
            "districts": [{k: d[k] for k in ("id", "name", "oneroster")} for d in self.districts],
            "apps": [{k: a[k] for k in public} for a in self.apps],
        }
        for name, content in ((FILE, shown), (NOTES, asdict(self))):
            draft = folder / f"{name}.new"
            draft.touch(mode=0o600)
            draft.chmod(0o600)
            draft.write_bytes(orjson.dumps(content, option=orjson.OPT_INDENT_2))
            draft.replace(folder / name)
