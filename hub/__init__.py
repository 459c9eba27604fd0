"""The hub: everything with a side effect. Store, sync, API, webhooks, worker and command line."""

__version__ = "0.1.0"
