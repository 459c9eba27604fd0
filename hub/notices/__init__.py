"""Telling people how the syncs of a district are doing, by e-mail and webhook: at least once, many events at once.

What is to be told is decided in ``hub.store.source_health``. Messages hold names of sources, codes, counts and links,
and nothing that came with a roster.
"""
