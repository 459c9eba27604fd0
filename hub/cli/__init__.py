"""The command ``hub``. Modules of commands import what is heavy inside them, so that ``hub --help`` is quick."""

from hub.cli.root import main

__all__ = ["main"]
