"""Carrying out sync runs: a source's package through the transforms into the store, the views and the feeds."""
