"""What commands of ``hub``, and workers, import when they start: imported before they are forked."""

from __future__ import annotations

import gc
import importlib
import pkgutil

import hub.cli
import hub.worker

__all__ = ["hub"]

for module in pkgutil.iter_modules(hub.cli.__path__):
    if module.name != "__main__":
        importlib.import_module(f"hub.cli.{module.name}")

# No child looks through what it shares with its parent for garbage: each page that it marked would become its own.
gc.collect()
gc.freeze()
