"""Names of files that come from outside: which of them could do harm."""

from __future__ import annotations

import unicodedata

_DEVICES = {"con", "prn", "aux", "nul", *(f"{d}{n}" for d in ("com", "lpt") for n in range(1, 10))}


def is_unsafe(path: str) -> bool:
    """Whether a name could lead outside a folder or to a device on any system, or hides characters."""
    if not path or "\\" in path or path.startswith("/") or ":" in path or len(path) > 1024:
        return True
    if any(unicodedata.category(c) in {"Cc", "Cf", "Cs"} for c in path):
        return True
    parts = path.rstrip("/").split("/")
    return any(part in {"", ".", ".."} or part.split(".")[0].strip().lower() in _DEVICES for part in parts)
