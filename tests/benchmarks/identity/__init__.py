"""Benchmarks of identity: FEBRL, rosterbench, Splink beside us."""
