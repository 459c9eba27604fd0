"""Pure set algebra: what a grant lets an app see, how that changed, and how a record looks through it.

Nothing here queries, waits or reads a clock. ``hub.store`` fills ``Columns`` and keeps the sets; ``hub.sync``,
``hub.api`` and ``hub.webhooks`` bring the two together.
"""
